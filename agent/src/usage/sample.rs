//! One look at the counters.

use std::collections::BTreeMap;

use mote_protocol::name::{Namespace, ObjectName, Uid};
use mote_protocol::usage::Traffic;

use crate::pod::Moment;
use crate::runtime::{ContainerId, Usage};

/// What the counters of the node and its pods said at one moment. What nobody counts is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Moment,
    /// The node.
    pub node: NodeSample,
    /// The pods that have a sandbox.
    pub pods: BTreeMap<Uid, PodSample>,
}

/// What the whole node uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSample {
    /// Time that its CPUs worked since boot, in microseconds.
    pub cpu_us: Option<u64>,
    /// Working set in bytes: memory that is neither free nor inactive pages of files.
    pub memory: Option<u64>,
    /// Disk in use under the state directory, in bytes.
    pub disk: Option<u64>,
    /// The size of that disk, in bytes.
    pub disk_size: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// What one pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSample {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name.
    pub name: ObjectName,
    /// All of it together.
    pub used: Usage,
    /// What it keeps on disk, in bytes, where that is measured anyway.
    pub storage: Option<u64>,
    /// Through its own interface.
    pub network: Option<Traffic>,
    /// Its containers that run, where they were looked at.
    pub containers: Vec<ContainerSample>,
}

/// What one attempt of a container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSample {
    /// Which.
    pub id: ContainerId,
    /// What it uses.
    pub used: Usage,
}
