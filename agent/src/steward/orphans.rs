//! Pods that run and that no object is for: what is removed, and what is kept since its object was
//! lost to damage.

use std::collections::BTreeSet;

use mote_protocol::name::{ObjectKey, Uid};

use super::{ORPHAN_RETRY, Steward, World};
use crate::pod::Moment;
use crate::runtime::RuntimeError;
use crate::store::Order;

impl<W: World> Steward<W> {
    /// Every life that an object is for.
    pub(super) fn wanted_uids(&self) -> BTreeSet<Uid> {
        let desired = self.books.desired.values();
        let lives = desired.flat_map(|d| std::iter::once(&d.life).chain(&d.previous));
        lives.map(|life| life.pod.name.uid).collect()
    }

    /// Removes what runs and belongs to nobody, unless it may belong to an object that was lost.
    pub(super) fn remove_orphans(&mut self, wanted: &BTreeSet<Uid>) {
        if !self.books.kept.keys.is_empty() {
            return;
        }
        let kept = &self.books.kept.uids;
        let orphan = |uid: &&Uid| !wanted.contains(uid) && !kept.contains(uid);
        let orphans: Vec<_> = self.books.found.keys().filter(orphan).copied().collect();
        for uid in orphans {
            self.node_event("OrphanedPod", format!("pod {uid} belongs to nobody: removing it"));
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
        } else if self.books.looked {
            self.drop_record(uid);
        }
    }

    /// The next life under its name waits for its end: no two of them run at a time.
    fn remove_orphan(&mut self, uid: Uid) {
        let Some(pod) = self.books.found.remove(&uid) else { return };
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
        let over = |uid: &&Uid| {
            !kept.uids.contains(uid) && !found.contains_key(uid) && !heirs.contains_key(uid)
        };
        let over: Vec<_> = kept.names.keys().filter(over).copied().collect();
        for uid in over {
            self.drop_record(uid);
        }
    }

    fn drop_record(&mut self, uid: Uid) {
        if self.books.kept.names.remove(&uid).is_some() {
            self.books.records.remove(&uid);
            self.order(Order::DropRecord { uid });
        }
    }
}
