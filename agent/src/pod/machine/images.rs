//! What becomes of images that containers wait for.

use std::collections::BTreeSet;

use mote_registry::reference::Reference;

use super::{Hold, Machine, Note, Sandbox, stale};
use crate::image::{ImageError, ImageId, Source};
use crate::pod::Moment;

/// Reasons of those who wait for an image that they could not get.
const WAITS_FOR_IMAGE: [&str; 3] = ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"];

impl Machine {
    pub(super) fn pulled(
        &mut self,
        place: usize,
        reference: &str,
        image: ImageId,
        source: &Source,
        notes: &mut Vec<Note>,
    ) {
        if place >= self.slots.len() {
            return self.volume_image_came(place, reference, image, source, notes);
        }
        if !self.is_current(place, reference) {
            return;
        }
        let Some(slot) = self.slots.get_mut(place) else { return };
        slot.image = Some(image);
        slot.hold = None;
        let stale = stale::reason(source);
        let changed = slot.stale != stale;
        slot.stale = stale;
        if changed {
            self.touch();
        }
        let present = format!("Container image \"{reference}\" already present on machine");
        notes.push(match source {
            Source::Present => Note::normal(place, "Pulled", present),
            Source::Pulled { size, duration, .. } => {
                let took = duration.as_secs_f32();
                let message = format!(
                    "Successfully pulled image \"{reference}\" in {took:.1}s. Image size: {size} bytes."
                );
                Note::normal(place, "Pulled", message)
            }
            Source::FallbackStale { reason } => used_as_it_is(place, &present, reason),
        });
    }

    /// The image of a volume is here.
    fn volume_image_came(
        &mut self,
        place: usize,
        reference: &str,
        image: ImageId,
        source: &Source,
        notes: &mut Vec<Note>,
    ) {
        // Beside containers that have it mounted no registry is asked: what is there is no newer for it.
        let unasked = self.sandbox == Sandbox::Ready && *source == Source::Present;
        let Some(volume) = self.volume_image(place) else { return };
        let stale = if unasked { volume.stale.clone() } else { stale::reason(source) };
        let known = volume.image == Some(image) && volume.stale == stale;
        (volume.image, volume.stale, volume.until) = (Some(image), stale, None);
        volume.trouble.clear();
        if !known {
            self.touch();
        }
        let present = format!("Image \"{reference}\" of a volume is present on machine");
        notes.push(match source {
            Source::FallbackStale { reason } => used_as_it_is(None, &present, reason),
            Source::Present | Source::Pulled { .. } => Note::normal(None, "Pulled", present),
        });
    }

    pub(super) fn pull_failed(
        &mut self,
        place: usize,
        reference: &str,
        error: &ImageError,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        if place >= self.slots.len() {
            return self.volume_image_failed(place, error, now, notes);
        }
        if !self.is_current(place, reference) {
            return;
        }
        let Some(slot) = self.slots.get_mut(place) else { return };
        if error.made_progress() {
            // A bad line that brings an image bit by bit is not to be left alone ever longer.
            slot.trouble.clear();
        }
        let (until, _) = slot.trouble.failed(now);
        let first = !slot.trouble.failed_again();
        let (reason, message) = match error.reason() {
            "ErrImagePull" if first => ("ErrImagePull", error.message()),
            "ErrImagePull" => {
                let cause = error.message();
                let text = format!("Back-off pulling image \"{reference}\": ErrImagePull: {cause}");
                ("ImagePullBackOff", text)
            }
            "ErrImageNeverPull" => {
                let text = format!(
                    "Container image \"{reference}\" is not present with pull policy of Never"
                );
                ("ErrImageNeverPull", text)
            }
            other => (other, error.message()),
        };
        if reason == "ErrImageNeverPull" {
            notes.push(Note::warning(place, "ErrImageNeverPull", message.clone()));
        } else {
            let text = format!("Failed to pull image \"{reference}\": {}", error.message());
            notes.push(Note::warning(place, "Failed", text));
        }
        notes.push(Note::warning(place, "Failed", format!("Error: {reason}")));
        if error.reason() == "ErrImagePull" {
            let text = format!("Back-off pulling image \"{reference}\"");
            notes.push(Note::normal(place, "BackOff", text));
        }
        slot.hold = Some(Hold { reason, message, until });
    }

    /// Tries again at once what waits for one of these, by full reference.
    pub(super) fn images_came(&mut self, names: &BTreeSet<String>, now: Moment) {
        for (container, slot) in self.pod.containers.iter().zip(&mut self.slots) {
            let came = container.image.parse::<Reference>();
            let came = came.is_ok_and(|reference| names.contains(&reference.to_string()));
            let waits = |hold: &&mut Hold| WAITS_FOR_IMAGE.contains(&hold.reason);
            if let Some(hold) = slot.hold.as_mut().filter(waits)
                && came
            {
                hold.until = now;
            }
        }
        for volume in &mut self.volume_images {
            let full = volume.reference.parse::<Reference>();
            if full.is_ok_and(|reference| names.contains(&reference.to_string())) {
                volume.until = None;
            }
        }
    }

    /// Credentials that somebody brought may open what was closed.
    pub(super) fn pulls_again(&mut self, now: Moment) {
        let waits = |hold: &&mut Hold| WAITS_FOR_IMAGE.contains(&hold.reason);
        let holds = self.slots.iter_mut().filter_map(|slot| slot.hold.as_mut());
        holds.filter(waits).for_each(|hold| hold.until = hold.until.min(now));
        self.volume_images.iter_mut().for_each(|image| image.until = None);
    }

    fn is_current(&self, place: usize, reference: &str) -> bool {
        self.pod.containers.get(place).is_some_and(|container| container.image == reference)
    }
}

/// A kubelet would not start it.
fn used_as_it_is(place: impl Into<Option<usize>>, present: &str, reason: &str) -> Note {
    let text =
        format!("{present} and used as it is, since the registry could not be asked: {reason}");
    Note::warning(place, "ImageMayBeStale", text)
}
