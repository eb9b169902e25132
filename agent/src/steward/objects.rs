//! Objects: from what the store accepted to pods that run, and from pods that are gone to names
//! that are forgotten.

use std::io;
use std::rc::Rc;

use mote_protocol::event::EventType;
use mote_protocol::name::{Kind, ObjectKey, Uid};
use mote_protocol::object::Revision;

use super::{Desired, Gone, Steward, ToPresence, Tried, Waiting, World};
use crate::events::{About, Report as EventReport};
use crate::pod::machine::{Event, Machine, Note, Remains};
use crate::pod::{Container, Moment};
use crate::reconciler::Outcome;
use crate::runtime::ObservedPod;
use crate::store::{Admission, Change, Life, OnTrial, Order, Source, Told};
use crate::volume::Volumes as _;

/// Names whose refusal is remembered, beside those of objects that the node has. A flood of bad
/// objects must not fill the memory; what is beyond is still told as an event.
const MAX_REFUSALS: usize = 256;

impl<W: World> Steward<W> {
    pub(super) fn store_told(&mut self, told: Told) {
        let now = self.now();
        self.look_at_reserve();
        match told {
            Told::FilesSettled { keys } => self.files_settled(&keys),
            Told::Received { scope, key, receipt, admission } => {
                if scope == Source::Static && !self.file_admitted(&key, &admission) {
                    return;
                }
                // The others wrote nothing.
                if !matches!(admission, Admission::Same | Admission::Empty | Admission::Refused(_))
                {
                    self.storage(false);
                }
                self.admitted(&key, admission);
                self.acknowledge(receipt);
            }
            Told::RecordSaved { uid, mark, result } => {
                self.books.saving.remove(&uid);
                self.storage(result.is_err());
                let event = match result {
                    Ok(()) => Event::Saved { mark },
                    Err(error) => {
                        let message = format!("write the record of pod {uid}: {error}");
                        self.node_event("StorageErrors", message);
                        Event::SaveFailed
                    }
                };
                self.step(uid, event, now);
            }
            Told::EventsKept { result } => self.events_kept(result),
            Told::Cordoned { cordon, result } => self.cordon_told(cordon, result),
            Told::Sentenced { key, tried, result } => self.sentenced(&key, tried, result),
            Told::Patience { key, revision, over, result } => {
                self.patience_told(&key, revision, over, result);
            }
            Told::LedgerKept { result } => {
                self.storage(result.is_err());
                if let Err(error) = result {
                    self.node_event("StorageErrors", format!("write the ledger: {error}"));
                }
            }
            Told::Forgot { key, uid, result } => self.forgot(&key, uid, result),
            Told::Failed { key, error } => {
                self.storage(true);
                self.node_event("StorageErrors", format!("write {key}: {error}"));
            }
        }
    }

    pub(super) fn storage(&mut self, failing: bool) {
        if std::mem::replace(&mut self.books.storage_failing, failing) != failing {
            self.tell_presence(ToPresence::Storage { failing });
        }
    }

