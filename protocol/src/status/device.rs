//! Devices that went away while a container has them (`allocatedResourcesStatus` of Kubernetes).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::PodStatus;
use crate::limits::{MAX_LABEL, MAX_RESOURCE, MAX_UNHEALTHY};
use crate::text::Short;

/// The extension of [`PodStatus`] that lists them. Only a pod that lost one pays for it; who does not
/// know it sees a pod whose devices are well.
const DEVICES: &str = "devices";

/// A device that a container was started with and that it cannot use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnhealthyDevice {
    /// The container.
    pub container: Short<MAX_LABEL>,
    /// The name of its resource.
    pub resource: Short<MAX_RESOURCE>,
    /// It is there again, under another number: the container has the node of the old one, and must
    /// be started anew.
    pub replaced: bool,
}

impl PodStatus {
    /// Lists devices that are not well, as many as there is room for.
    pub fn set_unhealthy_devices(&mut self, devices: impl IntoIterator<Item = UnhealthyDevice>) {
        let devices: Vec<_> = devices.into_iter().take(MAX_UNHEALTHY).collect();
        // Neither strings nor flags can fail to encode.
        let value = || postcard::to_allocvec(&devices).unwrap_or_default();
        self.extensions.set(DEVICES, (!devices.is_empty()).then(value));
    }

    /// Devices that are not well. What cannot be read, or is more than any node says, is none.
    pub fn unhealthy_devices(&self) -> Vec<UnhealthyDevice> {
        type Bounded = heapless::Vec<UnhealthyDevice, MAX_UNHEALTHY>;
        let value = self.extensions.get(DEVICES);
        let devices = value.and_then(|value| postcard::from_bytes::<Bounded>(value).ok());
        devices.unwrap_or_default().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extension::Extension;

    fn device(number: usize) -> UnhealthyDevice {
        let resource = Short::new(&alloc::format!("mote.io/ttyUSB{number}"));
        UnhealthyDevice { container: Short::new("main"), resource, replaced: number == 1 }
    }

    #[test]
    fn what_is_listed_is_read_and_what_is_well_costs_nothing() {
        let mut status = PodStatus::default();
        status.set_unhealthy_devices([]);
        assert_eq!(status, PodStatus::default());
        status.set_unhealthy_devices((0..2).map(device));
        assert_eq!(status.unhealthy_devices(), [device(0), device(1)]);
        status.set_unhealthy_devices((0..99).map(device));
        assert_eq!(status.unhealthy_devices().len(), MAX_UNHEALTHY);
        assert_eq!(status.extensions.0.len(), 1);
    }

    #[test]
    fn what_nobody_would_say_is_none() {
        let mut status = PodStatus::default();
        for value in [&[0xff; 9][..], &[1, 200], &[]] {
            let extension =
                Extension { name: DEVICES.into(), critical: false, value: value.to_vec() };
            status.extensions.0 = alloc::vec![extension];
            assert_eq!(status.unhealthy_devices(), []);
        }
    }
}
