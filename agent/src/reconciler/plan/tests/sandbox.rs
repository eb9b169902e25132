//! A sandbox that is lost, and what only it tells.

use super::*;

/// A pod whose first container crashed and runs again, which flash has not heard of.
fn restarted() -> Life {
    let mut life = Life::new(RestartPolicy::Always, Shape::PLAIN);
    life.settle();
    life.exit(0, 1);
    while life.act(true) && life.machine.slots()[0].attempts < 2 {}
    assert_eq!(life.machine.slots()[0].attempts, 2);
    life
}

#[test]
fn a_lost_sandbox_stays_until_flash_knows_what_ran_in_it() {
    let mut life = restarted();
    let mark = life.machine.unsaved(life.now).expect("flash must know");
    life.step(Event::SandboxDied);
    assert_eq!(pod(&life.machine, life.now), []);
    life.step(Event::Saved { mark });
    let stop = [Action::StopSandbox { for_good: false }];
    assert_eq!(pod(&life.machine, life.now), stop);
}

#[test]
fn a_card_that_takes_nothing_keeps_no_pod_down() {
    let mut life = restarted();
    life.step(Event::SandboxDied);
    life.step(Event::SaveFailed);
    let stop = [Action::StopSandbox { for_good: false }];
    assert_eq!(pod(&life.machine, life.now), stop);
}

#[test]
fn the_next_agent_tells_flash_of_attempts_that_it_has_not_heard_of() {
    let mut life = Life::new(RestartPolicy::Always, Shape::PLAIN);
    life.settle();
    let record = life.machine.record(Boot::default());
    let uid = life.machine.pod().name.uid;
    let adopted = |attempt| {
        let seen = ObservedContainer {
            id: ContainerId { pod: uid, name: "a".into(), attempt },
            tag: String::new(),
            state: ObservedState::Unknown,
        };
        let observed = ObservedPod {
            uid,
            origin: None,
            sandbox: ObservedSandbox::Died,
            addresses: Vec::new(),
            begun: true,
            containers: vec![seen],
        };
        let remains = Remains {
            record: Some(record.clone()),
            observed: Some(&observed),
            boot: Boot::default(),
            held: false,
        };
        let pod = Rc::clone(life.machine.pod());
        Machine::adopt(pod, life.machine.accepted(), remains, life.now)
    };
    assert_eq!(adopted(0).unsaved(life.now), None, "flash knows");
    let next = adopted(1);
    assert_eq!(pod(&next, life.now), [], "what it does not know is not removed");
    assert!(next.unsaved(life.now).is_some());
    assert_eq!(next.record(Boot::default()).slots[0].attempts, 2);
}
