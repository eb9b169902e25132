//! What a pod keeps on disk: when that is looked at, and what follows.

use std::time::Duration;

use super::{Machine, Note, Sandbox, Stage};
use crate::pod::Moment;
use crate::pod::storage::{StorageUse, ToMeasure, reason_of};

/// Time between two looks, as the kubelet's between two rounds of its eviction manager.
const LOOK: Duration = Duration::from_secs(10);

/// A look that takes long is not repeated before so many times its duration have passed: a pod with
/// many files must not keep the card busy with being counted.
const REST: u32 = 20;

/// Most that is rested: a pod that makes itself slow to be counted must not be left alone for hours.
const MOST_REST: Duration = Duration::from_mins(10);

/// Grace of an evicted pod, the kubelet's `immediateEvictionGracePeriodSeconds`.
pub const GRACE: Duration = Duration::from_secs(1);

/// What is known of what a pod keeps on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Storage {
    /// When to look again; none before the first look.
    next: Option<Moment>,
    /// The last look did not count everything.
    partial: bool,
    /// Counts containers that ended: each may have written until then.
    ended: u32,
    /// How far that was when the last look began.
    looked: u32,
    /// All that it kept at the last look, in bytes, where that counted everything.
    kept: Option<u64>,
    /// Why it is evicted, once it is.
    pub(super) evicted: Option<String>,
    /// Nobody has heard of that.
    untold: bool,
}

impl Machine {
    /// What must be measured now, where that is so. A pod without limits is never looked at.
    pub fn to_measure(&self, now: Moment) -> Option<ToMeasure> {
        let due = self.storage.next.is_none_or(|next| next <= now);
        let limits = self.pod.storage.as_ref().filter(|_| due && self.keeps_on_disk())?;
        let running = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_running());
        limits.to_measure(&self.pod, running.map(|(place, _)| place), self.storage.ended)
    }

    /// What it keeps on disk, in bytes, where a limit has all of it measured.
    pub const fn kept_on_disk(&self) -> Option<u64> {
        self.storage.kept
    }

    /// It may keep more than at the last look: somebody writes, or did when that began.
    fn keeps_on_disk(&self) -> bool {
        let writes = self.is_live() || self.storage.looked != self.storage.ended;
        writes && self.stage == Stage::Active && self.sandbox == Sandbox::Ready
    }

    /// A container ended; also one that an earlier agent may have seen end, and not looked.
    pub(super) const fn wrote(&mut self) {
        self.storage.ended = self.storage.ended.wrapping_add(1);
    }

    pub(super) fn storage_deadline(&self) -> Option<Moment> {
        let looked_at = self.pod.storage.is_some() && self.keeps_on_disk();
        self.storage.next.filter(|_| looked_at)
    }

    pub(super) fn measured(&mut self, kept: &StorageUse, now: Moment, notes: &mut Vec<Note>) {
        let Some(limits) = &self.pod.storage else { return };
        let rest = kept.took().saturating_mul(REST).clamp(LOOK, MOST_REST);
        self.storage.next = Some(now.after(rest));
        self.storage.looked = kept.mark;
        let before = std::mem::replace(&mut self.storage.partial, !kept.is_whole());
        self.storage.kept = (limits.is_of_all() && kept.is_whole()).then(|| kept.total());
        if self.stage != Stage::Active {
            return;
        }
        // As with a kubelet, which evicts no critical pod for any reason.
        if self.pod.is_critical() {
            return;
        }
        if let Some(why) = limits.exceeded(&self.pod, kept) {
            self.storage.untold = true;
            self.evict(why, GRACE, now);
        } else if self.storage.partial && !before {
            let message = "not all files of this pod could be counted: its limits of \
                           ephemeral-storage and sizeLimit may be exceeded without notice";
            notes.push(Note::warning(None, "StorageNotMeasured", message.into()));
        }
    }

    /// Tells that it is evicted, once that is on flash: before, another agent could let it live.
    pub(super) fn tell_eviction(&mut self, notes: &mut Vec<Note>) {
        if std::mem::take(&mut self.storage.untold) {
            let why = self.storage.evicted.clone();
            notes.extend(why.map(|why| Note::warning(None, reason_of(&why), why)));
        }
    }

    /// The node is short of something. What is on its way out gets no longer for it.
    pub(super) fn evict_for_node(&mut self, why: String, grace: Duration, now: Moment) {
        match &mut self.stage {
            Stage::Active => {
                self.storage.untold = true;
                self.evict(why, grace, now);
            }
            Stage::Stopping { deadline } | Stage::Removing { deadline, .. } => {
                let shortened = (*deadline).min(now.after(grace));
                *deadline = shortened;
                self.shorten_stops(shortened, now);
            }
            Stage::Finished | Stage::Gone => {}
        }
    }

    /// Begins to end one that an earlier agent evicted.
    pub(super) fn evict_again(&mut self, why: String, now: Moment) {
        self.evict(why, GRACE, now);
    }

    fn evict(&mut self, why: String, grace: Duration, now: Moment) {
        self.stage = Stage::Stopping { deadline: now.after(grace) };
        self.storage.evicted = Some(why);
        self.touch();
    }
}
