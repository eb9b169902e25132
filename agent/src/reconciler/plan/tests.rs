//! Random lives of one pod, against rules that hold in every one of them.

mod held;
mod sandbox;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::pod::{self as wire, RestartPolicy};
use mote_protocol::status::{ContainerRole, Phase, PodCondition};
use mote_registry::digest::Digest;
use proptest::prelude::*;

use super::*;
use crate::handler::{HookDone, HookError, Outcome};
use crate::image::{ImageError, Source};
use crate::pod::Boot;
use crate::pod::handler::{Checks, Handler, Probe};
use crate::pod::machine::{MountFailure, Remains, StartFailure};
use crate::pod::storage::StorageUse;
use crate::pod::tests::{container, pod_from, wire_pod};
use crate::probes::Probed;
use crate::runtime::{BootTime, Exit, Retry, RuntimeError};
use crate::tree::Measured;

/// One pod and the world that it meets.
struct Life {
    machine: Machine,
    now: Moment,
    phase: Phase,
    finished: bool,
    /// Attempts that were asked to end for themselves, before their pod was.
    alone: BTreeSet<(usize, u32)>,
    /// What is failing next is a volume, and whether time heals it.
    mount_failing: bool,
    passing: bool,
    /// It keeps more on disk than it may.
    full: bool,
    evicted: bool,
}

/// How long a look at the disk takes: so long that the next is far away.
const LOOK: Duration = Duration::from_hours(1);

impl Life {
    fn new(policy: RestartPolicy, shape: Shape) -> Self {
        let mut asked = wire_pod(vec![container("a"), container("b")]);
        asked.spec.restart_policy = policy;
        if shape.init {
            asked.spec.init_containers.push(container("i"));
        }
        if shape.sidecar {
            let sidecar = wire::Container { restart_always: true, ..container("s") };
            asked.spec.init_containers.push(sidecar);
        }
        if shape.volume {
            let one = wire::Projection { name: "c".into(), ..wire::Projection::default() };
            let source = wire::VolumeSource::ConfigMap(one);
            asked.spec.volumes = vec![wire::Volume { name: "v".into(), source }];
        }
        if shape.limit {
            asked.spec.containers[1].limits.ephemeral_bytes = Some(1 << 20);
        }
        let mut pod = pod_from(&asked);
        let checked = pod.containers.iter_mut().filter(|c| c.role != ContainerRole::Init);
        checked.for_each(|container| container.checks = shape.checks());
        let machine = Machine::new(Rc::new(pod), Moment(0));
        let (phase, alone) = (Phase::Pending, BTreeSet::new());
        let (now, finished, mount_failing, passing) = (Moment(0), false, false, false);
        Self {
            machine,
            now,
            phase,
            finished,
            alone,
            mount_failing,
            passing,
            full: false,
            evicted: false,
        }
    }

    fn mount_failure(&mut self) -> MountFailure {
        self.passing = !self.passing;
        MountFailure { volume: "v".into(), cause: String::new(), passing: self.passing }
    }

    fn step(&mut self, event: Event) {
        self.machine.step(event, self.now, &mut Vec::new());
        let phase = self.machine.phase();
        assert!(phase >= self.phase, "{:?} after {:?}", phase, self.phase);
        assert!(!phase.is_terminal() || !self.machine.is_live(), "{phase:?} and alive");
        self.phase = phase;
        self.check_order();
        self.finished |= self.machine.stage() == Stage::Finished;
    }

    /// What must not be asked before what.
    fn check_order(&mut self) {
        let ends = self.machine.stage() != Stage::Active || self.machine.is_held();
        let slots = self.machine.slots();
        let asked = |slot: &Slot| {
            slot.running().and_then(|r| r.stop).is_some_and(|stop| stop.step >= StopStep::Ask)
        };
        for (place, container, slot) in self.machine.containers() {
            let Some(running) = slot.running() else { continue };
            let hook = container.checks.as_ref().is_some_and(|checks| checks.pre_stop.is_some());
            if let Some(stop) = running.stop.filter(|stop| stop.step == StopStep::PreStop) {
                assert!(hook && stop.deadline > self.now, "a hook without time: {slot:?}");
            }
            if asked(slot) && !ends {
                self.alone.insert((place, slot.newest()));
            } else if asked(slot) && !self.alone.contains(&(place, slot.newest())) {
                let stop = running.stop.expect("it was asked");
                let serves = slots.iter().enumerate().any(|(other, s)| {
                    let later = s.role == ContainerRole::Sidecar && other > place;
                    (s.role == ContainerRole::App || later) && s.is_live() && !asked(s)
                });
                let early = slot.role == ContainerRole::Sidecar && serves;
                assert!(!early || stop.deadline <= self.now, "out of turn: {slots:?}");
            }
        }
        let begins = |action: &Action| {
            matches!(action, Action::Start { .. } | Action::CreateSandbox | Action::Pull { .. })
        };
        let held = self.machine.is_held();
        assert!(!held || !pod(&self.machine, self.now).iter().any(begins), "it is held");
        let ready = self.machine.transitions().get(PodCondition::Ready).0;
        assert!(!ready || self.phase == Phase::Running, "ready in {:?}", self.phase);
    }

