//! What single steps of a machine come to; random lives are in `reconciler::plan`.

use std::rc::Rc;
use std::time::Duration;

use super::*;
use mote_protocol::pod::{self as wire, RestartPolicy};
use mote_registry::digest::Digest;

use crate::image::error::Cause;
use crate::image::{ImageError, ImageId, Source};
use crate::pod::process::{ConfigError, Tag};
use crate::pod::tests::{container, pod_from, wire_pod};
use crate::pod::{Boot, Moment, Pod};
use crate::runtime::{
    BootTime, ContainerId, Exit, ObservedContainer, ObservedPod, ObservedSandbox, ObservedState,
};

mod devices;
mod images;
mod storage;

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
        origin: None,
        uid: pod.name.uid,
        sandbox: ObservedSandbox::Ready,
        addresses: Vec::new(),
        begun: true,
        containers: vec![created],
    };
    let remains =
        Remains { record: Some(before.record(boot)), observed: Some(&observed), boot, held: false };
    let machine = Machine::adopt(pod, Moment(0), remains, Moment::from(BootTime::default()));
    assert_eq!(machine.slots[0].attempts, 5, "the next one is the one that was created");
}

fn image() -> ImageId {
    Digest::of(b"image")
}

fn tag() -> Tag {
    Tag { image: image(), reference: "image".into(), unenforced: Vec::new() }
}

fn exit(code: i32, at_s: u64) -> Exit {
    let at = BootTime(Duration::from_secs(at_s));
    Exit { code, oom_killed: false, at, message: String::new() }
}

fn step(machine: &mut Machine, event: Event, now: Moment) {
    machine.step(event, now, &mut Vec::new());
}

fn start(machine: &mut Machine, place: usize, now: Moment) {
    let attempt = machine.slots[place].attempts;
    step(machine, Event::Starting { place, made_of: tag() }, now);
    step(machine, Event::Started { place, attempt, since: now }, now);
}

fn observed(pod: &Pod, sandbox: ObservedSandbox, begun: bool) -> ObservedPod {
    ObservedPod {
        uid: pod.name.uid,
        origin: None,
        sandbox,
        addresses: Vec::new(),
        begun,
        containers: Vec::new(),
    }
}

/// A pod of the given policy whose record says that it may have begun.
fn begun_once(boot: Boot) -> (Rc<Pod>, Record) {
    let mut asked = wire_pod(vec![container("a")]);
    asked.spec.restart_policy = RestartPolicy::Never;
    let pod = Rc::new(pod_from(&asked));
    let mut before = Machine::new(Rc::clone(&pod), Moment(0));
    step(&mut before, Event::SandboxBegun, Moment(0));
    let record = before.record(boot);
    assert!(record.begun, "flash is told before it begins");
    (pod, record)
}

#[test]
fn a_pod_that_runs_once_and_never_began_is_no_failure_of_a_new_agent() {
    let boot = Boot::default();
    let stage = |observed: ObservedPod, now: Boot| {
        let (pod, record) = begun_once(boot);
        let remains =
            Remains { record: Some(record), observed: Some(&observed), boot: now, held: false };
        let machine = Machine::adopt(pod, Moment(0), remains, after(1));
        (machine.stage(), machine.may_begin())
    };
    let (pod, _) = begun_once(boot);
    let died = |begun| observed(&pod, ObservedSandbox::Died, begun);
    assert_eq!(stage(died(false), boot), (Stage::Active, false), "flash must hear of it again");
    assert_eq!(stage(died(true), boot).0, Stage::Finished);
    let (_, record) = begun_once(boot);
    let stands = observed(&pod, ObservedSandbox::Ready, false);
    let remains = Remains { record: Some(record), observed: Some(&stands), boot, held: false };
    let mut machine = Machine::adopt(Rc::clone(&pod), Moment(0), remains, after(1));
    if let Some(mark) = machine.unsaved(after(1)) {
        step(&mut machine, Event::Saved { mark }, after(1));
    }
    assert!(machine.may_begin(), "it goes on in the sandbox that stands");
    let other = Boot { id: [7; 16], ..boot };
    assert_eq!(stage(died(false), other).0, Stage::Finished, "who knows what was before");
}

