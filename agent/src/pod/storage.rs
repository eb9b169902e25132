//! What a pod may keep on the node's disk, and whether it keeps more: the kubelet's local storage
//! eviction (`localStorageEviction` of `pkg/kubelet/eviction`), in its words.
//!
//! A container keeps what it writes beside its image, and its logs. A pod keeps what its containers
//! that run do, and its `emptyDir`s on disk. Files of `ConfigMap`s are in memory here, and bounded.

use std::time::Duration;

use mote_protocol::pod::{PodSpec, VolumeSource};
use mote_protocol::quantity::format_units;

use super::room::{PREEMPTED, PREEMPTING};
use super::spec::Pod;
use super::{qos, resources};
use crate::eviction::LOW_ON_RESOURCE;
use crate::tree::walk::{DEEPEST, MOST_NAMES};
use crate::tree::{Counted, Measured};

/// `status.reason` of a pod that kept more than it may.
pub const EVICTED: &str = "Evicted";

/// Whether a pod ended for others of the node, and not for what it did itself.
pub fn is_for_others(why: &str) -> bool {
    why == PREEMPTED || why.starts_with(LOW_ON_RESOURCE)
}

/// `status.reason` of a pod that the node ended for others, by what it says of it.
pub fn reason_of(why: &str) -> &'static str {
    if why == PREEMPTED { PREEMPTING } else { EVICTED }
}

/// The limits of a pod. Most have none, and are never looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageLimits {
    /// Of all its containers together, where one has a limit; in bytes, as all.
    pod: Option<u64>,
    /// Of app containers, by their place in the pod.
    containers: Vec<(usize, u64)>,
    /// Of volumes (`emptyDir.sizeLimit`), by their place in the pod.
    volumes: Vec<(usize, u64)>,
}

/// What of a pod must be measured, by places in the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToMeasure {
    /// Containers.
    pub containers: Vec<usize>,
    /// Volumes.
    pub volumes: Vec<usize>,
    /// How many of its containers have ended before.
    pub mark: u32,
}

/// What a pod was found to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageUse {
    /// Its containers that run, by their place in the pod.
    pub containers: Vec<(usize, Measured)>,
    /// Its `emptyDir`s, by their place in the pod.
    pub volumes: Vec<(usize, Measured)>,
    /// That of [`ToMeasure`].
    pub mark: u32,
}

impl StorageUse {
    fn all(&self) -> impl Iterator<Item = &Measured> {
        self.containers.iter().chain(&self.volumes).map(|(_, measured)| measured)
    }

    /// All of it together, in bytes.
    pub fn total(&self) -> u64 {
        self.all().fold(0, |sum, measured| sum.saturating_add(measured.bytes))
    }

    /// Everything was counted.
    pub fn is_whole(&self) -> bool {
        self.all().all(|measured| measured.counted == Counted::Whole)
    }

    /// How long it took to find out.
    pub fn took(&self) -> Duration {
        self.all().fold(Duration::ZERO, |sum, measured| sum.saturating_add(measured.took))
    }
}

/// The limits of a pod; none where it has none, or is never evicted.
pub(super) fn limits(spec: &PodSpec) -> Option<Box<StorageLimits>> {
    if qos::priority(spec) >= qos::CRITICAL {
        return None;
    }
    let first_app = spec.init_containers.len();
    // 0 is no limit of one container or volume, but one of the pod.
    let limited = |(place, limit): (usize, Option<u64>)| Some((place, limit.filter(|l| *l > 0)?));
    let containers = spec.containers.iter().map(|container| container.limits.ephemeral_bytes);
    let volumes = spec.volumes.iter().map(|volume| match volume.source {
        VolumeSource::EmptyDir { memory: false, size_limit } => size_limit,
        _ => None,
    });
    let limits = StorageLimits {
        pod: resources::storage_limit(spec),
        containers: (first_app..).zip(containers).filter_map(limited).collect(),
        volumes: volumes.enumerate().filter_map(limited).collect(),
    };
    (limits != StorageLimits::default()).then(|| Box::new(limits))
}

impl StorageLimits {
    /// All of the pod is measured.
    pub const fn is_of_all(&self) -> bool {
        self.pod.is_some()
    }

    /// What must be measured of a pod in which these containers run, where there is anything.
    pub fn to_measure(
        &self,
        pod: &Pod,
        running: impl Iterator<Item = usize>,
        mark: u32,
    ) -> Option<ToMeasure> {
        let has = |list: &[(usize, u64)], place| list.iter().any(|(at, _)| *at == place);
        let on_disk = |place: &usize| {
            let source = pod.volumes.get(*place).map(|volume| &volume.source);
            matches!(source, Some(VolumeSource::EmptyDir { memory: false, .. }))
        };
        let all = self.pod.is_some();
        let volumes = (0..pod.volumes.len()).filter(on_disk);
        let volumes: Vec<_> = volumes.filter(|place| all || has(&self.volumes, *place)).collect();
        let containers = running.filter(|place| all || has(&self.containers, *place));
        let containers: Vec<_> = containers.collect();
        let any = !containers.is_empty() || !volumes.is_empty();
        any.then_some(ToMeasure { containers, volumes, mark })
    }

    /// Why a pod that keeps so much is evicted, where it is.
    pub fn exceeded(&self, pod: &Pod, kept: &StorageUse) -> Option<String> {
        let beyond = |limits: &[(usize, u64)], kept: &[(usize, Measured)]| {
            let measured = |place| kept.iter().find(|(at, _)| *at == place).map(|(_, m)| m.bytes);
            let mut limits = limits.iter().copied();
            limits.find(|(place, limit)| measured(*place).is_some_and(|bytes| bytes > *limit))
        };
        if let Some((place, limit)) = beyond(&self.volumes, &kept.volumes) {
            let (name, limit) = (&pod.volumes.get(place)?.name, format_units(limit));
            return Some(format!(
                "Usage of EmptyDir volume \"{name}\" exceeds the limit \"{limit}\". "
            ));
        }
        if let Some(limit) = self.pod.filter(|limit| kept.total() > *limit) {
            let limit = format_units(limit);
            return Some(format!(
                "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
            ));
        }
        if let Some((place, limit)) = beyond(&self.containers, &kept.containers) {
            let (name, limit) = (&pod.containers.get(place)?.name, format_units(limit));
            return Some(format!(
                "Container {name} exceeded its local ephemeral storage limit \"{limit}\". "
            ));
        }
        endless(pod, kept)
    }
}

/// Why a pod is evicted whose files nobody counts to their end: else that would be the way around
/// every limit. Only what has a limit is looked at.
fn endless(pod: &Pod, kept: &StorageUse) -> Option<String> {
    let first = |kept: &[(usize, Measured)]| {
        let endless = kept.iter().find(|(_, measured)| measured.counted == Counted::Endless);
        endless.map(|(place, _)| *place)
    };
    let volume = first(&kept.volumes).and_then(|place| pod.volumes.get(place));
    let container = || first(&kept.containers).and_then(|place| pod.containers.get(place));
    let whose = match volume {
        Some(volume) => format!("EmptyDir volume \"{}\"", volume.name),
        None => format!("container {}", container()?.name),
    };
    Some(format!(
        "Files of {whose} cannot be counted: they have more than {MOST_NAMES} names, or are in more \
         than {DEEPEST} directories below each other. "
    ))
}

#[cfg(test)]
mod tests;
