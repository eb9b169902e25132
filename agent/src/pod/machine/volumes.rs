//! The volumes of a pod: whether they show what they are made from.

use mote_protocol::pod::{Volume, VolumeSource};
use mote_protocol::status::Message;

use super::{Machine, Note, SANDBOX_RETRY, Sandbox, Stage};
use crate::image::{ImageError, ImageId, PullPolicy};
use crate::pod::backoff::TroubleBackoff;
use crate::pod::{Moment, Pod, contents, validate};

/// Reason of those who wait for something that a variable is made from, or for a device.
pub(super) const WAITS_FOR_CONTENTS: &str = "CreateContainerConfigError";

/// Why a volume is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFailure {
    /// Its name.
    pub volume: String,
    /// Why, for a person.
    pub cause: String,
    /// It may be otherwise in a while; else only when an object changes that it is made from.
    pub passing: bool,
}

/// The image of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeImage {
    /// As the spec writes it.
    pub reference: String,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// Which it is, once it is here.
    pub image: Option<ImageId>,
    /// Why nobody knows whether it is what its name means now, as [`super::Slot::stale`] has it.
    pub stale: Option<Message>,
    /// When to try again to get it.
    pub until: Option<Moment>,
    /// Pauses between failures to get it.
    pub(super) trouble: TroubleBackoff,
}

/// The images that the volumes of a pod are made of.
pub(super) fn images(pod: &Pod) -> Vec<VolumeImage> {
    let image = |volume: &Volume| match &volume.source {
        VolumeSource::Image { reference, pull_policy } => Some(VolumeImage {
            reference: reference.clone(),
            policy: validate::pull_policy(reference, *pull_policy),
            image: None,
            stale: None,
            until: None,
            trouble: TroubleBackoff::default(),
        }),
        _ => None,
    };
    pod.volumes.iter().filter_map(image).collect()
}

/// What is known of the files that are made from other objects.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contents {
    /// Counts the changes of what they are made from.
    changed: u32,
    /// The change that a sandbox which is being made will show.
    making: u32,
    /// The change that they show.
    shown: u32,
    /// Counts what may have ended the wait of a container.
    woken: u32,
    /// How far that was when the start that is under way began to look.
    looked: u32,
    /// They cannot be made as long as nothing changes.
    waiting: bool,
    /// When to try again.
    retry: Option<Moment>,
    /// The pod is over and its volumes are removed.
    removed: bool,
}

impl Machine {
    /// Something changed that variables or files are made from.
    pub(super) fn contents_changed(&mut self, now: Moment) {
        self.contents.changed = self.contents.changed.wrapping_add(1);
        self.contents.waiting = false;
        self.contents.retry = None;
        self.wake_waiting(now);
    }

    /// Containers that could not be made from what was there may try again.
    pub(super) fn wake_waiting(&mut self, now: Moment) {
        self.contents.woken = self.contents.woken.wrapping_add(1);
        let waits = self.slots.iter_mut().filter_map(|slot| slot.hold.as_mut());
        for hold in waits.filter(|hold| hold.reason == WAITS_FOR_CONTENTS) {
            hold.until = hold.until.min(now);
        }
    }

    /// A container is being started, with what is there now.
    pub(super) const fn start_looks(&mut self) {
        self.contents.looked = self.contents.woken;
    }

    /// What a start did not find may have come since it looked.
    pub(super) const fn may_have_come(&self) -> bool {
        self.contents.looked != self.contents.woken
    }

    pub(super) const fn contents_begun(&mut self) {
        self.contents.making = self.contents.changed;
    }

    pub(super) const fn contents_made(&mut self) {
        self.contents.shown = self.contents.making;
        self.contents.retry = None;
    }

    /// An earlier agent made them, and may have died before it showed the last change.
    pub(super) const fn contents_adopted(&mut self) {
        self.contents.changed = 1;
    }

