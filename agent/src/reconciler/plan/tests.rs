//! Random lives of one pod, against rules that hold in every one of them.

use std::rc::Rc;
use std::time::Duration;

use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::Phase;
use proptest::prelude::*;

use super::*;
use crate::image::{Digest, ImageError, Source};
use crate::pod::machine::StartFailure;
use crate::pod::tests::{container, pod_from, wire_pod};
use crate::runtime::{BootTime, Exit, Retry, RuntimeError};

/// One pod and the world that it meets.
struct Life {
    machine: Machine,
    now: Moment,
    phase: Phase,
    finished: bool,
}

impl Life {
    fn new(policy: RestartPolicy, init: bool) -> Self {
        let mut asked = wire_pod(vec![container("a"), container("b")]);
        asked.spec.restart_policy = policy;
        if init {
            asked.spec.init_containers.push(container("i"));
        }
        let machine = Machine::new(Rc::new(pod_from(&asked)), Moment(0));
        Self { machine, now: Moment(0), phase: Phase::Pending, finished: false }
    }

    fn step(&mut self, event: Event) {
        self.machine.step(event, self.now, &mut Vec::new());
        let phase = self.machine.phase();
        assert!(phase >= self.phase, "{:?} after {:?}", phase, self.phase);
        assert!(!phase.is_terminal() || !self.machine.is_live(), "{phase:?} and alive");
        self.phase = phase;
        self.finished |= self.machine.stage() == Stage::Finished;
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
            Action::CreateSandbox if well => self.step(Event::SandboxReady),
            Action::CreateSandbox => {
                let (uid, cause) = (self.machine.pod().name.uid, String::new());
                let error = RuntimeError::Sandbox { uid, cause, retry: Retry::Soon };
                self.step(Event::SandboxFailed(error));
            }
            Action::Start { place, attempt, image } => self.start(place, attempt, image, well),
            Action::Ask { place, attempt, .. } => self.step(Event::Asked { place, attempt }),
            Action::Kill { place, attempt } if well => {
                self.step(Event::Killed { place, attempt });
                self.exit(place, 137);
            }
            Action::Kill { place, attempt } => self.step(Event::Killed { place, attempt }),
            Action::RemoveSandbox if well => self.step(Event::SandboxRemoved),
            Action::RemoveSandbox => {
                let uid = self.machine.pod().name.uid;
                self.step(Event::RemoveFailed(RuntimeError::NoSandbox { uid }));
            }
        }
        true
    }

    fn start(&mut self, place: usize, attempt: u32, image: ImageId, well: bool) {
        let slot = &self.machine.slots()[place];
        assert!(!slot.is_live(), "a second instance");
        assert!(!self.finished, "it was over");
        assert!(
            slot.hold.as_ref().is_none_or(|hold| hold.until <= self.now),
            "before its back-off"
        );
        let reference = self.machine.pod().containers[place].image.clone();
        self.step(Event::Starting { place, made_of: Tag { image, reference } });
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
        let exit = Exit { code, oom_killed: false, at };
        self.step(Event::Exited { place, attempt, exit });
    }

    /// Goes on without any misfortune until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..200 {
            if self.act(true) {
                continue;
            }
            let Some(deadline) = self.machine.deadline(self.now) else { return };
            self.now = deadline;
            self.step(Event::Tick);
        }
    }
}

#[derive(Clone, Debug)]
enum Turn {
    Act(bool),
    Exit(usize, i32),
    Pass(u32),
    SandboxDies,
    Delete(u32),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        12 => Just(Turn::Act(true)),
        2 => Just(Turn::Act(false)),
        4 => (0..3_usize, 0..2_i32).prop_map(|(place, code)| Turn::Exit(place, code)),
        3 => (0..400_000_u32).prop_map(Turn::Pass),
        1 => Just(Turn::SandboxDies),
        1 => (0..40_u32).prop_map(Turn::Delete),
    ]
}

fn policy() -> impl Strategy<Value = RestartPolicy> {
    use RestartPolicy::{Always, Never, OnFailure};
    prop_oneof![Just(Always), Just(OnFailure), Just(Never)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_life_keeps_the_rules_and_a_deleted_pod_ends(
        policy in policy(), init in any::<bool>(),
        turns in proptest::collection::vec(turn(), 0..60),
    ) {
        let mut life = Life::new(policy, init);
        for turn in turns {
            match turn {
                Turn::Act(well) => drop(life.act(well)),
                Turn::Exit(place, code) => life.exit(place, code),
                Turn::Pass(ms) => {
                    life.now = life.now.after(Duration::from_millis(ms.into()));
                    life.step(Event::Tick);
                }
                Turn::SandboxDies => life.step(Event::SandboxDied),
                Turn::Delete(grace_s) => life.step(Event::Delete { grace_s }),
            }
        }
        let planned = pod(&life.machine, life.now);
        prop_assert_eq!(planned, pod(&life.machine, life.now), "planning remembers nothing");
        life.step(Event::Delete { grace_s: 5 });
        life.settle();
        prop_assert_eq!(life.machine.stage(), Stage::Gone);
        prop_assert_eq!(pod(&life.machine, life.now), []);
    }
}

#[test]
fn a_settled_pod_plans_nothing() {
    let mut life = Life::new(RestartPolicy::Always, false);
    life.settle();
    assert_eq!(life.machine.phase(), Phase::Running);
    assert_eq!(pod(&life.machine, life.now), []);
    assert_eq!(life.machine.deadline(life.now), None);
}

#[test]
fn the_second_crash_waits_ten_seconds() {
    let mut life = Life::new(RestartPolicy::Always, false);
    life.settle();
    life.exit(0, 1);
    while life.act(true) {}
    assert!(life.machine.slots()[0].is_running(), "the first restart is immediate");
    life.exit(0, 1);
    while life.act(true) {}
    let hold = life.machine.slots()[0].hold.clone().expect("a back-off");
    assert_eq!((hold.reason, hold.until), ("CrashLoopBackOff", Moment(life.now.0 + 10_000)));
}