#[test]
fn a_pod_that_an_earlier_agent_ended_for_its_deadline_has_run_into_it() {
    let verdict = |finished: u64, now: u64| {
        let limit = Some(Duration::from_secs(10));
        let mut asked = wire_pod(vec![container("a")]);
        asked.spec.restart_policy = RestartPolicy::Never;
        let pod = Rc::new(Pod { active_deadline: limit, ..pod_from(&asked) });
        let id = ContainerId { pod: pod.name.uid, name: "a".into(), attempt: 0 };
        let since = Some(BootTime::default());
        let state = ObservedState::Exited { since, exit: exit(0, finished) };
        let containers = vec![ObservedContainer { id, tag: String::new(), state }];
        let observed = ObservedPod { containers, ..observed(&pod, ObservedSandbox::Ready, true) };
        let remains = Remains { observed: Some(&observed), ..Remains::default() };
        let machine = Machine::adopt(pod, Moment(0), remains, after(now));
        let verdict = machine.verdict().expect("it is over").clone();
        (verdict.phase, verdict.cause.map(|(reason, _)| reason.into_owned()))
    };
    assert_eq!(verdict(12, 20), (Phase::Failed, Some("DeadlineExceeded".to_owned())));
    assert_eq!(verdict(9, 20), (Phase::Succeeded, None), "it was over in time");
}

#[test]
fn a_sidecar_holds_up_the_others_until_it_was_up_once() {
    let mut asked = wire_pod(vec![container("a")]);
    let sidecar = wire::Container { restart_always: true, ..container("s") };
    asked.spec.init_containers = vec![sidecar, container("i")];
    let pod = pod_from(&asked);
    let place = |name| pod.containers.iter().position(|c| c.name == name).unwrap();
    let (a, s, i) = (place("a"), place("s"), place("i"));
    let mut machine = Machine::new(Rc::new(pod), Moment(0));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    assert_eq!(machine.next_starts(), [s]);
    start(&mut machine, s, after(1));
    assert_eq!(machine.next_starts(), [i]);
    for (attempt, at) in [(0, 2), (1, 3)] {
        step(&mut machine, Event::Exited { place: s, attempt, exit: exit(1, at) }, after(at));
        assert!(machine.next_starts().contains(&i), "its crash is its own affair");
        if attempt == 0 {
            start(&mut machine, s, after(at));
        }
    }
    assert!(machine.slots[s].hold.is_some(), "it is in back-off");
    start(&mut machine, i, after(4));
    step(&mut machine, Event::Exited { place: i, attempt: 0, exit: exit(0, 5) }, after(5));
    assert!(machine.initialized() && machine.next_starts().contains(&a));
    // In a new sandbox it must come up again.
    step(&mut machine, Event::SandboxDied, after(6));
    step(&mut machine, Event::SandboxStopped { for_good: false }, after(6));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, after(6));
    assert_eq!(machine.next_starts(), [s]);
}

#[test]
fn a_pod_that_keeps_losing_its_sandbox_is_held_back() {
    let mut machine = Machine::new(Rc::new(pod()), Moment(0));
    let mut notes = Vec::new();
    for (at, held) in [(1, false), (2, true)] {
        step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, after(at));
        start(&mut machine, 0, after(at));
        step(&mut machine, Event::SandboxDied, after(at));
        machine.step(Event::SandboxStopped { for_good: false }, after(at), &mut notes);
        let hold = machine.slots[0].hold.as_ref().map(|hold| (hold.reason, hold.until));
        let expected = held.then(|| ("CrashLoopBackOff", after(at + 10)));
        assert_eq!(hold, expected, "lost at {at}");
    }
    assert!(notes.iter().any(|note| note.reason == "BackOff"), "{notes:?}");
}

#[test]
fn a_pull_that_failed_says_that_it_backs_off() {
    let mut machine = Machine::new(Rc::new(pod()), Moment(0));
    let reference = machine.pod().containers[0].image.clone();
    let error = ImageError::NotFound { reference: reference.clone() };
    let mut notes = Vec::new();
    machine.step(Event::PullFailed { place: 0, reference, error }, after(1), &mut notes);
    let reasons: Vec<_> = notes.iter().map(|note| note.reason).collect();
    assert_eq!(reasons, ["Failed", "Failed", "BackOff"]);
    assert!(notes[2].message.starts_with("Back-off pulling image"), "{notes:?}");
}