    pub(super) fn admitted(&mut self, key: &ObjectKey, admission: Admission) {
        match admission {
            Admission::Same => {}
            Admission::Empty => self.emptied(key),
            Admission::Refused(refusal) => {
                let (reason, field) = (refusal.reason.to_string(), refusal.field.to_string());
                let place = if field.is_empty() { field } else { format!("{field}: ") };
                let message = format!("{place}{}", refusal.message);
                self.object_event(key, EventType::Warning, reason, message);
                let room = self.books.refusals.len() < MAX_REFUSALS;
                if room || self.is_here(key) {
                    self.books.refusals.insert(key.clone(), *refusal);
                }
                if let Some(desired) = self.books.desired.get_mut(key) {
                    // It waits all the same, and the next look says so again.
                    desired.waiting = desired.waiting.take().map(Waiting::told_again);
                }
                self.refresh(key);
            }
            Admission::Accepted { revision, life, change, trial, ignored, preempted } => {
                self.preempt(preempted);
                let unenforced = life.pod.unenforced.clone();
                self.accepted(key, revision, life, change, trial);
                for text in unenforced {
                    let message = format!("not enforced, as this node allows: {text}");
                    self.object_event(key, EventType::Warning, "Unenforced".into(), message);
                }
                self.fields_ignored(key, ignored);
            }
            Admission::Delayed { put_off, ignored } => {
                self.put_off(key, put_off);
                self.fields_ignored(key, ignored);
            }
            Admission::Kept { revision, ignored } => self.kept(key, revision, ignored),
            Admission::Serves { revision, service, ignored } => {
                self.serves(key, revision, *service, ignored);
            }
            Admission::Dropped => self.dropped(key),
            Admission::Deleting { revision, uid: _, grace_s } => {
                self.books.refusals.remove(key);
                if let Some(desired) = self.books.desired.get_mut(key) {
                    desired.revision = revision;
                    desired.life.grace_s = Some(grace_s);
                    (desired.trial, desired.waiting) = (None, None);
                }
                self.pursue(key);
                self.refresh(key);
                self.objects_changed();
            }
            Admission::DeletedUnknown { lost } => {
                self.books.refusals.remove(key);
                if let Some(uid) = lost {
                    self.disown(uid);
                }
                self.heard_again(key);
                self.clear_status(key);
            }
        }
    }

    pub(super) fn fields_ignored(&mut self, key: &ObjectKey, fields: Vec<String>) {
        for field in fields {
            let message = format!("{field} is ignored by this version of the agent");
            self.object_event(key, EventType::Warning, "FieldIgnored".into(), message);
        }
    }

    /// Somebody cleared a topic. That says nothing of an object that is wanted; where there is
    /// none, nothing needs to be said of it any more.
    fn emptied(&mut self, key: &ObjectKey) {
        let is_static = |desired: &Desired| desired.life.pod.is_static;
        if self.books.desired.get(key).is_some_and(is_static) {
            // Whoever published something of its name took that back.
            self.books.refusals.remove(key);
            self.refresh(key);
        } else if self.is_here(key) {
            let message = "its topic was cleared, which deletes nothing: publish a tombstone";
            self.object_event(key, EventType::Warning, "EmptyPayload".into(), message.into());
        } else {
            self.books.refusals.remove(key);
            self.clear_status(key);
        }
    }

    pub(super) fn is_here(&self, key: &ObjectKey) -> bool {
        self.books.desired.contains_key(key) || self.books.data.contains_key(key)
    }

    pub(super) fn accepted(
        &mut self,
        key: &ObjectKey,
        revision: Revision,
        life: Life,
        change: Change,
        trial: Option<Box<OnTrial>>,
    ) {
        self.books.refusals.remove(key);
        let before = self.books.desired.remove(key);
        let previous = match (change, before) {
            // The one that runs is the one to end; one in between never started.
            (Change::Replace, Some(before)) => {
                let mut life = before.life;
                let ended = before.gone != Gone::No;
                if ended {
                    // Flash was told that this one waits for its end.
                    let uid = life.pod.name.uid;
                    self.order(Order::PreviousEnded { key: key.clone(), uid });
                }
                life.grace_s.get_or_insert(life.pod.grace_s);
                before.previous.or_else(|| (!ended).then_some(life))
            }
            (Change::Update, Some(before)) => before.previous,
            (Change::New, _) | (_, None) => None,
        };
        let uid = life.pod.name.uid;
        let trial = trial.map(Tried::new);
        let waiting = None;
        let desired = Desired { revision, life, previous, trial, waiting, gone: Gone::No };
        self.books.desired.insert(key.clone(), desired);
        // The life that lost its object goes on as this one, or ends before it.
        let names = &self.books.kept.names;
        let lost = names.iter().filter(|(of, name)| **of != uid && *name == key);
        let lost: Vec<_> = lost.map(|(uid, _)| *uid).collect();
        for uid in lost {
            self.disown(uid);
        }
        self.books.kept.names.remove(&uid);
        self.books.kept.uids.remove(&uid);
        self.heard_again(key);
        self.pursue(key);
        // Tolerations may be added to what runs.
        self.hold_or_let_go(key, None);
        if change != Change::Update {
            self.tell_of_hold(key);
        }
        self.refresh(key);
        self.objects_changed();
    }

