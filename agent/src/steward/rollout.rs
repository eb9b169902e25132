//! Changes on trial: what becomes of them is decided whenever something happened to their pod.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::event::EventType;
use mote_protocol::name::ObjectKey;
use mote_protocol::object::Revision;
use mote_protocol::rollout::ROLLED_BACK;
use mote_protocol::status::Refusal;
use mote_protocol::text::{Short, Text};

use super::delays::Waiting;
use super::{Desired, Steward, World};
use crate::pod::Moment;
use crate::rollout::Verdict;
use crate::store::{OnTrial, Order, Rejected, Sentence, Sentenced, WentBack};

/// Pause before flash is told again what becomes of a change, where it refused that.
pub(super) const RETRY: Duration = Duration::from_secs(10);

/// A change on trial.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) on: Box<OnTrial>,
    end: End,
}

/// How far flash is with the end of what a change waits for, or is on trial for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There is none yet.
    Open,
    /// Flash is being told.
    Asked,
    /// Flash refused; when to tell it again.
    Refused(Moment),
}

impl Tried {
    pub(super) const fn new(on: Box<OnTrial>) -> Self {
        Self { on, end: End::Open }
    }

    fn deadline(&self, boot: [u8; 16]) -> Option<Moment> {
        match self.end {
            End::Open => self.on.trial.deadline(boot),
            End::Asked => None,
            End::Refused(retry) => Some(retry),
        }
    }

    /// Whether it is to be asked what is to be done.
    fn is_due(&self, now: Moment) -> bool {
        self.end.is_due(now)
    }
}

impl End {
    /// Whether somebody is to decide.
    pub(super) fn is_due(self, now: Moment) -> bool {
        match self {
            Self::Open => true,
            Self::Asked => false,
            Self::Refused(retry) => retry <= now,
        }
    }
}

/// What is said of a revision that was tried in vain.
pub(super) fn refusal(rejected: &Rejected) -> Refusal {
    Refusal {
        seen: rejected.revision,
        reason: Short::new(ROLLED_BACK),
        field: Short::default(),
        message: Text::new(&rejected.why),
    }
}

impl<W: World> Steward<W> {
    /// When some change on trial must be looked at again.
    pub(super) fn trial_deadline(&self) -> Option<Moment> {
        let (boot, clock) = (self.identity.boot_id, self.books.clock);
        let trials = self.books.desired.values().filter_map(|desired| desired.trial.as_ref());
        trials.filter_map(|tried| tried.deadline(boot)).filter(|at| *at > clock).min()
    }

    pub(super) fn keys_of(&self, is: impl Fn(&Desired) -> bool) -> Vec<ObjectKey> {
        let desired = self.books.desired.iter().filter(|(_, desired)| is(desired));
        desired.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn look_at_trials(&mut self, now: Moment) {
        for key in self.keys_of(|desired| desired.trial.is_some()) {
            self.look_at_trial(&key, now);
        }
    }

    /// Asks the change of a name that is on trial what is to be done about it.
    pub(super) fn look_at_trial(&mut self, key: &ObjectKey, now: Moment) {
        let boot = self.identity.boot_id;
        let Some(desired) = self.books.desired.get_mut(key) else { return };
        let Desired { revision, life, previous: None, trial, .. } = desired else { return };
        let Some(tried) = trial else { return };
        if life.grace_s.is_some() || !tried.is_due(now) {
            return;
        }
        let uid = life.pod.name.uid;
        let machine = self.books.reconciler.machine(&uid);
        // Until it has heard of the change it speaks of what was before.
        let Some(machine) = machine.filter(|machine| Rc::ptr_eq(machine.pod(), &life.pod)) else {
            return;
        };
        if machine.is_held() {
            // Whether it would be ready nobody can tell.
            return;
        }
        let sentence = match tried.on.trial.step(machine.progress(), boot, now) {
            Verdict::Wait => {
                tried.end = End::Open;
                return;
            }
            Verdict::Counts(count) => Sentence::Counts(count),
            Verdict::Final => Sentence::Final,
            Verdict::Back(failure) => Sentence::Back { why: failure.message(&machine.complaint()) },
        };
        let counts = matches!(sentence, Sentence::Counts(_));
        tried.end = if counts { End::Open } else { End::Asked };
        let tried = *revision;
        self.order(Order::Sentence { key: key.clone(), uid, tried, sentence });
    }

    /// What becomes of a change on trial is on flash, or not.
    pub(super) fn sentenced(
        &mut self,
        key: &ObjectKey,
        tried: Revision,
        result: io::Result<Sentenced>,
    ) {
        match result {
            Err(error) => {
                self.not_sentenced(key, tried);
                self.storage(true);
                let message = format!("write what becomes of the change of {key}: {error}");
                self.node_event("StorageErrors", message);
            }
            Ok(Sentenced::Void) => self.trial_over(key, tried),
            Ok(Sentenced::Counted) => self.storage(false),
            Ok(Sentenced::Final) => {
                self.storage(false);
                self.trial_over(key, tried);
            }
            Ok(Sentenced::Back(back)) => {
                self.storage(false);
                self.went_back(key, *back);
            }
        }
    }

    /// The change on trial of a name, where it is this one and flash was told of its end.
    fn ending(&mut self, key: &ObjectKey, tried: Revision) -> Option<&mut Option<Tried>> {
        let desired = self.books.desired.get_mut(key).filter(|one| one.revision == tried)?;
        let asked = desired.trial.as_ref().is_some_and(|tried| tried.end == End::Asked);
        asked.then_some(&mut desired.trial)
    }

    /// What counts goes on in memory meanwhile; its end must get to flash, or the next agent would take
    /// back what stays.
    fn not_sentenced(&mut self, key: &ObjectKey, tried: Revision) {
        let retry = self.now().after(RETRY);
        if let Some(Some(tried)) = self.ending(key, tried) {
            tried.end = End::Refused(retry);
        }
    }

    fn trial_over(&mut self, key: &ObjectKey, tried: Revision) {
        if let Some(trial) = self.ending(key, tried) {
            *trial = None;
        }
    }

    /// Now what was before is wanted.
    fn went_back(&mut self, key: &ObjectKey, back: WentBack) {
        let WentBack { revision, life, change, rejected } = back;
        let waiting = self.books.desired.get_mut(key).and_then(|desired| desired.waiting.take());
        self.accepted(key, revision, life, change, None);
        let (tried, why, runs) = (rejected.revision.number, &rejected.why, revision.number);
        let message = format!("revision {tried} is {why}; back to revision {runs}");
        self.object_event(key, EventType::Warning, ROLLED_BACK.into(), message);
        self.books.refusals.insert(key.clone(), refusal(&rejected));
        // What waits is later still, and waits on.
        if let Some(desired) = self.books.desired.get_mut(key) {
            desired.waiting = waiting.map(Waiting::told_again);
        }
        self.look_at_delay(key);
        self.refresh(key);
    }
}
