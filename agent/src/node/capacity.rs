//! What the node has, and what pods can have of it. PURE.

use std::collections::BTreeMap;

use mote_protocol::limits::MAX_DEVICES;
use mote_protocol::node::{Devices, Resources};
use mote_protocol::text::Short;

use crate::config::NodeLimits;
use crate::device::Device;
use crate::eviction::{Settings, Signal};

/// What a machine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// CPUs.
    pub cpus: u32,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Disk under the state directory in KiB.
    pub disk_kib: u64,
}

/// `status.capacity`.
pub fn capacity(totals: &Totals, limits: &NodeLimits) -> Resources {
    Resources {
        cpu_milli: totals.cpus.saturating_mul(1000),
        memory_kib: totals.memory_kib,
        ephemeral_kib: totals.disk_kib,
        pods: limits.pods,
        ..Resources::default()
    }
}

/// `status.allocatable`: without what is kept for the system, and without what must stay free for
/// the node not to be under pressure.
pub fn allocatable(totals: &Totals, limits: &NodeLimits, eviction: &Settings) -> Resources {
    let free =
        |signal, kib: u64| eviction.kept_free(signal, kib.saturating_mul(1024)).div_ceil(1024);
    let kept = limits.reserved_memory_mib.saturating_mul(1024);
    let kept = kept.saturating_add(free(Signal::MemoryAvailable, totals.memory_kib));
    let all = capacity(totals, limits);
    Resources {
        cpu_milli: all.cpu_milli.saturating_sub(limits.reserved_cpu_milli),
        memory_kib: all.memory_kib.saturating_sub(kept),
        ephemeral_kib: all
            .ephemeral_kib
            .saturating_sub(free(Signal::NodefsAvailable, totals.disk_kib)),
        ..all
    }
}

/// The devices of a node, each with how many containers can have it; as many as a status has room
/// for.
pub fn devices(found: &BTreeMap<String, Device>) -> Devices {
    let amount = |(name, device): (&String, &Device)| (Short::new(name), device.share);
    found.iter().map(amount).take(MAX_DEVICES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_what_the_system_does_not_need() {
        let totals = Totals { cpus: 4, memory_kib: 512 * 1024, disk_kib: 1000 };
        let limits = NodeLimits {
            pods: 32,
            reserved_cpu_milli: 100,
            reserved_memory_mib: 32,
            pod_pids: None,
        };
        let found = allocatable(&totals, &limits, &Settings::default());
        assert_eq!(found.cpu_milli, 3900);
        // 512 MiB without 32 that are reserved and the tenth that stays free.
        assert_eq!(found.memory_kib, (512 - 32) * 1024 - (512 * 1024_u64).div_ceil(10));
        assert_eq!((found.ephemeral_kib, found.pods), (900, 32));
        assert_eq!(capacity(&totals, &limits).memory_kib, 512 * 1024);
    }

    #[test]
    fn a_reserve_greater_than_the_machine_leaves_nothing() {
        let totals = Totals { cpus: 1, memory_kib: 64 * 1024, disk_kib: 0 };
        let limits = NodeLimits {
            pods: 1,
            reserved_cpu_milli: 2000,
            reserved_memory_mib: 4096,
            pod_pids: None,
        };
        let found = allocatable(&totals, &limits, &Settings::default());
        assert_eq!((found.cpu_milli, found.memory_kib), (0, 0));
    }
}
