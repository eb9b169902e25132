//! What follows from looks at what a pod keeps on disk.

use super::*;
use crate::pod::storage::StorageUse;
use crate::tree::{Counted, Measured};

/// A pod with a limit whose container runs, as it is two seconds after its start.
fn limited() -> (Rc<Pod>, Machine) {
    let mut asked = wire_pod(vec![container("a")]);
    asked.spec.containers[0].limits.ephemeral_bytes = Some(1 << 20);
    let pod = Rc::new(pod_from(&asked));
    let mut machine = Machine::new(Rc::clone(&pod), Moment(0));
    step(&mut machine, Event::SandboxBegun, Moment(0));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    start(&mut machine, 0, after(2));
    (pod, machine)
}

fn kept(bytes: u64, counted: Counted, took: Duration) -> Event {
    let containers = vec![(0, Measured { bytes, names: 0, counted, took })];
    Event::Measured(StorageUse { containers, ..StorageUse::default() })
}

#[test]
fn a_pod_with_limits_is_looked_at_every_ten_seconds_and_another_never() {
    let (_, mut machine) = limited();
    assert!(machine.to_measure(after(2)).is_some());
    step(&mut machine, kept(1, Counted::Whole, Duration::from_millis(3)), after(2));
    assert_eq!(machine.to_measure(after(11)), None);
    assert_eq!(machine.deadline(after(2)), Some(after(12)));
    assert!(machine.to_measure(after(12)).is_some());
    // One that takes long to be counted is left alone for longer.
    step(&mut machine, kept(1, Counted::Whole, Duration::from_secs(3)), after(12));
    assert_eq!(machine.deadline(after(12)), Some(after(72)));
    step(&mut machine, kept(1, Counted::Part, Duration::from_mins(3)), after(72));
    assert_eq!(machine.deadline(after(72)), Some(after(672)), "but not for ever");
    let mut other = Machine::new(Rc::new(pod()), Moment(0));
    step(&mut other, Event::SandboxBegun, Moment(0));
    step(&mut other, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    start(&mut other, 0, after(2));
    assert_eq!((other.to_measure(after(99)), other.deadline(after(2))), (None, None));
}

#[test]
fn a_pod_in_which_nothing_runs_is_looked_at_once_more_and_then_not() {
    let mut asked = wire_pod(vec![container("a")]);
    let source = wire::VolumeSource::EmptyDir { memory: false, size_limit: Some(1 << 20) };
    asked.spec.volumes = vec![wire::Volume { name: "v".into(), source }];
    let pod = Rc::new(pod_from(&asked));
    let look = |machine: &mut Machine, began: u64, took: u64| {
        let mark = machine.to_measure(after(began))?.mark;
        let kept = StorageUse { mark, ..StorageUse::default() };
        step(machine, Event::Measured(kept), after(began + took));
        Some(())
    };
    let mut machine = Machine::new(Rc::clone(&pod), Moment(0));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    assert_eq!(look(&mut machine, 1, 0), None, "nobody has written yet");
    start(&mut machine, 0, after(2));
    assert_eq!(look(&mut machine, 2, 0), Some(()));
    // One that had begun before it ended has not seen the last of it.
    let began = machine.to_measure(after(12)).expect("it runs").mark;
    step(&mut machine, Event::Exited { place: 0, attempt: 0, exit: exit(1, 13) }, after(13));
    let kept = StorageUse { mark: began, ..StorageUse::default() };
    step(&mut machine, Event::Measured(kept), after(14));
    assert_eq!(machine.deadline(after(14)), Some(after(24)));
    assert_eq!(look(&mut machine, 24, 1), Some(()));
    assert_eq!((look(&mut machine, 99, 0), machine.deadline(after(99))), (None, None));
    // The next agent does not know how far this one came.
    let seen = observed(&pod, ObservedSandbox::Ready, true);
    let remains = Remains { observed: Some(&seen), ..Remains::default() };
    let mut next = Machine::adopt(pod, Moment(0), remains, after(100));
    assert_eq!(look(&mut next, 100, 0), Some(()));
    assert_eq!(look(&mut next, 200, 0), None);
}

#[test]
fn a_pod_beyond_its_limit_gets_a_second_and_is_failed_when_nothing_runs() {
    let (_, mut machine) = limited();
    let mut notes = Vec::new();
    machine.step(kept(2 << 20, Counted::Whole, Duration::ZERO), after(12), &mut notes);
    let message = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
    assert!(notes.iter().all(|note| note.reason != "Evicted"), "flash does not know it yet");
    let mark = machine.unsaved(after(12)).expect("flash must know");
    for expected in [&[Note::warning(None, "Evicted", message.into())][..], &[]] {
        notes.clear();
        machine.step(Event::Saved { mark }, after(12), &mut notes);
        assert_eq!(notes, expected);
    }
    let stop = machine.slots[0].running().and_then(|running| running.stop).expect("a stop");
    assert_eq!((stop.deadline, stop.kill_at), (after(13), after(14)), "the least that is given");
    assert!(machine.verdict().is_none() && !machine.phase().is_terminal());
    step(&mut machine, Event::Exited { place: 0, attempt: 0, exit: exit(0, 13) }, after(13));
    let verdict = machine.verdict().expect("a verdict");
    let cause = verdict.cause.as_ref().expect("a cause");
    assert_eq!((verdict.phase, &*cause.0, &*cause.1), (Phase::Failed, "Evicted", message));
    assert_eq!(machine.stage(), Stage::Finished);
}

#[test]
fn an_agent_that_dies_in_the_middle_does_not_start_it_again() {
    let (pod, mut machine) = limited();
    let mark = machine.unsaved(after(2)).expect("an attempt");
    step(&mut machine, Event::Saved { mark }, after(2));
    step(&mut machine, kept(2 << 20, Counted::Whole, Duration::ZERO), after(12));
    assert!(machine.unsaved(after(12)).is_some(), "flash must know");
    let boot = Boot::default();
    let died = observed(&pod, ObservedSandbox::Died, true);
    let remains =
        Remains { record: Some(machine.record(boot)), observed: Some(&died), boot, held: false };
    let next = Machine::adopt(Rc::clone(&pod), Moment(0), remains, after(20));
    assert_eq!(next.stage(), Stage::Finished);
    assert_eq!(next.next_starts(), [0_usize; 0]);
    let verdict = next.verdict().cloned();
    assert!(verdict.is_some_and(|v| v.phase == Phase::Failed && v.cause.unwrap().0 == "Evicted"));
}

#[test]
fn that_not_everything_was_counted_is_told_once() {
    let (_, mut machine) = limited();
    let mut told = |counted| {
        let mut notes = Vec::new();
        machine.step(kept(1, counted, Duration::ZERO), after(12), &mut notes);
        notes.iter().map(|note| note.reason).collect::<Vec<_>>()
    };
    assert_eq!(told(Counted::Part), ["StorageNotMeasured"]);
    assert_eq!(told(Counted::Part), [""; 0]);
    assert_eq!(told(Counted::Whole), [""; 0]);
    assert_eq!(told(Counted::Part), ["StorageNotMeasured"]);
}

#[test]
fn a_pod_of_a_node_that_is_short_of_something_ends_within_its_grace_and_stays_so() {
    let mut machine = Machine::new(Rc::new(pod()), Moment(0));
    step(&mut machine, Event::SandboxBegun, Moment(0));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    start(&mut machine, 0, after(2));
    let evict =
        |why: &str, grace| Event::Evict { why: why.into(), grace: Duration::from_secs(grace) };
    step(&mut machine, evict("The node was low on resource: memory. ", 5), after(10));
    assert_eq!(machine.stage(), Stage::Stopping { deadline: after(15) });
    // It is on its way out: nobody changes its reason, or gives it longer; but less.
    step(&mut machine, evict("another", 90), after(11));
    assert_eq!(machine.stage(), Stage::Stopping { deadline: after(15) });
    step(&mut machine, evict("another", 1), after(12));
    assert_eq!(machine.stage(), Stage::Stopping { deadline: after(13) });
    step(&mut machine, Event::Exited { place: 0, attempt: 0, exit: exit(0, 13) }, after(13));
    let verdict = machine.verdict().expect("a verdict");
    let cause = verdict.cause.as_ref().expect("a cause");
    assert_eq!((verdict.phase, &*cause.0), (Phase::Failed, "Evicted"));
    assert_eq!(&*cause.1, "The node was low on resource: memory. ");
}

#[test]
fn a_pod_that_gives_way_says_so_in_another_word() {
    let mut machine = Machine::new(Rc::new(pod()), Moment(0));
    let why = crate::pod::room::PREEMPTED;
    let evict = Event::Evict { why: why.into(), grace: Duration::from_secs(30) };
    step(&mut machine, evict, after(1));
    let cause = machine.verdict().and_then(|verdict| verdict.cause.clone()).expect("a cause");
    assert_eq!((&*cause.0, &*cause.1), ("Preempting", why));
}

#[test]
fn who_went_for_others_is_told_and_who_kept_too_much_is_not() {
    for (why, expected) in [
        ("The node was low on resource: memory. ", true),
        (crate::pod::room::PREEMPTED, true),
        ("Usage of EmptyDir volume \"data\" exceeds the limit \"1Mi\". ", false),
    ] {
        let mut machine = Machine::new(Rc::new(pod()), Moment(0));
        let evict = Event::Evict { why: why.into(), grace: Duration::from_secs(1) };
        step(&mut machine, evict, after(1));
        let status = crate::pod::status::of(&machine, crate::pod::status::Context::default());
        let target = status.causes.iter().find(|one| &*one.condition == "DisruptionTarget");
        assert_eq!(target.map(|one| &*one.message), expected.then_some(why));
    }
}

#[test]
fn a_pod_that_is_being_removed_gets_no_longer_where_its_node_is_short_of_something() {
    let mut machine = Machine::new(Rc::new(pod()), Moment(0));
    step(&mut machine, Event::SandboxBegun, Moment(0));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    start(&mut machine, 0, after(2));
    step(&mut machine, Event::Delete { grace_s: 600 }, after(10));
    let evict = Event::Evict { why: "short".into(), grace: Duration::from_secs(1) };
    step(&mut machine, evict, after(20));
    assert_eq!(machine.stage(), Stage::Removing { grace_s: 600, deadline: after(21) });
    assert_eq!(machine.verdict(), None, "it is removed, and not evicted");
}