#[test]
fn pauses_grow_where_pulls_bring_nothing_and_begin_anew_where_they_do() {
    let mut machine = Machine::new(Rc::new(pod()), Moment(0));
    let failures = [false, false, true, true, false];
    let pauses = failures.into_iter().zip([30, 60, 90, 120, 150]).map(|(bytes_came, at)| {
        let reference = machine.pod().containers[0].image.clone();
        let cause = Cause::from_text("cable");
        let error = ImageError::Unreachable { host: "r.example".into(), cause };
        let error = if bytes_came { error.after_progress() } else { error };
        step(&mut machine, Event::PullFailed { place: 0, reference, error }, after(at));
        machine.slots[0].hold.as_ref().unwrap().until.since(after(at)).as_secs()
    });
    assert_eq!(pauses.collect::<Vec<_>>(), [10, 20, 10, 10, 20]);
}

#[test]
fn what_came_while_a_container_was_started_is_used_at_once() {
    let failed = |come: Option<Event>| {
        let mut machine = Machine::new(Rc::new(pod()), Moment(0));
        step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
        step(&mut machine, Event::Starting { place: 0, made_of: tag() }, after(1));
        if let Some(event) = come {
            step(&mut machine, event, after(1));
        }
        let failure = StartFailure::Config(ConfigError::NoCommand);
        step(&mut machine, Event::StartFailed { place: 0, attempt: 0, failure }, after(2));
        machine.slots[0].hold.as_ref().map(|hold| hold.until)
    };
    assert!(failed(None) > Some(after(2)), "it waits");
    assert_eq!(failed(Some(Event::ContentsChanged)), Some(after(2)));
    assert_eq!(failed(Some(Event::DeviceFreed)), Some(after(2)));
    assert_eq!(failed(Some(devices::seen(Some(7)))), Some(after(2)));
}

/// A pod with two volumes of images, of which one is here.
fn of_images() -> (Rc<Pod>, Machine) {
    let mut asked = wire_pod(vec![container("a")]);
    let volume = |name: &str| {
        let source =
            wire::VolumeSource::Image { reference: format!("{name}:1"), pull_policy: None };
        wire::Volume { name: name.into(), source }
    };
    asked.spec.volumes = vec![volume("files"), volume("others")];
    let pod = Rc::new(pod_from(&asked));
    let mut machine = Machine::new(Rc::clone(&pod), Moment(0));
    pulled(&mut machine, 1, image());
    (pod, machine)
}

fn pulled(machine: &mut Machine, place: usize, image: ImageId) {
    let (reference, source) = (String::new(), Source::Present);
    step(machine, Event::Pulled { place, reference, image, source }, Moment(0));
}

#[test]
fn the_next_agent_knows_which_images_are_mounted() {
    let (pod, mut machine) = of_images();
    let mark = machine.unsaved(Moment(0));
    let other = Digest::of(b"other");
    pulled(&mut machine, 2, other);
    assert_ne!(machine.unsaved(Moment(0)), mark, "flash must know");
    let boot = Boot::default();
    let adopted = |sandbox| {
        let observed = observed(&pod, sandbox, true);
        let remains = Remains {
            record: Some(machine.record(boot)),
            observed: Some(&observed),
            boot,
            held: false,
        };
        Machine::adopt(Rc::clone(&pod), Moment(0), remains, after(1)).volume_image_ids()
    };
    assert_eq!(adopted(ObservedSandbox::Ready), [Some(image()), Some(other)]);
    assert_eq!(adopted(ObservedSandbox::Died), [None; 2], "another sandbox has what is there then");
}

#[test]
fn an_image_of_a_volume_that_was_lost_is_fetched_again() {
    let (_, mut machine) = of_images();
    let other = Digest::of(b"other");
    pulled(&mut machine, 2, other);
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    let mut lose = |id| {
        step(&mut machine, Event::Starting { place: 0, made_of: tag() }, after(1));
        let failure = StartFailure::Image(ImageError::NotPresent { id });
        step(&mut machine, Event::StartFailed { place: 0, attempt: 0, failure }, after(1));
        machine.volume_image_ids()
    };
    assert_eq!(lose(Digest::of(b"of the container")), [Some(image()), Some(other)]);
    assert_eq!(lose(image()), [None, Some(other)]);
    pulled(&mut machine, 1, image());
    step(&mut machine, Event::SandboxDied, after(2));
    step(&mut machine, Event::SandboxStopped { for_good: false }, after(2));
    assert_eq!(machine.volume_image_ids(), [None; 2], "another sandbox has what is there then");
}
