//! Two people, one object.

use anyhow::Result;
use mote_protocol::frame;
use mote_protocol::object::Object;
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::world::{BUSYBOX, World, spec_topic};

#[test]
fn the_later_of_two_writers_wins_and_the_other_is_told() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let version = |text: &str| {
        pod("web").container("main", BUSYBOX, &["sleep", "1001"]).label("version", text)
    };
    let (one, other) = (version("one"), version("other"));
    let answers = std::thread::scope(|scope| {
        let first = scope.spawn(|| world.operator.try_apply(&one, &node));
        let second = scope.spawn(|| world.operator.try_apply(&other, &node));
        [first, second].map(|thread| thread.join().expect("no panic"))
    });
    let [one, other] = answers;
    let (one, other) = (one?, other?);

    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    let retained = world.observer.retained()?;
    let kept = retained.get(&spec_topic(&node, "web")).expect("the broker keeps the spec");
    assert_eq!(frame::decode::<Object>(kept)?.revision, status.accepted, "node and broker differ");
    for answer in [&one, &other] {
        let told = format!("{}{}", answer.output, answer.error);
        assert!(answer.code == Some(0) || told.contains("Conflict"), "{answer:?}");
    }
    // Either they met, and one was told so; or one came after the other, and both had their will.
    assert!(one.code == Some(0) || other.code == Some(0), "{one:?} {other:?}");
    Ok(())
}