    /// Makes the reconciler want for a name what is desired of it.
    pub(super) fn pursue(&mut self, key: &ObjectKey) {
        let now = self.now();
        if !self.books.looked || self.books.heirs.values().any(|waits| waits == key) {
            return;
        }
        let Some(desired) = self.books.desired.get(key) else { return };
        let lives = std::iter::once(&desired.life).chain(&desired.previous);
        let own: Vec<_> = lives.map(|life| life.pod.name.uid).collect();
        if self.books.silent.may_be(key, &own) {
            // No two of a name run at a time.
            return;
        }
        if let Some(previous) = desired.previous.clone() {
            if self.wants(&previous, now) {
                return;
            }
            self.previous_ended(key, previous.pod.name.uid);
        }
        let Some(desired) = self.books.desired.get(key) else { return };
        let life = desired.life.clone();
        if desired.gone == Gone::No && !self.wants(&life, now) {
            self.gone(key);
        }
    }

    /// Brings a life to the reconciler; false where it is one that ends and of which nothing is
    /// left.
    fn wants(&mut self, life: &Life, now: Moment) -> bool {
        let uid = life.pod.name.uid;
        let known = self.books.reconciler.machine(&uid).is_some();
        if !known && self.books.silent.pods.contains_key(&uid) {
            if life.grace_s.is_none() || !self.books.silent.is_for_good() {
                // It may run, and answer when it is asked again.
                return true;
            }
            // It is to end, whatever it would say.
            self.books.silent.pods.remove(&uid);
            self.books.found.insert(uid, ObservedPod::died(uid));
        }
        if let Some(machine) = self.books.reconciler.machine(&uid) {
            if !Rc::ptr_eq(machine.pod(), &life.pod) {
                self.step(uid, Event::Update(Rc::clone(&life.pod)), now);
            }
        } else {
            let record = self.books.records.remove(&uid);
            let found = self.books.found.remove(&uid);
            // A pod that waited for something that its volumes lack may have others of them.
            let left = found.is_some() || self.edges.volumes.holds(&uid);
            if life.grace_s.is_some() && !left {
                return false;
            }
            let boot = self.boot();
            let accepted = boot.moment_of(life.accepted_unix_ms, now);
            let held = self.holds(life);
            let remains = Remains { record, observed: found.as_ref(), boot, held };
            let pod = Rc::clone(&life.pod);
            let asks_for_devices = pod.containers.iter().any(|one| !one.devices.is_empty());
            let machine = Machine::adopt(pod, accepted, remains, now);
            let outcome = self.books.reconciler.take(machine, now);
            self.after(uid, outcome, now);
            self.look_at_preempted(uid);
            if let Some(there) = self.books.devices.clone().filter(|_| asks_for_devices) {
                self.step(uid, Event::DevicesSeen(there), now);
            }
        }
        if let Some(grace_s) = life.grace_s {
            self.step(uid, Event::Delete { grace_s }, now);
        }
        true
    }

    /// Tells a pod what happened, and does what follows.
    pub(super) fn step(&mut self, uid: Uid, event: Event, now: Moment) {
        let outcome = self.books.reconciler.step(uid, event, now);
        self.after(uid, outcome, now);
    }