    /// Lets a probe of a container decide, where it is one that is made.
    fn probe(&mut self, place: usize, kind: ProbeKind, good: bool) {
        let place = place % self.machine.slots().len();
        let made = probes(&self.machine);
        let Some((_, attempt, _)) = made.iter().find(|(p, _, k)| (*p, *k) == (place, kind)) else {
            return;
        };
        let outcome = if good { Outcome::Success } else { Outcome::Failure("no".into()) };
        let probed = Probed { outcome, decided: Some(good) };
        self.step(Event::Probed { place, attempt: *attempt, kind, probed });
        let slot = &self.machine.slots()[place];
        let running = slot.running().expect("what was probed still runs");
        assert!(good || kind == ProbeKind::Readiness || running.stop.is_some(), "{slot:?}");
    }

    /// Does the first thing that is planned, well or badly.
    fn act(&mut self, well: bool) -> bool {
        if let Some(mark) = self.machine.unsaved(self.now) {
            self.step(if well { Event::Saved { mark } } else { Event::SaveFailed });
            return true;
        }
        let Some(action) = pod(&self.machine, self.now).into_iter().next() else { return false };
        match action {
            Action::Pull { place, request } => {
                let reference = request.reference;
                let (image, source) = (Digest::of(reference.as_bytes()), Source::Present);
                self.step(if well {
                    Event::Pulled { place, reference, image, source }
                } else {
                    let error = ImageError::NotFound { reference: reference.clone() };
                    Event::PullFailed { place, reference, error }
                });
            }
            Action::CreateSandbox if well => {
                self.step(Event::SandboxBegun);
                self.step(Event::SandboxReady { addresses: Vec::new() });
            }
            Action::CreateSandbox if self.mount_failing => {
                self.step(Event::SandboxBegun);
                let failure = self.mount_failure();
                self.step(Event::VolumesFailed(failure));
            }
            Action::CreateSandbox => {
                self.step(Event::SandboxBegun);
                let (uid, cause) = (self.machine.pod().name.uid, String::new());
                let error = RuntimeError::Sandbox { uid, cause, retry: Retry::Soon };
                self.step(Event::SandboxFailed(error));
            }
            Action::Start { place, attempt, image } => self.start(place, attempt, image, well),
            Action::RunHook { place, attempt, hook } => {
                let failed = HookError::Invalid { handler: "sleep" };
                let result = if well { Ok(HookDone::AsAsked) } else { Err(failed) };
                self.step(Event::Hooked { place, attempt, hook, result });
            }
            Action::Ask { place, attempt, .. } => self.step(Event::Asked { place, attempt }),
            Action::Kill { place, attempt } if well => {
                self.step(Event::Killed { place, attempt });
                self.exit(place, 137);
            }
            Action::Kill { place, attempt } => self.step(Event::Killed { place, attempt }),
            Action::RefreshVolumes { mark } => {
                let result = if well { Ok(()) } else { Err(self.mount_failure()) };
                self.step(Event::VolumesRefreshed { mark, result });
            }
            Action::MeasureStorage => self.measure(),
            Action::StopSandbox { for_good } if well => {
                self.step(Event::SandboxStopped { for_good });
            }
            Action::RemoveSandbox if well => self.step(Event::SandboxRemoved),
            Action::StopSandbox { .. } | Action::RemoveSandbox => {
                let uid = self.machine.pod().name.uid;
                self.step(Event::RemoveFailed(RuntimeError::NoSandbox { uid }));
            }
        }
        true
    }

    fn measure(&mut self) {
        let wanted = self.machine.to_measure(self.now).expect("it was planned");
        let bytes = if self.full { 2 << 20 } else { 4096 };
        let measured = |place| (place, Measured { bytes, took: LOOK, ..Measured::default() });
        let containers: Vec<_> = wanted.containers.into_iter().map(measured).collect();
        self.step(Event::Measured(StorageUse {
            containers,
            volumes: Vec::new(),
            mark: wanted.mark,
        }));
        if self.full {
            assert_ne!(self.machine.stage(), Stage::Active, "it is evicted");
            self.evicted = true;
        }
    }

