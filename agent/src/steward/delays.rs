//! Changes that are put off: whether they are made is asked whenever a lock may have been freed, and when
//! a window opens or their time is over.

use std::io;

use mote_protocol::event::EventType;
use mote_protocol::name::ObjectKey;
use mote_protocol::object::Revision;
use mote_protocol::rollout::DELAYED;
use mote_protocol::status::Refusal;
use mote_protocol::text::{Short, Text};

use super::rollout::{End, RETRY};
use super::{Steward, World};
use crate::pod::Moment;
use crate::ports::Locks as _;
use crate::rollout::{Decision, Obstacle, Occasion};
use crate::store::{Admission, Order, Patience, PutOff};

/// A change that is put off.
#[derive(Debug)]
pub(super) struct Waiting {
    on: Box<PutOff>,
    /// When to ask again.
    until: Option<Moment>,
    /// For what, where somebody was told.
    told: Option<Obstacle>,
    end: End,
}

impl Waiting {
    pub(super) const fn new(on: Box<PutOff>) -> Self {
        Self { on, until: None, told: None, end: End::Open }
    }

    /// The same, which nobody was told of.
    pub(super) fn told_again(self) -> Self {
        Self { told: None, ..self }
    }

    /// When to look at it again; none where the end of something else is waited for.
    const fn deadline(&self) -> Option<Moment> {
        match self.end {
            End::Open => self.until,
            End::Asked => None,
            End::Refused(retry) => Some(retry),
        }
    }
}

impl<W: World> Steward<W> {
    /// When some change that is put off must be looked at again.
    pub(super) fn delay_deadline(&self) -> Option<Moment> {
        let waiting = self.books.desired.values().filter_map(|desired| desired.waiting.as_ref());
        waiting.filter_map(Waiting::deadline).filter(|at| *at > self.books.clock).min()
    }

    pub(super) fn look_at_delays(&mut self) {
        for key in self.keys_of(|desired| desired.waiting.is_some()) {
            self.look_at_delay(&key);
        }
    }

    /// Asks the change of a name that is put off whether it is made now.
    pub(super) fn look_at_delay(&mut self, key: &ObjectKey) {
        let (edges, boot, now) = (&self.edges, self.identity.boot_id, self.edges.now());
        let desired = self.books.desired.get_mut(key);
        let waiting = desired.and_then(|desired| desired.waiting.as_mut());
        let Some(waiting) = waiting.filter(|waiting| waiting.end.is_due(now)) else { return };
        let occasion = Occasion { boot, now, unix_ms: edges.kept_unix_ms() };
        let revision = waiting.on.revision;
        match waiting.on.delayed.decide(occasion, |lock| edges.locks.is_held(lock)) {
            Decision::Make { overdue } => {
                let first = waiting.end == End::Open;
                waiting.end = End::Asked;
                let excuse = overdue.map(|obstacle| waiting.on.delayed.excuse(&obstacle));
                let patience = Patience::Over;
                self.order(Order::Patience { key: key.clone(), revision, patience });
                if let Some(excuse) = excuse.filter(|_| first) {
                    let message = format!("revision {} {excuse}", revision.number);
                    self.object_event(key, EventType::Warning, "UpdateOverdue".into(), message);
                }
            }
            Decision::Wait { obstacle, until, counts } => {
                waiting.end = End::Open;
                waiting.until = Some(until);
                let why = waiting.on.delayed.reason(&obstacle);
                let new = waiting.told.replace(obstacle) != waiting.told;
                if let Some(count) = counts {
                    let patience = Patience::Counts(count);
                    self.order(Order::Patience { key: key.clone(), revision, patience });
                }
                if new {
                    self.tell_of_delay(key, revision, &why);
                }
            }
        }
    }

    fn tell_of_delay(&mut self, key: &ObjectKey, seen: Revision, why: &str) {
        let message = format!("revision {} {why}", seen.number);
        self.object_event(key, EventType::Normal, DELAYED.into(), message);
        let (reason, field) = (Short::new(DELAYED), Short::default());
        let refusal = Refusal { seen, reason, field, message: Text::new(why) };
        self.books.refusals.insert(key.clone(), refusal);
        self.refresh(key);
    }

    /// A change came that may have to wait.
    pub(super) fn put_off(&mut self, key: &ObjectKey, put_off: Box<PutOff>) {
        if let Some(desired) = self.books.desired.get_mut(key) {
            desired.waiting = Some(Waiting::new(put_off));
        }
        self.books.refusals.remove(key);
        self.look_at_delay(key);
        self.refresh(key);
    }

    /// What becomes of a change that is put off is on flash, or not.
    pub(super) fn patience_told(
        &mut self,
        key: &ObjectKey,
        revision: Revision,
        over: bool,
        result: io::Result<Option<Admission>>,
    ) {
        let retry = self.now().after(RETRY);
        match result {
            Err(error) => {
                if let Some(Some(waiting)) = self.asked(key, revision).filter(|_| over) {
                    waiting.end = End::Refused(retry);
                }
                self.storage(true);
                let message = format!("write what becomes of the change of {key}: {error}");
                self.node_event("StorageErrors", message);
            }
            Ok(admission) => {
                self.storage(false);
                if let Some(waiting) = self.asked(key, revision).filter(|_| over) {
                    *waiting = None;
                }
                if let Some(admission) = admission {
                    self.admitted(key, admission);
                }
            }
        }
    }

    /// The change of a name that is put off, where it is this one and flash was told to make it.
    fn asked(&mut self, key: &ObjectKey, revision: Revision) -> Option<&mut Option<Waiting>> {
        let waiting = &mut self.books.desired.get_mut(key)?.waiting;
        let asked =
            |waiting: &Waiting| waiting.on.revision == revision && waiting.end == End::Asked;
        waiting.as_ref().is_some_and(asked).then_some(waiting)
    }
}
