//! What the files of static pods say, and what people are told of that.

use std::collections::BTreeSet;

use mote_protocol::name::ObjectKey;

use super::{Steward, World};
use crate::static_pods::Found;
use crate::store::{Admission, Order};

/// What people know of files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// What was wrong with them when somebody looked last.
    faults: Vec<String>,
    /// Those that ask for what the node does not take.
    refused: BTreeSet<ObjectKey>,
}

impl<W: World> Steward<W> {
    /// Somebody looked; what cannot be read ends nothing. What was told is not told again.
    pub(super) fn files_said(&mut self, Found { pods, faults }: Found) {
        let before = std::mem::replace(&mut self.books.files.faults, faults.clone());
        for fault in faults.into_iter().filter(|fault| !before.contains(fault)) {
            self.node_event("InvalidStaticPod", fault);
        }
        let Some(pods) = pods else { return };
        let refused = &self.books.files.refused;
        let gone: Vec<_> = refused.iter().filter(|key| !pods.contains_key(key)).cloned().collect();
        self.files_settled(&gone);
        // Also those that were refused: there may be room for them by now.
        self.order(Order::StaticPods(pods));
    }

    /// Nothing is wrong any more with what these files ask for, or there is no such file.
    pub(super) fn files_settled(&mut self, keys: &[ObjectKey]) {
        for key in keys {
            if !self.books.files.refused.remove(key) {
                continue;
            }
            self.books.refusals.remove(key);
            if self.is_here(key) { self.refresh(key) } else { self.clear_status(key) }
        }
    }

    /// Takes in what became of a file; false where that is known.
    pub(super) fn file_admitted(&mut self, key: &ObjectKey, admission: &Admission) -> bool {
        let Admission::Refused(refusal) = admission else {
            self.books.files.refused.remove(key);
            return true;
        };
        self.books.files.refused.insert(key.clone());
        let known = self.books.refusals.get(key);
        known.is_none_or(|known| {
            (&known.reason, &known.message) != (&refusal.reason, &refusal.message)
        })
    }
}