    fn start(&mut self, place: usize, attempt: u32, image: ImageId, well: bool) {
        let slot = &self.machine.slots()[place];
        assert!(!slot.is_live(), "a second instance");
        assert!(!self.finished && !self.evicted, "it was over");
        assert!(
            slot.hold.as_ref().is_none_or(|hold| hold.until <= self.now),
            "before its back-off"
        );
        let reference = self.machine.pod().containers[place].image.clone();
        self.step(Event::Starting {
            place,
            made_of: Tag { image, reference, unenforced: Vec::new() },
        });
        if well {
            let since = self.now;
            self.step(Event::Started { place, attempt, since });
        } else {
            let failure =
                StartFailure::Runtime(RuntimeError::NoSandbox { uid: self.machine.pod().name.uid });
            self.step(Event::StartFailed { place, attempt, failure });
        }
    }

    fn exit(&mut self, place: usize, code: i32) {
        let places = self.machine.slots().len();
        let place = place % places;
        let attempt = self.machine.slots()[place].newest();
        let at = BootTime(Duration::from_millis(self.now.0.unsigned_abs()));
        let exit = Exit { code, oom_killed: false, at, message: String::new() };
        self.step(Event::Exited { place, attempt, exit });
    }

    fn meet(&mut self, turn: Turn) {
        match turn {
            Turn::Act(well) => drop(self.act(well)),
            Turn::Exit(place, code) => self.exit(place, code),
            Turn::Probe(place, kind, good) => self.probe(place, kind, good),
            Turn::Pass(ms) => {
                self.now = self.now.after(Duration::from_millis(ms.into()));
                self.step(Event::Tick);
            }
            Turn::SandboxDies => self.step(Event::SandboxDied),
            Turn::ContentsChange => self.step(Event::ContentsChanged),
            Turn::MountsFail(failing) => self.mount_failing = failing,
            Turn::Fill(full) => self.full = full,
            Turn::Delete(grace_s) => self.step(Event::Delete { grace_s }),
            Turn::Hold(grace_s) => self.step(Event::Hold { grace_s }),
            Turn::LetGo => self.step(Event::LetGo),
        }
    }

    fn may_start(&self) -> bool {
        let actions = pod(&self.machine, self.now);
        actions.iter().any(|action| matches!(action, Action::Start { .. }))
    }

    /// Goes on without any misfortune until nothing is left to do.
    fn settle(&mut self) {
        self.step(Event::ContentsChanged);
        for _ in 0..200 {
            if self.act(true) {
                continue;
            }
            let undecided = |(place, _, kind): &(usize, u32, ProbeKind)| {
                let running = self.machine.slots()[*place].running();
                running.is_some_and(|running| match kind {
                    ProbeKind::Startup => !running.started,
                    ProbeKind::Readiness => !running.ready,
                    ProbeKind::Liveness => false,
                })
            };
            if let Some((place, _, kind)) = probes(&self.machine).into_iter().find(undecided) {
                self.probe(place, kind, true);
                continue;
            }
            let Some(deadline) = self.machine.deadline(self.now) else { return };
            if deadline > self.now.after(LOOK) {
                return;
            }
            self.now = deadline;
            self.step(Event::Tick);
        }
    }
}

/// What a pod has beside its two app containers.
#[derive(Clone, Copy, Debug)]
struct Shape {
    init: bool,
    sidecar: bool,
    probes: bool,
    hooks: bool,
    volume: bool,
    limit: bool,
}

impl Shape {
    const PLAIN: Self = Self {
        init: false,
        sidecar: false,
        probes: false,
        hooks: false,
        volume: false,
        limit: false,
    };

