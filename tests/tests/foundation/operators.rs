//! Two people, one object.

use anyhow::Result;
use mote_protocol::object::Object;
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::manifest::pod;
use mote_tests::world::{BUSYBOX, World, spec_topic, status_topic};

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

    world.observer.wait("node and broker to agree", |view| {
        let spec = view.body::<Object>(&spec_topic(&node, "web"))?;
        let status = view.body::<PodStatus>(&status_topic(&node, "web"))?;
        (spec.revision == status.accepted).then_some(())
    })?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    for answer in [&one, &other] {
        let told = format!("{}{}", answer.output, answer.error);
        assert!(answer.code == Some(0) || told.contains("Conflict"), "{answer:?}");
    }
    // Either they met, and one was told so; or one came after the other, and both had their will.
    assert!(one.code == Some(0) || other.code == Some(0), "{one:?} {other:?}");
    Ok(())
}
