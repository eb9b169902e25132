//! What single steps of a machine come to; random lives are in `reconciler::plan`.

use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::pod::tests::{container, pod_from, wire_pod};
use crate::pod::{Boot, Moment, Pod};
use crate::runtime::{
    BootTime, ContainerId, ObservedContainer, ObservedPod, ObservedSandbox, ObservedState,
};

fn pod() -> Pod {
    pod_from(&wire_pod(vec![container("a")]))
}

fn after(seconds: u64) -> Moment {
    Moment(0).after(Duration::from_secs(seconds))
}

#[test]
fn a_deadline_that_passes_shortens_a_stop_that_is_under_way() {
    let pod = Pod { active_deadline: Some(Duration::from_secs(10)), grace_s: 30, ..pod() };
    let mut machine = Machine::new(Rc::new(pod), Moment(0));
    machine.sandbox = Sandbox::Ready;
    let mut running = Running::new(None, Moment(0), None);
    // Its liveness probe may have a grace of its own.
    running.stop = Some(Stop::new(false, after(3600)));
    machine.slots[0].run = Run::Running(running);
    machine.step(Event::Tick, after(10), &mut Vec::new());
    let stop = machine.slots[0].running().and_then(|running| running.stop).expect("a stop");
    assert_eq!((stop.deadline, stop.kill_at), (after(40), after(40)));
    machine.step(Event::Tick, after(20), &mut Vec::new());
    let later = machine.slots[0].running().and_then(|running| running.stop).expect("a stop");
    assert_eq!((later.deadline, later.kill_at), (after(40), after(40)));
}

#[test]
fn an_attempt_that_flash_did_not_hear_of_keeps_its_number_though_it_never_ran() {
    let pod = Rc::new(pod());
    let boot = Boot::default();
    let mut before = Machine::new(Rc::clone(&pod), Moment(0));
    before.begun = true;
    before.slots[0].attempts = 2;
    let id = ContainerId { pod: pod.name.uid, name: "a".into(), attempt: 5 };
    let created = ObservedContainer { id, tag: String::new(), state: ObservedState::Created };
    let observed = ObservedPod {
        uid: pod.name.uid,
        sandbox: ObservedSandbox::Ready,
        containers: vec![created],
    };
    let remains = Remains { record: Some(before.record(boot)), observed: Some(&observed), boot };
    let machine = Machine::adopt(pod, Moment(0), remains, Moment::from(BootTime::default()));
    assert_eq!(machine.slots[0].attempts, 5, "the next one is the one that was created");
}
