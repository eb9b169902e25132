//! Images that come, and what is known of those that may be stale.

use super::*;
use crate::pod::status::{self, Context};

/// What a pod tells of images that may be stale.
fn told(machine: &Machine) -> Option<String> {
    let causes = status::of(machine, Context::default()).causes;
    let stale = causes.iter().find(|cause| &*cause.condition == "ImageMayBeStale");
    stale.map(|cause| format!("{}: {}", cause.reason, cause.message))
}

/// An image comes; the reasons of what people hear.
fn came(machine: &mut Machine, place: usize, source: Source) -> Vec<&'static str> {
    let container = machine.pod().containers.get(place).map(|container| container.image.clone());
    let volume = || machine.volume_image(place).map(|volume| volume.reference.clone());
    let reference = container.or_else(volume).expect("a place that has an image");
    let (image, mut notes) = (image(), Vec::new());
    machine.step(Event::Pulled { place, reference, image, source }, after(1), &mut notes);
    notes.into_iter().map(|note| note.reason).collect()
}

/// A container runs from the image that the spec names.
fn begin(machine: &mut Machine, place: usize) {
    let reference = machine.pod().containers[place].image.clone();
    let made_of = Tag { reference, ..tag() };
    step(machine, Event::Starting { place, made_of }, after(2));
    step(machine, Event::Started { place, attempt: 0, since: after(2) }, after(2));
}

fn unreachable() -> Source {
    Source::FallbackStale { reason: "reach registry r.example".into() }
}

fn fetched() -> Source {
    Source::Pulled { bytes: 1, size: 2, duration: Duration::from_secs(3) }
}

const CONTAINER: &str =
    "RegistryNotAsked: image \"busybox:1\" of container a: reach registry r.example";
const VOLUME: &str = "RegistryNotAsked: image \"others:1\" of a volume: reach registry r.example";

#[test]
fn an_image_that_may_be_stale_is_told_until_a_pull_says_otherwise() {
    for confirmed in [Source::Present, fetched()] {
        let (_, mut machine) = of_images();
        assert_eq!(told(&machine), None);
        assert_eq!(came(&mut machine, 0, unreachable()), ["ImageMayBeStale"]);
        assert_eq!(told(&machine).as_deref(), Some(CONTAINER));
        begin(&mut machine, 0);
        assert_eq!(told(&machine).as_deref(), Some(CONTAINER), "it runs");
        assert_eq!(came(&mut machine, 2, unreachable()), ["ImageMayBeStale"]);
        let both = told(&machine).expect("both");
        assert!(both.starts_with(CONTAINER) && both.ends_with("r.example"), "{both}");
        assert_eq!(came(&mut machine, 0, confirmed.clone()), ["Pulled"]);
        assert_eq!(told(&machine).as_deref(), Some(VOLUME));
        assert_eq!(came(&mut machine, 2, confirmed), ["Pulled"]);
        assert_eq!(told(&machine), None);
    }
}

#[test]
fn beside_what_is_mounted_nobody_asks_and_so_nobody_confirms() {
    let (_, mut machine) = of_images();
    came(&mut machine, 2, unreachable());
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, after(1));
    came(&mut machine, 2, Source::Present);
    assert_eq!(told(&machine).as_deref(), Some(VOLUME));
    came(&mut machine, 2, fetched());
    assert_eq!(told(&machine), None);
}

#[test]
fn the_next_agent_tells_of_stale_images_as_well() {
    let boot = Boot::default();
    let (pod, mut machine) = of_images();
    assert!(machine.record(boot).extensions.0.is_empty(), "who has none pays nothing");
    let mark = machine.unsaved(after(1));
    came(&mut machine, 0, unreachable());
    assert_ne!(machine.unsaved(after(1)), mark, "flash must know");
    let mark = machine.unsaved(after(1));
    came(&mut machine, 2, unreachable());
    assert_ne!(machine.unsaved(after(1)), mark, "flash must know");
    let adopted = |sandbox| {
        let observed = observed(&pod, sandbox, true);
        let remains = Remains {
            record: Some(machine.record(boot)),
            observed: Some(&observed),
            boot,
            held: false,
        };
        told(&Machine::adopt(Rc::clone(&pod), Moment(0), remains, after(1)))
    };
    assert_eq!(adopted(ObservedSandbox::Ready), told(&machine));
    let another = adopted(ObservedSandbox::Died);
    assert_eq!(another.as_deref(), Some(CONTAINER), "another sandbox has what is there then");
}

