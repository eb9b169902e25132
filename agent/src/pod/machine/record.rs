//! What must be known of a pod after a reboot, and whether it already is on flash.
//!
//! `/run` does not survive a reboot; this does. It changes when a container is started or has
//! ended for good, not with time, so a pod that just runs writes nothing.

use std::time::Duration;

use mote_protocol::extension::Extensions;
use mote_protocol::name::{Namespace, ObjectName};
use mote_protocol::status::Phase;
use serde::{Deserialize, Serialize};

use super::slot::{EndReason, Ended};
use super::{KILL_RETRY, Machine, Note, Run, Slot, Stage};
use crate::pod::backoff::CrashBackoff;
use crate::pod::{Boot, Moment};

/// What is kept of a pod on flash, beside what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose life it is: who was this when the object with that name is lost or another.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// The boot that all moments here are of.
    pub boot: Boot,
    /// When the pod was accepted.
    pub accepted_ms: i64,
    /// Containers may have been started.
    pub begun: bool,
    /// The furthest phase that was reached.
    pub peak: Phase,
    /// It is evicted, for this reason: it does not come back, whatever it keeps by then.
    pub evicted: Option<String>,
    /// How it ended, with why, where it did.
    pub verdict: Option<(Phase, Option<(String, String)>)>,
    /// Its containers, in the order of the spec.
    pub slots: Vec<SlotRecord>,
    /// The images of its volumes, in the order of those that have some.
    pub volume_images: Vec<Option<[u8; 32]>>,
    /// What later agents keep beside it: one that does not know it passes it over.
    pub extensions: Extensions,
}

/// What is kept of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Its name.
    pub name: String,
    /// Attempts so far.
    pub attempts: u32,
    /// The image of the last attempt.
    pub image: Option<[u8; 32]>,
    /// The image that it ran before that one.
    pub rollback: Option<[u8; 32]>,
    /// How the last attempt ended, where it did.
    pub ended: Option<EndedRecord>,
    /// How the one before ended.
    pub last: Option<EndedRecord>,
    /// Pauses between restarts.
    pub crash: Option<BackoffRecord>,
}

/// Pauses between restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackoffRecord {
    pause_s: u32,
    at_ms: i64,
}

/// An end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRecord {
    code: i32,
    reason: u8,
    message: String,
    started_ms: i64,
    finished_ms: i64,
}

const REASONS: [EndReason; 4] =
    [EndReason::Exited, EndReason::OomKilled, EndReason::StartError, EndReason::Unknown];

impl EndedRecord {
    fn new(ended: &Ended) -> Self {
        Self {
            code: ended.code,
            reason: REASONS
                .iter()
                .position(|r| *r == ended.reason)
                .and_then(|place| place.try_into().ok())
                .unwrap_or(u8::MAX),
            message: ended.message.clone(),
            started_ms: ended.started.0,
            finished_ms: ended.finished.0,
        }
    }

    pub(super) fn restore(self, moment: impl Fn(i64) -> Moment) -> Ended {
        Ended {
            code: self.code,
            reason: REASONS.get(usize::from(self.reason)).copied().unwrap_or(EndReason::Unknown),
            message: self.message,
            started: moment(self.started_ms),
            finished: moment(self.finished_ms),
        }
    }
}

impl BackoffRecord {
    pub(super) fn restore(self, moment: impl Fn(i64) -> Moment) -> CrashBackoff {
        let pause = Duration::from_secs(self.pause_s.into());
        CrashBackoff::restore(Some((pause, moment(self.at_ms))))
    }
}

impl Machine {
    /// The record as it should be on flash.
    pub fn record(&self, boot: Boot) -> Record {
        let names = self.pod.containers.iter().map(|container| container.name.clone());
        let slots = names.zip(&self.slots).map(|(name, slot)| slot_record(name, slot));
        let mut extensions = self.stale_kept();
        self.keep_ends(&mut extensions);
        Record {
            namespace: self.pod.name.namespace.clone(),
            name: self.pod.name.name.clone(),
            boot,
            accepted_ms: self.accepted.0,
            begun: self.begun || self.begins,
            peak: self.peak,
            evicted: self.storage.evicted.clone(),
            verdict: self.verdict.as_ref().map(|verdict| {
                let cause = verdict.cause.as_ref();
                (verdict.phase, cause.map(|(reason, text)| (reason.to_string(), text.to_string())))
            }),
            slots: slots.collect(),
            volume_images: self
                .volume_images
                .iter()
                .map(|volume| volume.image.map(|image| *image.as_bytes()))
                .collect(),
            extensions,
        }
    }

