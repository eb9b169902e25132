//! Images that may be older than what their names mean: the registry was to be asked and could not be.
//!
//! It is told for as long as something of the pod is made from one, also by the next agent: what runs
//! does not become newer when an agent ends. A pull that finds the image current, or brings another,
//! ends it.

use mote_protocol::extension::Extensions;
use mote_protocol::status::Message;
use serde::{Deserialize, Serialize};

use super::Machine;
use crate::image::Source;

/// The extension of the record on flash that keeps them. Only a pod that has some pays for it.
const STALE: &str = "stale-images";

/// As it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// Containers by name, each with why the registry could not be asked.
    containers: Vec<(String, Message)>,
    /// The same of volumes, in the order of those that have images.
    volumes: Vec<Option<Message>>,
}

/// Why the registry could not be asked, where it was to be.
pub(super) fn reason(source: &Source) -> Option<Message> {
    match source {
        Source::FallbackStale { reason } => Some(Message::new(reason)),
        Source::Present | Source::Pulled { .. } => None,
    }
}

impl Machine {
    /// Each image that may be stale, whose it is, and why, for a person.
    pub fn stale_images(&self) -> Vec<String> {
        let containers = self.containers().filter_map(|(_, container, slot)| {
            let (name, image) = (&container.name, &container.image);
            let why = slot.stale.as_ref()?;
            Some(format!("image \"{image}\" of container {name}: {why}"))
        });
        let volumes = self.volume_images.iter().filter_map(|volume| {
            let (image, why) = (&volume.reference, volume.stale.as_ref()?);
            Some(format!("image \"{image}\" of a volume: {why}"))
        });
        containers.chain(volumes).collect()
    }

    /// What the next agent must know of it.
    pub(super) fn stale_kept(&self) -> Extensions {
        let of_container =
            |(name, why): (&String, Option<&Message>)| Some((name.clone(), why?.clone()));
        let names = self.pod.containers.iter().map(|container| &container.name);
        let pairs = names.zip(self.slots.iter().map(|slot| slot.stale.as_ref()));
        let kept = Kept {
            containers: pairs.filter_map(of_container).collect(),
            volumes: self.volume_images.iter().map(|volume| volume.stale.clone()).collect(),
        };
        if kept.containers.is_empty() && kept.volumes.iter().all(Option::is_none) {
            return Extensions::default();
        }
        let mut extensions = Extensions::default();
        extensions.write(STALE, Some(&kept));
        extensions
    }

    /// Takes it as an earlier agent knew it; of volumes only where they are those of then.
    pub(super) fn restore_stale(&mut self, kept: &Extensions, volumes: bool) {
        let Some(kept) = kept.read::<Kept>(STALE) else { return };
        for (name, why) in kept.containers {
            if let Some(slot) = self.place(&name).and_then(|place| self.slots.get_mut(place)) {
                slot.stale = Some(why);
            }
        }
        let volumes = kept.volumes.into_iter().filter(|_| volumes);
        for (volume, why) in self.volume_images.iter_mut().zip(volumes) {
            volume.stale = why;
        }
    }
}