#[test]
fn what_runs_is_not_asked_to_end_before_every_new_image_is_here() {
    let asked = |image: &str| {
        let mut asked = wire_pod(vec![container("a"), container("b")]);
        asked.spec.containers.iter_mut().for_each(|container| container.image = image.into());
        Rc::new(pod_from(&asked))
    };
    let mut machine = Machine::new(asked("web:1"), Moment(0));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    for place in [0, 1] {
        begin(&mut machine, place);
    }
    step(&mut machine, Event::Update(asked("web:2")), after(2));
    assert_eq!(machine.outdated().collect::<Vec<_>>(), [0, 1]);
    let ending = |machine: &Machine| -> Vec<bool> {
        let stop = |slot: &Slot| slot.running().is_some_and(|running| running.stop.is_some());
        machine.slots.iter().map(stop).collect()
    };
    assert_eq!(ending(&machine), [false; 2], "nothing is here yet");
    let error = ImageError::NotFound { reference: "web:2".into() };
    let failed = Event::PullFailed { place: 0, reference: "web:2".into(), error };
    step(&mut machine, failed, after(3));
    assert_eq!(ending(&machine), [false; 2], "nothing comes");
    came(&mut machine, 1, fetched());
    assert_eq!(ending(&machine), [false; 2], "one is missing");
    came(&mut machine, 0, fetched());
    assert_eq!(ending(&machine), [true; 2]);
}

/// A pod with one container of the given image.
fn of_image(image: &str) -> Rc<Pod> {
    let mut asked = wire_pod(vec![container("a")]);
    asked.spec.containers[0].image = image.into();
    Rc::new(pod_from(&asked))
}

#[test]
fn another_image_is_not_as_stale_as_the_one_before() {
    let mut machine = Machine::new(of_image("web:1"), Moment(0));
    came(&mut machine, 0, unreachable());
    assert!(told(&machine).is_some());
    let mark = machine.unsaved(after(2));
    step(&mut machine, Event::Update(of_image("web:2")), after(2));
    assert_eq!(told(&machine), None);
    assert_ne!(machine.unsaved(after(2)), mark, "flash must know");
    assert!(machine.record(Boot::default()).extensions.0.is_empty());
}

/// Nobody could ask for the image of a place.
fn fails(machine: &mut Machine, place: usize, now: Moment) {
    let container = machine.pod().containers.get(place).map(|container| container.image.clone());
    let volume = || machine.volume_image(place).map(|volume| volume.reference.clone());
    let reference = container.or_else(volume).expect("a place that has an image");
    let error = ImageError::NotFound { reference: reference.clone() };
    step(machine, Event::PullFailed { place, reference, error }, now);
}

#[test]
fn an_image_is_on_its_way_until_asking_for_it_failed_twice() {
    for place in [0, 2] {
        let (_, mut machine) = of_images();
        // What the others wait for is here.
        came(&mut machine, if place == 0 { 2 } else { 0 }, fetched());
        assert_eq!(machine.progress(), Progress::Fetching, "{place}");
        fails(&mut machine, place, after(1));
        assert_eq!(machine.progress(), Progress::Fetching, "{place}, once");
        fails(&mut machine, place, after(20));
        assert_eq!(machine.progress(), Progress::NotReady, "{place}, twice");
        came(&mut machine, place, fetched());
        step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, after(21));
        machine.forget_volume_images(|_| true);
        came(&mut machine, 1, fetched());
        fails(&mut machine, 2, after(30));
        assert_eq!(machine.progress(), Progress::Fetching, "it is asked for anew");
    }
}

#[test]
fn who_is_done_is_not_what_keeps_a_pod_from_being_ready() {
    let mut asked = wire_pod(vec![container("done"), container("b")]);
    asked.spec.restart_policy = RestartPolicy::OnFailure;
    let mut machine = Machine::new(Rc::new(pod_from(&asked)), Moment(0));
    step(&mut machine, Event::SandboxReady { addresses: Vec::new() }, Moment(0));
    begin(&mut machine, 0);
    step(&mut machine, Event::Exited { place: 0, attempt: 0, exit: exit(0, 3) }, after(3));
    assert_eq!(machine.complaint(), "container b: was not started");
    begin(&mut machine, 1);
    assert_eq!(machine.progress(), Progress::Ready);
    step(&mut machine, Event::SandboxDied, after(4));
    assert_eq!(machine.progress(), Progress::NotReady, "nothing runs any more");
}