    /// The mark of the state that flash does not have, where there is one and it may be tried.
    pub fn unsaved(&self, now: Moment) -> Option<u32> {
        let due = self.marks.retry.is_none_or(|retry| retry <= now);
        // What goes needs no record: its tombstone is on flash.
        let going = matches!(self.stage, Stage::Removing { .. } | Stage::Gone);
        (self.marks.changed != self.marks.saved && due && !going).then_some(self.marks.changed)
    }

    /// Flash has what it should have, or does not take it: what is in the kernel may be all that tells.
    pub fn is_recorded(&self) -> bool {
        self.marks.changed == self.marks.saved || self.marks.retry.is_some()
    }

    pub(super) fn saved(&mut self, mark: u32, notes: &mut Vec<Note>) {
        self.marks.saved = mark;
        self.marks.retry = None;
        if mark == self.marks.changed {
            self.told = self.peak;
            self.unsure = false;
            self.begun_saved = self.begun || self.begins;
            self.tell_eviction(notes);
        }
    }

    /// A card that takes nothing must not hide that a pod runs; that it ended must wait, since
    /// without a record it would run again.
    pub(super) fn save_failed(&mut self, now: Moment) {
        self.marks.retry = Some(now.after(KILL_RETRY));
        self.unsure = false;
        if !self.peak.is_terminal() {
            self.told = self.peak;
        }
    }
}

fn slot_record(name: String, slot: &Slot) -> SlotRecord {
    let ended = match &slot.run {
        Run::Starting { before, .. } => before.as_ref(),
        _ => slot.ended(),
    };
    SlotRecord {
        name,
        attempts: slot.attempts,
        image: slot.ran_image.map(|image| *image.as_bytes()),
        rollback: slot.rollback.map(|image| *image.as_bytes()),
        ended: ended.map(EndedRecord::new),
        last: slot.last.as_ref().map(EndedRecord::new),
        crash: slot.crash.save().map(|(pause, at)| BackoffRecord {
            pause_s: u32::try_from(pause.as_secs()).unwrap_or(u32::MAX),
            at_ms: at.0,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node's records outlive its agent: one that is read otherwise is lost, or worse.
    #[test]
    fn the_form_on_flash_is_frozen() {
        let ended = EndedRecord {
            code: 137,
            reason: 1,
            message: "why".into(),
            started_ms: -5,
            finished_ms: 300,
        };
        let slot = SlotRecord {
            name: "web".into(),
            attempts: 3,
            image: Some([1; 32]),
            rollback: None,
            ended: Some(ended.clone()),
            last: None,
            crash: Some(BackoffRecord { pause_s: 20, at_ms: 9 }),
        };
        let record = Record {
            namespace: Namespace::new("default").unwrap(),
            name: ObjectName::new("web").unwrap(),
            boot: Boot { id: [2; 16], epoch_ms: 1000 },
            accepted_ms: 4,
            begun: true,
            peak: Phase::Running,
            evicted: None,
            verdict: Some((Phase::Failed, Some(("Evicted".into(), "x".into())))),
            slots: vec![slot],
            volume_images: vec![None],
            extensions: Extensions::default(),
        };
        let bytes = postcard::to_allocvec(&record).unwrap();
        assert_eq!(bytes, FROZEN);
        assert_eq!(postcard::from_bytes::<Record>(&bytes), Ok(record));
    }

    const FROZEN: &[u8] =
        b"\x07default\x03web\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\
        \x02\x02\xd0\x0f\x08\x01\x01\x00\x01\x03\x01\x07Evicted\x01x\x01\x03web\x03\
        \x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
        \x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x01\x92\x02\x01\
        \x03why\x09\xd8\x04\x00\x01\x14\x12\x01\x00\x00";
}