    fn checks(self) -> Option<Box<Checks>> {
        let sleep = || Handler::Sleep(Duration::from_secs(1));
        let probe = || Probe {
            handler: sleep(),
            initial_delay: Duration::ZERO,
            timeout: Duration::from_secs(1),
            period: Duration::from_secs(10),
            success_threshold: 1,
            failure_threshold: 3,
            grace_s: None,
        };
        let (probe, hook) = (self.probes.then(probe), self.hooks.then(sleep));
        (self.probes || self.hooks).then(|| {
            let (startup, liveness) = (probe.clone(), probe.clone());
            let checks = Checks {
                startup,
                liveness,
                readiness: probe,
                post_start: hook.clone(),
                pre_stop: hook,
            };
            Box::new(checks)
        })
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    any::<[bool; 6]>().prop_map(|[init, sidecar, probes, hooks, volume, limit]| Shape {
        init,
        sidecar,
        probes,
        hooks,
        volume,
        limit,
    })
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Act(bool),
    Exit(usize, i32),
    Probe(usize, ProbeKind, bool),
    Pass(u32),
    SandboxDies,
    ContentsChange,
    MountsFail(bool),
    Fill(bool),
    Delete(u32),
    Hold(Option<u32>),
    LetGo,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        12 => Just(Turn::Act(true)),
        2 => Just(Turn::Act(false)),
        4 => (0..4_usize, 0..2_i32).prop_map(|(place, code)| Turn::Exit(place, code)),
        6 => (0..4_usize, prop::sample::select(&ProbeKind::ALL[..]), any::<bool>())
            .prop_map(|(place, kind, good)| Turn::Probe(place, kind, good)),
        3 => (0..400_000_u32).prop_map(Turn::Pass),
        1 => Just(Turn::SandboxDies),
        2 => Just(Turn::ContentsChange),
        2 => any::<bool>().prop_map(Turn::MountsFail),
        1 => any::<bool>().prop_map(Turn::Fill),
        1 => (0..40_u32).prop_map(Turn::Delete),
        1 => prop::option::of(0..40_u32).prop_map(Turn::Hold),
        2 => Just(Turn::LetGo),
    ]
}

fn policy() -> impl Strategy<Value = RestartPolicy> {
    use RestartPolicy::{Always, Never, OnFailure};
    prop_oneof![Just(Always), Just(OnFailure), Just(Never)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]

    #[test]
    fn every_life_keeps_the_rules_and_a_deleted_pod_ends(
        policy in policy(), shape in shape(),
        turns in proptest::collection::vec(turn(), 0..60),
    ) {
        let mut life = Life::new(policy, shape);
        for turn in turns {
            life.meet(turn);
        }
        let planned = pod(&life.machine, life.now);
        prop_assert_eq!(planned, pod(&life.machine, life.now), "planning remembers nothing");
        life.full = false;
        life.settle();
        if !life.machine.is_held() {
            prop_assert_eq!(life.machine.outdated_volumes(life.now), None);
        }
        if life.evicted && life.machine.stage() == Stage::Finished {
            let cause = life.machine.verdict().and_then(|verdict| verdict.cause.clone());
            prop_assert_eq!(cause.expect("a reason").0, "Evicted");
            prop_assert_eq!(life.machine.phase(), Phase::Failed);
        }
        life.step(Event::Delete { grace_s: 5 });
        life.settle();
        prop_assert_eq!(life.machine.stage(), Stage::Gone);
        prop_assert_eq!(pod(&life.machine, life.now), []);
    }
}

#[test]
fn a_settled_pod_plans_nothing() {
    let mut life = Life::new(RestartPolicy::Always, Shape::PLAIN);
    life.settle();
    assert_eq!(life.machine.phase(), Phase::Running);
    assert_eq!(pod(&life.machine, life.now), []);
    assert_eq!(life.machine.deadline(life.now), None);
}

#[test]
fn a_pod_whose_volume_lacks_something_waits_for_that_and_for_no_time() {
    let mut life = Life::new(RestartPolicy::Never, Shape { volume: true, ..Shape::PLAIN });
    life.mount_failing = true;
    life.passing = true;
    while pod(&life.machine, life.now).first() != Some(&Action::CreateSandbox) {
        assert!(life.act(true));
    }
    life.act(false);
    while life.act(true) {}
    assert!(life.machine.waits_for_contents());
    assert_eq!(pod(&life.machine, life.now), []);
    assert_eq!(life.machine.deadline(life.now), None, "nothing is tried in vain");
    assert!(!life.machine.record(Boot::default()).begun, "it is no beginning");
    life.step(Event::ContentsChanged);
    assert_eq!(pod(&life.machine, life.now).first(), Some(&Action::CreateSandbox));
}

#[test]
fn what_changes_while_the_sandbox_is_made_is_shown_afterwards() {
    let mut life = Life::new(RestartPolicy::Always, Shape { volume: true, ..Shape::PLAIN });
    while pod(&life.machine, life.now).first() != Some(&Action::CreateSandbox) {
        assert!(life.act(true));
    }
    life.step(Event::SandboxBegun);
    life.step(Event::ContentsChanged);
    life.step(Event::SandboxReady { addresses: Vec::new() });
    let mark = life.machine.outdated_volumes(life.now).expect("a change");
    life.step(Event::ContentsChanged);
    life.step(Event::VolumesRefreshed { mark, result: Ok(()) });
    let newer = life.machine.outdated_volumes(life.now).expect("another change");
    assert_ne!(newer, mark);
    let failure = MountFailure { volume: "v".into(), cause: String::new(), passing: false };
    life.step(Event::VolumesRefreshed { mark: newer, result: Err(failure) });
    assert_eq!(life.machine.outdated_volumes(life.now), None, "it shows what it did");
}

