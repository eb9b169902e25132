//! What work for a pod must know beside the pod itself: of the node, of other pods, of its own state.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use mote_protocol::name::NodeName;
use mote_protocol::pod::Amounts;
use tokio::sync::watch;

use super::plan;
use crate::device::Pattern;
use crate::image::ImageId;
use crate::pod::contents::NodeFacts;
use crate::pod::contents::names::NodeFilesReader;
use crate::pod::machine::Machine;
use crate::pod::{Moment, Pod};
use crate::runtime::ContainerId;
use crate::services::{Table, variables};
use crate::store::DataReader;

/// Who has which device, by the name of its resource.
pub(super) type Taken = BTreeMap<String, Vec<String>>;

/// What is measured of a pod.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    /// Attempts that run, with the places of their containers.
    pub(super) containers: Vec<(usize, ContainerId)>,
    /// Places of volumes.
    pub(super) volumes: Vec<usize>,
    /// That of what was wanted.
    pub(super) mark: u32,
}

impl Measuring {
    pub(super) fn of(machine: &Machine, now: Moment) -> Self {
        let Some(wanted) = machine.to_measure(now) else { return Self::default() };
        let attempt = |place: usize| {
            let attempt = machine.slots().get(place)?.newest();
            Some((place, plan::container_id(machine, place, attempt)?))
        };
        let containers = wanted.containers.into_iter().filter_map(attempt).collect();
        Self { containers, volumes: wanted.volumes, mark: wanted.mark }
    }
}

/// What an action must know of other pods, and of its own.
pub(super) struct Beside {
    pub(super) taken: Taken,
    pub(super) to_measure: Measuring,
    /// The images of the pod's volumes, in the order of those that have some.
    pub(super) images: Vec<Option<ImageId>>,
    /// What its sandbox has for its own.
    pub(super) addresses: Vec<IpAddr>,
}

/// What pods find around them.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The node's name.
    pub node: NodeName,
    /// Memory of the machine in bytes, for `oom_score_adj`.
    pub memory_bytes: u64,
    /// What pods can have of the node.
    pub allocatable: Amounts,
    /// Looks up the node's addresses, which change.
    pub addresses: fn() -> Vec<IpAddr>,
    /// Reads the node's files about names.
    pub files: NodeFilesReader,
    /// Reads `ConfigMap`s and Secrets.
    pub data: DataReader,
    /// Services of the node, for variables.
    pub services: watch::Receiver<Arc<Table>>,
    /// Device nodes that containers may have.
    pub devices: Rc<[Pattern]>,
}

impl Surroundings {
    /// What a container of a pod is told of services when it starts.
    pub(super) fn service_links(&self, pod: &Pod) -> Vec<(String, String)> {
        let table = self.services.borrow();
        if pod.service_links { variables(&table, &pod.name.namespace) } else { Vec::new() }
    }

    /// What containers may learn of it now; its addresses, which take system calls, only where
    /// somebody asks.
    pub(super) fn facts(&self, addresses: bool) -> NodeFacts {
        let (name, allocatable) = (self.node.to_string(), self.allocatable.clone());
        let addresses = if addresses { (self.addresses)() } else { Vec::new() };
        NodeFacts { name, addresses, allocatable, ..NodeFacts::default() }
    }
}