    pub(super) fn after(&mut self, uid: Uid, outcome: Outcome, now: Moment) {
        let machine = self.books.reconciler.machine(&uid);
        let key = machine.map(|machine| machine.pod().name.key());
        if let Some(machine) = machine
            && !self.books.saving.contains(&uid)
            && let Some(mark) = machine.unsaved(now)
        {
            let record = machine.record(self.boot());
            self.books.saving.insert(uid);
            self.order(Order::SaveRecord { uid, mark, record });
        }
        for note in outcome.notes {
            self.pod_event(uid, note);
        }
        if outcome.device_freed {
            self.device_freed(now);
        }
        self.look_at_victim(uid);
        self.look_at_drains();
        if outcome.gone {
            self.life_gone(uid);
        } else if let Some(key) = key {
            self.look_at_trial(&key, now);
            self.refresh(&key);
        }
    }

    fn pod_event(&mut self, uid: Uid, note: Note) {
        let lives = |desired: &Desired| {
            let lives = std::iter::once(&desired.life).chain(&desired.previous);
            lives.clone().find(|life| life.pod.name.uid == uid).map(|life| life.pod.clone())
        };
        let Some(pod) = self.books.desired.values().find_map(lives) else { return };
        let container = note.place.and_then(|place| pod.containers.get(place));
        let about = About::Object {
            kind: Kind::Pod,
            name: (pod.name.namespace.to_string(), pod.name.name.to_string()).into(),
            uid: Some(uid),
            field: container.map(Container::field_path).unwrap_or_default().into(),
        };
        let Note { event_type, reason, message, .. } = note;
        self.record(EventReport { event_type, about, reason: reason.into(), message });
    }

    /// Nothing is left of a life.
    fn life_gone(&mut self, uid: Uid) {
        let is = |life: &Life| life.pod.name.uid == uid;
        let of = |(key, desired): (&ObjectKey, &Desired)| {
            let mine = is(&desired.life) || desired.previous.as_ref().is_some_and(is);
            mine.then(|| key.clone())
        };
        let Some(key) = self.books.desired.iter().find_map(of) else { return };
        let desired = self.books.desired.get(&key);
        // It may be wanted again under the same uid, once it has ended.
        if desired.and_then(|desired| desired.previous.as_ref()).is_some_and(is) {
            self.previous_ended(&key, uid);
            self.pursue(&key);
            self.refresh(&key);
        } else {
            self.gone(&key);
        }
    }

    fn previous_ended(&mut self, key: &ObjectKey, uid: Uid) {
        if let Some(desired) = self.books.desired.get_mut(key) {
            desired.previous = None;
        }
        self.order(Order::PreviousEnded { key: key.clone(), uid });
    }

    /// The broker is told that a name is gone; when it knows, the name is forgotten.
    fn gone(&mut self, key: &ObjectKey) {
        if let Some(desired) = self.books.desired.get_mut(key) {
            desired.gone = Gone::Untold;
            self.order(Order::Ended { key: key.clone() });
            self.clear_status(key);
        }
    }

    pub(super) fn status_cleared(&mut self, key: &ObjectKey) {
        let Some(desired) = self.books.desired.get_mut(key) else { return };
        if desired.gone != Gone::No {
            desired.gone = Gone::Told;
            let uid = desired.life.pod.name.uid;
            self.order(Order::Forget { key: key.clone(), uid });
        }
    }

    /// Flash may have refused to forget.
    pub(super) fn forget_again(&self) {
        let told = |(_, desired): &(&ObjectKey, &Desired)| desired.gone == Gone::Told;
        for (key, desired) in self.books.desired.iter().filter(told) {
            let uid = desired.life.pod.name.uid;
            self.order(Order::Forget { key: key.clone(), uid });
        }
    }

    fn forgot(&mut self, key: &ObjectKey, uid: Uid, result: io::Result<()>) {
        if let Err(error) = result {
            // The tombstone stays on flash; a tick tries again.
            self.storage(true);
            return self.node_event("StorageErrors", format!("forget {key}: {error}"));
        }
        let same =
            |desired: &&Desired| desired.gone == Gone::Told && desired.life.pod.name.uid == uid;
        if self.books.desired.get(key).as_ref().is_some_and(same) {
            self.books.desired.remove(key);
            self.books.statuses.remove(key);
            self.objects_changed();
        }
    }
}
