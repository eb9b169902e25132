//! What a pod keeps on disk: when that is looked at, and what follows.

use std::time::Duration;

use super::{Machine, Note, Sandbox, Stage};
use crate::pod::Moment;
use crate::pod::storage::{EVICTED, StorageUse, ToMeasure};

/// Time between two looks, as the kubelet's between two rounds of its eviction manager.
const LOOK: Duration = Duration::from_secs(10);

/// A look that takes long is not repeated before so many times its duration have passed: a pod with
/// many files must not keep the card busy with being counted.
const REST: u32 = 20;

/// Grace of an evicted pod, the kubelet's `immediateEvictionGracePeriodSeconds`.
const GRACE: Duration = Duration::from_secs(1);

/// What is known of what a pod keeps on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Storage {
    /// When to look again; none before the first look.
    next: Option<Moment>,
    /// The last look did not count everything.
    partial: bool,
    /// Why it is evicted, once it is.
    pub(super) evicted: Option<String>,
}

impl Machine {
    /// What must be measured now, where that is so. A pod without limits is never looked at.
    pub fn to_measure(&self, now: Moment) -> Option<ToMeasure> {
        let due = self.storage.next.is_none_or(|next| next <= now);
        let limits = self.pod.storage.as_ref().filter(|_| due && self.keeps_on_disk())?;
        let running = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_running());
        let wanted = limits.to_measure(&self.pod, running.map(|(place, _)| place));
        (wanted != ToMeasure::default()).then_some(wanted)
    }

    /// Something of it may be on disk, and more may come.
    fn keeps_on_disk(&self) -> bool {
        self.stage == Stage::Active && self.sandbox == Sandbox::Ready
    }

    pub(super) fn storage_deadline(&self) -> Option<Moment> {
        let looked_at = self.pod.storage.is_some() && self.keeps_on_disk();
        self.storage.next.filter(|_| looked_at)
    }

    pub(super) fn measured(&mut self, kept: &StorageUse, now: Moment, notes: &mut Vec<Note>) {
        let Some(limits) = &self.pod.storage else { return };
        self.storage.next = Some(now.after(LOOK.max(kept.took() * REST)));
        let before = std::mem::replace(&mut self.storage.partial, !kept.is_whole());
        if self.stage != Stage::Active {
            return;
        }
        if let Some(why) = limits.exceeded(&self.pod, kept) {
            notes.push(Note::warning(None, EVICTED, why.clone()));
            self.evict(why, now);
        } else if self.storage.partial && !before {
            let message = "not all files of this pod could be counted: its limits of \
                           ephemeral-storage and sizeLimit may be exceeded without notice";
            notes.push(Note::warning(None, "StorageNotMeasured", message.into()));
        }
    }

    /// Begins to end it. It must be on flash before it is told.
    pub(super) fn evict(&mut self, why: String, now: Moment) {
        self.stage = Stage::Stopping { deadline: now.after(GRACE) };
        self.storage.evicted = Some(why);
        self.touch();
    }
}
