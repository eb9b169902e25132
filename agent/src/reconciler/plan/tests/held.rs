//! A pod that its node lets run no more, until it does.

use super::*;
use crate::pod::Pod;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_pod_that_is_held_ends_and_one_that_is_let_go_goes_on(
        policy in policy(), shape in shape(), grace_s in prop::option::of(0..40_u32),
        turns in proptest::collection::vec(turn(), 0..60),
    ) {
        let mut life = Life::new(policy, shape);
        for turn in turns.into_iter().filter(|turn| !matches!(turn, Turn::Delete(_))) {
            life.meet(turn);
        }
        (life.full, life.mount_failing) = (false, false);
        let before = life.machine.clone();
        life.step(Event::Hold { grace_s });
        life.settle();
        prop_assert!(life.machine.rests(), "{:?} of {:?}", life.machine, before);
        prop_assert_eq!(pod(&life.machine, life.now), []);
        let over = life.machine.stage() == Stage::Finished;
        prop_assert!(over || life.machine.waits_for_node());
        let once = policy == RestartPolicy::Never && before.has_had_its_run();
        prop_assert!(over || !once, "it would run twice");
        let scheduled = life.machine.transitions().get(PodCondition::PodScheduled).0;
        prop_assert_eq!(scheduled, over);
        life.step(Event::LetGo);
        life.settle();
        prop_assert!(life.machine.transitions().get(PodCondition::PodScheduled).0);
        if !over && policy == RestartPolicy::Always && !shape.init {
            prop_assert_eq!(life.machine.stage(), Stage::Active);
            let runs = life.machine.slots().iter().all(Slot::is_running);
            prop_assert!(runs, "{:?}", life.machine);
        }
    }
}

/// That a drain ended it is not what it had to say: one that ends well when it is asked to has not done its
/// work.
#[test]
fn what_ends_well_because_it_is_held_runs_again() {
    let mut life = Life::new(RestartPolicy::OnFailure, Shape::PLAIN);
    life.settle();
    life.step(Event::Hold { grace_s: None });
    life.exit(0, 0);
    life.exit(1, 0);
    while life.act(true) {}
    assert!(life.machine.waits_for_node());
    assert_eq!(life.machine.phase(), Phase::Running);
    let record = life.machine.record(Boot::default());
    let remains = Remains { record: Some(record), held: true, ..Remains::default() };
    let pod = Rc::clone(life.machine.pod());
    life.machine = Machine::adopt(pod, Moment(0), remains, life.now);
    life.settle();
    assert!(life.machine.waits_for_node(), "also for another agent");
    life.step(Event::LetGo);
    life.settle();
    assert!(life.machine.slots().iter().all(Slot::is_running));
    assert!(life.machine.slots().iter().all(|slot| slot.hold.is_none()), "it did not crash");
}

#[test]
fn an_agent_that_dies_in_between_knows_whom_the_node_ended() {
    let mut life = Life::new(RestartPolicy::OnFailure, Shape::PLAIN);
    life.settle();
    let pod = Rc::clone(life.machine.pod());
    let mark = life.machine.unsaved(life.now);
    if let Some(mark) = mark {
        life.step(Event::Saved { mark });
    }
    life.step(Event::Hold { grace_s: None });
    assert!(life.machine.unsaved(life.now).is_some(), "flash must know");
    let record = life.machine.record(Boot::default());
    let containers = pod.containers.iter().map(|container| {
        let exit =
            Exit { code: 0, oom_killed: false, at: BootTime::default(), message: String::new() };
        ObservedContainer {
            id: ContainerId { pod: pod.name.uid, name: container.name.clone(), attempt: 0 },
            tag: String::new(),
            state: ObservedState::Exited { since: None, exit },
        }
    });
    let stands = ObservedPod {
        uid: pod.name.uid,
        origin: None,
        sandbox: ObservedSandbox::Ready,
        addresses: Vec::new(),
        begun: true,
        containers: containers.collect(),
    };
    for held in [true, false] {
        let (record, observed) = (Some(record.clone()), Some(&stands));
        let remains = Remains { record, observed, held, ..Remains::default() };
        life.machine = Machine::adopt(Rc::clone(&pod), Moment(0), remains, life.now);
        life.settle();
        assert_eq!(life.machine.stage(), Stage::Active, "they were not done");
        if held {
            assert!(life.machine.waits_for_node());
            life.step(Event::LetGo);
            life.settle();
        }
        assert!(life.machine.slots().iter().all(Slot::is_running), "{held}");
    }
}

#[test]
fn the_deadline_of_a_pod_that_waits_for_its_node_has_not_begun() {
    let pod = Pod {
        active_deadline: Some(Duration::from_mins(1)),
        ..pod_from(&wire_pod(vec![container("a")]))
    };
    let (now, hour) = (Moment(0).after(Duration::from_hours(1)), Duration::from_hours(1));
    let remains = Remains { held: true, ..Remains::default() };
    let mut machine = Machine::adopt(Rc::new(pod), Moment(0), remains, now);
    assert_eq!((machine.stage(), machine.deadline(now)), (Stage::Active, None));
    let now = now.after(hour);
    machine.step(Event::LetGo, now, &mut Vec::new());
    assert_eq!((machine.stage(), machine.accepted()), (Stage::Active, now));
    assert_eq!(machine.deadline(now), Some(now.after(Duration::from_mins(1))));
    // One that began has no more of it for being held.
    machine.step(Event::SandboxReady { addresses: Vec::new() }, now, &mut Vec::new());
    machine.step(Event::Hold { grace_s: None }, now, &mut Vec::new());
    machine.step(Event::Tick, now.after(hour), &mut Vec::new());
    assert_ne!(machine.stage(), Stage::Active);
}

#[test]
fn a_second_order_shortens_what_the_first_gave_and_never_lengthens_it() {
    let mut life = Life::new(RestartPolicy::Always, Shape::PLAIN);
    life.settle();
    let deadline = |life: &Life| {
        let running = life.machine.slots()[0].running().expect("it does not heed it");
        running.stop.expect("it was asked").deadline.since(life.now).as_secs()
    };
    for (grace_s, left) in [(Some(40), 40), (Some(50), 40), (Some(20), 20), (None, 20)] {
        life.step(Event::Hold { grace_s });
        assert_eq!(deadline(&life), left);
    }
}