    /// There is no sandbox because of a volume.
    pub(super) fn volumes_failed(
        &mut self,
        failure: MountFailure,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        self.sandbox_not_made();
        // What came meanwhile may be what is missing.
        let current = self.contents.making == self.contents.changed;
        if failure.passing {
            self.sandbox_retry = Some(now.after(SANDBOX_RETRY));
        } else {
            self.contents.waiting = current;
        }
        notes.push(failed_mount(failure));
    }

    pub(super) fn volumes_refreshed(
        &mut self,
        mark: u32,
        result: Result<(), MountFailure>,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        if self.contents.changed != mark {
            return;
        }
        match result {
            Ok(()) => self.contents.shown = mark,
            Err(failure) => {
                if failure.passing {
                    self.contents.retry = Some(now.after(SANDBOX_RETRY));
                } else {
                    // They go on showing what they did.
                    self.contents.shown = mark;
                }
                notes.push(failed_mount(failure));
            }
        }
    }

    /// The change that files should show and do not, where they can be made now.
    pub fn outdated_volumes(&self, now: Moment) -> Option<u32> {
        let Contents { changed, shown, retry, .. } = self.contents;
        let due = changed != shown && retry.is_none_or(|retry| retry <= now);
        let runs = self.stage == Stage::Active && self.sandbox == Sandbox::Ready;
        (due && runs && contents::has_files(&self.pod)).then_some(changed)
    }

    /// The images of its volumes, with the place that events about each are told of: those behind
    /// its containers.
    pub fn volume_images(&self) -> impl Iterator<Item = (usize, &VolumeImage)> {
        let first = self.slots.len();
        self.volume_images.iter().enumerate().map(move |(nth, image)| (first + nth, image))
    }

    /// Takes them as an earlier agent found them.
    pub(super) fn restore_volume_images(&mut self, known: &[Option<[u8; 32]>]) {
        for (volume, image) in self.volume_images.iter_mut().zip(known) {
            volume.image = image.map(ImageId::from_bytes);
        }
    }

    /// Those are looked up by their names again: the store lost one, or the sandbox is another, as at
    /// [`Machine::adopt`]. Flash need not know: an agent that takes them as they were finds out.
    pub(super) fn forget_volume_images(&mut self, which: impl Fn(ImageId) -> bool) {
        for volume in &mut self.volume_images {
            volume.image = volume.image.filter(|image| !which(*image));
        }
    }

    /// The image of a volume by that place.
    pub(super) fn volume_image(&mut self, place: usize) -> Option<&mut VolumeImage> {
        self.volume_images.get_mut(place.checked_sub(self.slots.len())?)
    }

    pub(super) fn volume_image_failed(
        &mut self,
        place: usize,
        error: &ImageError,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        let Some(image) = self.volume_image(place) else { return };
        if error.made_progress() {
            image.trouble.clear();
        }
        let (until, _) = image.trouble.failed(now);
        image.until = Some(until);
        let text = format!("Failed to pull image \"{}\": {}", image.reference, error.message());
        notes.push(Note::warning(None, "Failed", text));
    }

    /// Something of its volumes may be there.
    pub fn has_volumes(&self) -> bool {
        !self.contents.removed && !self.pod.volumes.is_empty()
    }

    /// Its sandbox is gone, and `for_good` its volumes too. That is told, not guessed from the
    /// stage: a pod may have ended while its sandbox was stopped for another reason.
    pub(super) const fn volumes_stopped(&mut self, for_good: bool) {
        self.contents.removed = for_good;
    }

    /// The images of its volumes that are known, in the order of the volumes that have some.
    pub fn volume_image_ids(&self) -> Vec<Option<ImageId>> {
        self.volume_images.iter().map(|volume| volume.image).collect()
    }

    /// Its volumes cannot be made before something changes.
    pub const fn waits_for_contents(&self) -> bool {
        self.contents.waiting
    }

    pub(super) const fn contents_retry(&self) -> Option<Moment> {
        self.contents.retry
    }
}

fn failed_mount(failure: MountFailure) -> Note {
    let MountFailure { volume, cause, .. } = failure;
    let message = format!("MountVolume.SetUp failed for volume \"{volume}\" : {cause}");
    Note::warning(None, "FailedMount", message)
}
