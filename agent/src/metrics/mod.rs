//! Prometheus' text of what is used, over a socket of this machine: off unless `[metrics]` says where.
//!
//! One request and one answer for each connection, a few at a time, each with a bound on its length and
//! its time. Nothing is kept between scrapes: the counters are the kernel's, and the rates Prometheus'.
//! Names are those of a kubelet's `/metrics/resource`, cAdvisor, `node_exporter` and kube-state-metrics where
//! they have one.

mod http;
pub mod listen;
pub mod server;
mod text;

use std::collections::BTreeMap;

use mote_protocol::name::{Namespace, NodeName, ObjectName};
use mote_protocol::node::NodeCondition;
use mote_protocol::status::Phase;

use crate::usage::Sample;

pub use listen::{Listen, MetricsConfig};

/// Everything that a scrape tells.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// This node.
    pub node: NodeName,
    /// The counters.
    pub sample: Sample,
    /// Memory of the machine in bytes.
    pub memory_bytes: u64,
    /// The state directory, whose disk counts.
    pub state_dir: String,
    /// Conditions of the node and whether they hold.
    pub conditions: Vec<(NodeCondition, bool)>,
    /// What is told of the pods.
    pub pods: BTreeMap<(Namespace, ObjectName), PodState>,
    /// There is a connection to the broker.
    pub connected: bool,
    /// What was handed to connections since the agent started.
    pub published: Published,
}

/// What is told of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    /// Its phase.
    pub phase: Phase,
    /// How often each of its containers was started again.
    pub restarts: Vec<(String, u32)>,
}

/// What was handed to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Messages.
    pub messages: u64,
    /// Bytes of their topics and payloads.
    pub bytes: u64,
}
