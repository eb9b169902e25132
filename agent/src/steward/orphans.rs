//! Pods that run and that no object is for: what is removed, and what is kept since its object was
//! lost to damage.

use std::collections::BTreeSet;
use std::time::Duration;

use mote_protocol::name::{ObjectKey, Uid};

use super::{Steward, World};
use crate::pod::Moment;
use crate::runtime::RuntimeError;
use crate::store::Order;

/// Pause before a pod that belongs to nobody is looked for again, where it could not be removed.
const ORPHAN_RETRY: Duration = Duration::from_secs(10);

impl<W: World> Steward<W> {
    /// Every life that an object is for.
    pub(super) fn wanted_uids(&self) -> BTreeSet<Uid> {
        let desired = self.books.desired.values();
        let lives = desired.flat_map(|d| std::iter::once(&d.life).chain(&d.previous));
        lives.map(|life| life.pod.name.uid).collect()
    }

    /// Finds out whose the pods are that run and are not wanted, by what is written beside them. Another
    /// life of an object that is known ends before the one that is wanted begins. Where no object of that
    /// name is known it was lost, and not deleted: what runs goes on until somebody says what it should be.
    pub(super) fn recognize(&mut self, wanted: &BTreeSet<Uid>, is_new: impl Fn(&Uid) -> bool) {
        let kept = &self.books.kept;
        let unwanted = |uid: &Uid| !wanted.contains(uid) && !kept.uids.contains(uid);
        let found = self.books.found.iter().filter(|(uid, _)| is_new(uid) && unwanted(uid));
        let origins = found.filter_map(|(uid, pod)| Some((*uid, pod.origin.clone()?)));
        let origins: Vec<_> = origins.collect();
        for (uid, origin) in origins {
            let key = origin.key();
            self.books.kept.names.insert(uid, key.clone());
            let is_over = self.books.kept.disowned.remove(&uid);
            if is_over || self.books.desired.contains_key(&key) {
                self.remove_orphan(uid);
                continue;
            }
            let message = format!("{key} ({uid}) runs and is kept: what it should be was lost");
            self.node_event("LostObject", message);
            self.books.kept.keys.remove(&key);
            self.books.kept.uids.insert(uid);
            self.order(Order::Lost { uid, origin });
        }
    }

    /// Whether all pods are known that may need something: no object is lost whose pod is not.
    pub(super) fn knows_all(&self) -> bool {
        let (kept, records) = (&self.books.kept, &self.books.records);
        let known = self.books.found.keys().all(|uid| records.contains_key(uid));
        known && kept.keys.is_empty() && self.books.silent.pods.is_empty()
    }

    /// Removes what runs and belongs to nobody, unless it may belong to an object that was lost. Whose
    /// removal failed is known to be nobody's.
    pub(super) fn remove_orphans(&mut self, wanted: &BTreeSet<Uid>) {
        let (kept, heirs) = (&self.books.kept, &self.books.heirs);
        let some_lost = kept.unknown || !kept.keys.is_empty();
        let nobodys = |uid: &Uid| !some_lost || heirs.contains_key(uid);
        let orphan = |uid: &&Uid| !wanted.contains(uid) && !kept.uids.contains(uid) && nobodys(uid);
        let orphans: Vec<_> = self.books.found.keys().filter(orphan).copied().collect();
        for uid in orphans {
            self.remove_orphan(uid);
        }
    }

    /// Somebody said what a lost object is to be, or that it is to be nothing. Where no other is lost,
    /// what runs and is nobody's was its.
    pub(super) fn heard_again(&mut self, key: &ObjectKey) {
        let last = self.books.kept.keys.remove(key) && self.books.kept.keys.is_empty();
        if !last || !self.books.looked {
            return;
        }
        let found: Vec<_> = self.books.found.keys().copied().collect();
        for uid in found {
            self.books.kept.names.entry(uid).or_insert_with(|| key.clone());
        }
        let wanted = self.wanted_uids();
        self.remove_orphans(&wanted);
    }

    /// Nobody will say any more that this pod is what its lost object asked for.
    pub(super) fn disown(&mut self, uid: Uid) {
        self.books.kept.uids.remove(&uid);
        if self.books.found.contains_key(&uid) {
            self.remove_orphan(uid);
        } else if !self.books.looked || self.books.silent.pods.contains_key(&uid) {
            // It may run, and be found later.
            self.books.kept.disowned.insert(uid);
        } else {
            self.drop_record(uid);
        }
    }

    /// The next life under its name waits for its end: no two of them run at a time.
    fn remove_orphan(&mut self, uid: Uid) {
        let Some(pod) = self.books.found.remove(&uid) else { return };
        self.node_event("OrphanedPod", format!("pod {uid} belongs to nobody: removing it"));
        if let Some(key) = self.books.kept.names.get(&uid) {
            self.books.heirs.insert(uid, key.clone());
        }
        self.books.reconciler.remove_orphan(&pod);
    }

    pub(super) fn orphan_removed(
        &mut self,
        uid: Uid,
        result: Result<(), RuntimeError>,
        now: Moment,
    ) {
        self.books.reconciler.orphan_removed(&uid);
        if let Err(error) = result {
            self.node_event("FailedKillPod", format!("remove orphan {uid}: {error}"));
            // It is found and removed again.
            self.books.next_look = self.books.next_look.min(now.after(ORPHAN_RETRY));
            return;
        }
        self.drop_record(uid);
        if let Some(key) = self.books.heirs.remove(&uid) {
            self.pursue(&key);
            self.refresh(&key);
        }
    }

    /// Drops the records of pods that are no more.
    pub(super) fn drop_records(&mut self) {
        let (kept, found, heirs) = (&self.books.kept, &self.books.found, &self.books.heirs);
        let silent = &self.books.silent.pods;
        let over = |uid: &&Uid| {
            let lives = found.contains_key(uid) || silent.contains_key(uid);
            !kept.uids.contains(uid) && !lives && !heirs.contains_key(uid)
        };
        let over: Vec<_> = kept.names.keys().filter(over).copied().collect();
        for uid in over {
            self.drop_record(uid);
        }
    }

    /// That a pod is over is remembered as long as there is an object of its name: its own may be said
    /// again under its uid, and it must not run again.
    fn drop_record(&mut self, uid: Uid) {
        let is_over = self.books.records.get(&uid).is_some_and(|record| record.verdict.is_some());
        let name = self.books.kept.names.get(&uid);
        if is_over && name.is_some_and(|key| self.books.desired.contains_key(key)) {
            return;
        }
        if self.books.kept.names.remove(&uid).is_some() {
            self.books.records.remove(&uid);
            self.order(Order::DropRecord { uid });
        }
    }
}