#[test]
fn a_pod_that_ends_while_its_sandbox_is_stopped_loses_its_volumes_too() {
    let mut life = Life::new(RestartPolicy::Never, Shape { volume: true, ..Shape::PLAIN });
    life.settle();
    life.step(Event::SandboxDied);
    let stop = |for_good| vec![Action::StopSandbox { for_good }];
    assert_eq!(pod(&life.machine, life.now), stop(false));
    life.exit(0, 0);
    while life.machine.unsaved(life.now).is_some() {
        assert!(life.act(true));
    }
    life.step(Event::SandboxStopped { for_good: false });
    while life.machine.unsaved(life.now).is_some() {
        assert!(life.act(true));
    }
    assert_eq!(pod(&life.machine, life.now), stop(true), "volumes are still there");
    while life.act(true) {}
    assert!(!life.machine.has_volumes());
}

#[test]
fn the_second_crash_waits_ten_seconds() {
    let mut life = Life::new(RestartPolicy::Always, Shape::PLAIN);
    life.settle();
    life.exit(0, 1);
    while life.act(true) {}
    assert!(life.machine.slots()[0].is_running(), "the first restart is immediate");
    life.exit(0, 1);
    while life.act(true) {}
    let hold = life.machine.slots()[0].hold.clone().expect("a back-off");
    assert_eq!((hold.reason, hold.until), ("CrashLoopBackOff", Moment(life.now.0 + 10_000)));
}

#[test]
fn a_pod_that_runs_once_is_written_down_while_its_sandbox_is_made() {
    let mut life = Life::new(RestartPolicy::Never, Shape::PLAIN);
    while pod(&life.machine, life.now).first() != Some(&Action::CreateSandbox) {
        assert!(life.act(true));
    }
    life.step(Event::SandboxBegun);
    let mark = life.machine.unsaved(life.now).expect("flash must know");
    assert!(life.machine.record(Boot::default()).begun);
    life.step(Event::SandboxReady { addresses: Vec::new() });
    assert!(!life.may_start(), "not before flash knows");
    assert_eq!(life.machine.unsaved(life.now), Some(mark), "nothing to write beside that");
    life.step(Event::Saved { mark });
    assert!(life.may_start());
}

#[test]
fn a_sandbox_that_cannot_be_made_is_no_beginning() {
    let mut life = Life::new(RestartPolicy::Never, Shape::PLAIN);
    while pod(&life.machine, life.now).first() != Some(&Action::CreateSandbox) {
        assert!(life.act(true));
    }
    for _ in 0..3 {
        life.act(false);
        while life.machine.unsaved(life.now).is_some() {
            life.act(true);
        }
        assert!(!life.machine.record(Boot::default()).begun);
        assert_eq!(life.machine.stage(), Stage::Active);
        life.now = life.machine.deadline(life.now).expect("another try");
    }
    life.settle();
    assert_eq!(life.machine.phase(), Phase::Running);
}

#[test]
fn init_containers_run_again_in_a_sandbox_that_is_new_to_the_next_agent() {
    let mut life = Life::new(RestartPolicy::Always, Shape { init: true, ..Shape::PLAIN });
    let init = life.machine.place("i").unwrap();
    while life.act(true) {}
    life.exit(init, 0);
    while life.act(true) {}
    assert!(life.machine.initialized());
    let name = &life.machine.pod().name;
    let seen = |name: &str| ObservedContainer {
        id: ContainerId { pod: life.machine.pod().name.uid, name: name.into(), attempt: 0 },
        tag: String::new(),
        state: ObservedState::Unknown,
    };
    let adopted = |containers| {
        let sandbox = ObservedSandbox::Ready;
        let observed = ObservedPod {
            uid: name.uid,
            origin: None,
            sandbox,
            addresses: Vec::new(),
            begun: true,
            containers,
        };
        let record = Some(life.machine.record(Boot::default()));
        let remains =
            Remains { record, observed: Some(&observed), boot: Boot::default(), held: false };
        let pod = Rc::clone(life.machine.pod());
        Machine::adopt(pod, life.machine.accepted(), remains, life.now)
    };
    assert_eq!(adopted(vec![]).next_starts(), [init], "what ran before the sandbox was lost");
    assert!(adopted(vec![seen("a")]).initialized());
}
