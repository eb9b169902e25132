//! What a node and its pods use: the Metrics API's words (`NodeMetrics`, `PodMetrics`) in few bytes.
//!
//! [`Usage`] tells of the node; what it tells of pods, and of the window that rates are about, is an
//! extension of it. The same body is a report that the node publishes by itself and the answer to a
//! command.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::name::{ContainerName, Namespace, ObjectName};
use crate::node::Usage;

/// The extension of [`Usage`] that holds [`Metrics`].
const METRICS: &str = "metrics";

/// How what nobody knows is shown.
pub const UNKNOWN: &str = "<unknown>";

/// Rates over a window, and pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// How long the window is that CPU was measured over, in milliseconds; it ends at [`Usage::at`].
    pub window_ms: u32,
    /// CPU of the whole node, in thousandths of a core.
    pub cpu_milli: Option<u32>,
    /// Pods that run here, in the order of namespace and name.
    pub pods: Vec<PodMetrics>,
    /// Pods that had no room in this message.
    pub omitted: u32,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodMetrics {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// All of its processes together.
    pub used: Used,
    /// What it keeps on the node's disk, in KiB; only where a limit has all of it measured anyway.
    pub storage_kib: Option<u64>,
    /// Through its own interface, since that was made; none where it has none.
    pub network: Option<Traffic>,
    /// Containers that run; only where they were asked for.
    pub containers: Vec<ContainerMetrics>,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMetrics {
    /// Its name.
    pub name: ContainerName,
    /// What it uses.
    pub used: Used,
}

/// What processes use, as far as the kernel counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// CPU over the window in thousandths of a core, rounded up as quantities of Kubernetes are.
    pub cpu_milli: Option<u32>,
    /// Working set (cAdvisor's: usage without inactive pages of files), in KiB.
    pub memory_kib: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// Bytes through an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// That came to the pod.
    pub received: u64,
    /// That it sent.
    pub sent: u64,
}

impl Usage {
    /// Adds what is told of pods.
    pub fn set_metrics(&mut self, metrics: &Metrics) {
        // Writing to a vector does not fail.
        self.extensions.set(METRICS, postcard::to_allocvec(metrics).ok());
    }

    /// What is told of pods; none where nothing is, or nothing that can be read.
    pub fn metrics(&self) -> Option<Metrics> {
        postcard::from_bytes(self.extensions.get(METRICS)?).ok()
    }
}

/// Thousandths of a core as kubectl shows them: `250m`; [`UNKNOWN`] where nobody knows.
pub fn cores(milli: Option<u32>) -> String {
    milli.map_or_else(|| UNKNOWN.to_owned(), |milli| format!("{milli}m"))
}

/// KiB as kubectl shows them, in whole MiB and rounded down: `64Mi`; [`UNKNOWN`] where nobody knows.
pub fn mebibytes(kib: Option<u64>) -> String {
    kib.map_or_else(|| UNKNOWN.to_owned(), |kib| format!("{}Mi", kib / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_kubectl_does() {
        assert_eq!([cores(Some(0)), cores(Some(2500)), cores(None)], ["0m", "2500m", UNKNOWN]);
        let shown = [mebibytes(Some(1023)), mebibytes(Some(1024)), mebibytes(None)];
        assert_eq!(shown, ["0Mi", "1Mi", UNKNOWN]);
    }

    #[test]
    fn metrics_travel_in_the_report_and_spoiled_ones_are_none() {
        let pod = PodMetrics {
            namespace: Namespace::new("default").expect("a name"),
            name: ObjectName::new("web").expect("a name"),
            used: Used { cpu_milli: Some(7), memory_kib: None, pids: Some(3) },
            storage_kib: None,
            network: Some(Traffic { received: 1, sent: 2 }),
            containers: Vec::new(),
        };
        let metrics =
            Metrics { window_ms: 1000, cpu_milli: Some(90), pods: [pod].into(), omitted: 0 };
        let mut usage = Usage { at: 5, ..Usage::default() };
        assert_eq!(usage.metrics(), None);
        usage.set_metrics(&metrics);
        assert_eq!(usage.metrics(), Some(metrics));
        usage.extensions.set(METRICS, Some(alloc::vec![0xff; 4]));
        assert_eq!(usage.metrics(), None);
    }
}
