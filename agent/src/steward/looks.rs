//! Looks at the node: what was missed, what is found, and which pods give no answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mote_protocol::name::{ObjectKey, Uid};

use super::{FIRST_LOOK_RETRY, Steward, TICK, World};
use crate::pod::Moment;
use crate::runtime::{Observed, ObservedPod, RuntimeError, Silence};

/// Pause before looking at the node again, where events were missed and a pod was busy meanwhile.
const MISSED_RETRY: Duration = Duration::from_secs(2);

/// Looks after which a pod that gave no answer, and is to end, is ended without asking it: half a minute.
const LAST_SILENT_LOOK: u32 = 5;

/// Pods that gave no answer when the node was looked at last: whoever began one anew would kill what runs.
#[derive(Debug, Default)]
pub(super) struct Silent {
    /// With the object that each is of, where that is written down.
    pub(super) pods: BTreeMap<Uid, Option<ObjectKey>>,
    /// Looks since all answered.
    looks: u32,
}

impl Silent {
    /// Whether they had time enough.
    pub(super) const fn is_for_good(&self) -> bool {
        self.looks >= LAST_SILENT_LOOK
    }

    /// Whether another pod than these may live as `key`.
    pub(super) fn may_be(&self, key: &ObjectKey, others: &[Uid]) -> bool {
        let of = |(uid, name): (&Uid, &Option<ObjectKey>)| {
            name.as_ref() == Some(key) && !others.contains(uid)
        };
        self.pods.iter().any(of)
    }
}

impl<W: World> Steward<W> {
    pub(super) fn look_again(&mut self, now: Moment, pause: Duration) {
        self.books.next_look = now.after(pause);
        self.books.reconciler.list();
    }

    /// Nobody knows what runs, this time.
    pub(super) fn not_looked(&mut self, error: &RuntimeError, now: Moment) {
        self.node_event("RuntimeErrors", format!("look at what runs: {error}"));
        if !self.books.looked || self.books.missed {
            self.books.next_look = now.after(FIRST_LOOK_RETRY);
        }
    }

    pub(super) fn looked(&mut self, since: u64, observed: Observed, now: Moment) {
        let unseen = self.books.reconciler.leaves_some(since);
        for (uid, event) in self.books.reconciler.missed(since, &observed) {
            self.step(uid, event, now);
        }
        if self.books.missed && unseen {
            self.books.next_look = self.books.next_look.min(now.after(MISSED_RETRY));
        }
        self.books.missed &= unseen;
        let first = !std::mem::replace(&mut self.books.looked, true);
        if first && !observed.pods.is_empty() {
            self.pods_found();
        }
        let before = self.heed_silent(observed.silent, now);
        let wanted = self.wanted_uids();
        let machine = |uid: &Uid| self.books.reconciler.machine(uid).is_some();
        let found = observed.pods.into_iter().filter(|pod| !machine(&pod.uid));
        // Later, what is wanted and was not there at first is none of ours to adopt.
        let ours = |uid: &Uid| first || before.contains(uid) || !wanted.contains(uid);
        let found = found.filter(|pod| ours(&pod.uid));
        let found: Vec<_> = found.map(|pod| (pod.uid, pod)).collect();
        self.books.found.extend(found);
        self.give_up_on_silent(&wanted);
        let heard_of_more = first || !before.is_empty() || !self.books.silent.pods.is_empty();
        // Later, what is found may be what is just being removed.
        self.recognize(&wanted, |uid| first || before.contains(uid));
        self.remove_orphans(&wanted);
        if heard_of_more {
            self.drop_records();
            for key in self.keys_of(|_| true) {
                self.pursue(&key);
            }
        }
    }

    /// Notes which pods gave no answer, and looks at them again, less and less often. Returns those that
    /// gave none before.
    fn heed_silent(&mut self, silent: BTreeMap<Uid, Silence>, now: Moment) -> BTreeSet<Uid> {
        if silent.is_empty() {
            self.books.silent.looks = 0;
        } else {
            let doubled = 2_u32.saturating_pow(self.books.silent.looks);
            let pause = FIRST_LOOK_RETRY.saturating_mul(doubled).min(TICK);
            self.books.silent.looks = self.books.silent.looks.saturating_add(1);
            self.books.next_look = self.books.next_look.min(now.after(pause));
        }
        let mut names = BTreeMap::new();
        for (uid, Silence { cause, origin }) in silent {
            self.node_event("RuntimeErrors", format!("look at pod {uid}: {cause}"));
            names.insert(uid, origin.map(|origin| origin.key()));
        }
        std::mem::replace(&mut self.books.silent.pods, names).into_keys().collect()
    }

    /// Takes pods for dead that gave no answer for long, where another life of their name waits.
    fn give_up_on_silent(&mut self, wanted: &BTreeSet<Uid>) {
        if !self.books.silent.is_for_good() {
            return;
        }
        let desired = &self.books.desired;
        let in_the_way = |uid: &Uid, key: &mut Option<ObjectKey>| {
            !wanted.contains(uid) && key.as_ref().is_some_and(|key| desired.contains_key(key))
        };
        let over: Vec<_> = self.books.silent.pods.extract_if(.., in_the_way).collect();
        let died = over.into_iter().map(|(uid, _)| (uid, ObservedPod::died(uid)));
        self.books.found.extend(died);
    }
}
