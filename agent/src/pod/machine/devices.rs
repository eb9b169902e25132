//! Devices that a container was started with: whether they are still there.
//!
//! A container keeps the node that it was given. Its device may be pulled and come back, and then the
//! kernel may call it by another number: the node leads nowhere until the container is started again.
//! Nobody ends it for that, as no kubelet does; it is told.

use std::collections::BTreeMap;

use super::{Machine, Note, Slot};
use crate::device::Device;

/// A device of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The name of its resource.
    pub resource: String,
    /// Its number when the container was given it. Where an earlier agent gave it, the first that is
    /// seen since then is taken for it; unset until there is one.
    pub number: Option<u64>,
    /// Whether it can be used.
    pub health: Health,
}

/// Whether a device that a container has can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is there.
    Healthy,
    /// It is not.
    Gone,
    /// It is there under another number than the container knows.
    Replaced,
}

impl Given {
    /// What it is, now that these devices are there.
    fn now(&mut self, there: &BTreeMap<String, Device>) -> Health {
        let Some(device) = there.get(&self.resource) else { return Health::Gone };
        let given = *self.number.get_or_insert(device.number);
        if device.number == given { Health::Healthy } else { Health::Replaced }
    }

    /// What people hear of a change.
    fn note(&self, place: usize, container: &str) -> Note {
        let resource = &self.resource;
        match self.health {
            Health::Gone => Note::warning(
                place,
                "DeviceUnplugged",
                format!("device {resource} of container {container} is not there any more"),
            ),
            Health::Healthy => Note::normal(
                place,
                "DevicePluggedIn",
                format!("device {resource} of container {container} is there again"),
            ),
            Health::Replaced => Note::warning(
                place,
                "DeviceReplaced",
                format!(
                    "device {resource} is there under another number than container {container} \
                     knows, which must be restarted to use it"
                ),
            ),
        }
    }
}

impl Slot {
    /// Devices of its attempt that runs, as far as they are known.
    pub fn devices(&self) -> &[Given] {
        if self.is_running() { &self.given } else { &[] }
    }
}

impl Machine {
    /// The next attempt of a container is given these.
    pub(super) fn devices_given(&mut self, place: usize, devices: Vec<(String, u64)>) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        let given =
            |(resource, number)| Given { resource, number: Some(number), health: Health::Healthy };
        slot.given = devices.into_iter().map(given).collect();
    }

    /// These devices are there.
    pub(super) fn devices_seen(&mut self, there: &BTreeMap<String, Device>, notes: &mut Vec<Note>) {
        let containers = self.pod.containers.iter().zip(&mut self.slots).enumerate();
        for (place, (container, slot)) in containers {
            // What an earlier agent gave is known by its name.
            if slot.given.is_empty() && slot.is_running() {
                let given = |resource: &String| Given {
                    resource: resource.clone(),
                    number: None,
                    health: Health::Healthy,
                };
                slot.given = container.devices.iter().map(given).collect();
            }
            let runs = slot.is_live();
            for given in slot.given.iter_mut().filter(|_| runs) {
                let health = given.now(there);
                if std::mem::replace(&mut given.health, health) != health {
                    notes.push(given.note(place, &container.name));
                }
            }
        }
    }
}
