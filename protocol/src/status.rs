//! What a node says of one object.
//!
//! Times are signed seconds from the node's boot ([`crate::node::Birth`] says when that was), so
//! that a clock that was wrong when they were written can be right when they are read; a pod's
//! start can lie before the boot.

mod device;
mod wire;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::extension::Extensions;
use crate::frame::{Body, FrameKind};
use crate::limits::{
    MAX_ADDRESSES, MAX_CONTAINERS, MAX_FIELD_PATH, MAX_LABEL, MAX_MESSAGE, MAX_POD_CONDITIONS,
    MAX_REASON, MAX_STATUS, MAX_TERMINATION_MESSAGE,
};
use crate::name::Uid;
use crate::object::Revision;
use crate::rollout::DELAYED;
use crate::text::{Short, Text};

pub use device::UnhealthyDevice;

/// A reason: one CamelCase word.
pub type Reason = Short<MAX_REASON>;

/// A sentence for a person.
pub type Message = Text<MAX_MESSAGE>;

/// Seconds from the node's boot; negative before it.
pub type BootSeconds = i64;

/// An IP address of either family.
pub type IpAddress = core::net::IpAddr;

/// Why the newest revision that a node saw is not the one it works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The revision that was refused.
    pub seen: Revision,
    /// Why, as one word: `Stale`, `Conflict`, `Invalid`, `Unsupported`, `Forbidden`,
    /// `MalformedBody`, `UnknownSchema`, `UnknownExtension`, `RolledBack`, `UpdateDelayed`, ...
    pub reason: Reason,
    /// The field that is to blame, as an operator would write it; empty where it is no field's
    /// fault.
    pub field: Short<MAX_FIELD_PATH>,
    /// What to do about it.
    pub message: Message,
}

impl Refusal {
    /// It is accepted all the same, and waits ([`rollout::delay`](crate::rollout::delay)).
    pub fn is_delay(&self) -> bool {
        &*self.reason == DELAYED
    }
}

/// A pod's place in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Accepted; not all of its containers were started yet.
    #[default]
    Pending,
    /// All containers were started, at least one runs or will again.
    Running,
    /// All containers ended with 0 and none will run again.
    Succeeded,
    /// All containers ended, at least one not with 0, and none will run again.
    Failed,
    /// The node cannot be heard. Never written by a node: shown by operators' tools.
    Unknown,
}

impl Phase {
    /// The phase as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether a pod in this phase never runs again.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The conditions of a pod that a node owns, in the order of [`Conditions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodCondition {
    /// It has a node: always true here.
    PodScheduled,
    /// Its sandbox exists.
    PodReadyToStartContainers,
    /// Its init containers are done.
    Initialized,
    /// All its containers are ready.
    ContainersReady,
    /// It can serve.
    Ready,
}

impl PodCondition {
    /// All of them, in the order of [`Conditions`].
    pub const ALL: [Self; 5] = [
        Self::PodScheduled,
        Self::PodReadyToStartContainers,
        Self::Initialized,
        Self::ContainersReady,
        Self::Ready,
    ];

    /// The condition's type as Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PodScheduled => "PodScheduled",
            Self::PodReadyToStartContainers => "PodReadyToStartContainers",
            Self::Initialized => "Initialized",
            Self::ContainersReady => "ContainersReady",
            Self::Ready => "Ready",
        }
    }
}

/// The five conditions that a node owns, packed: their usual case costs three bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Bit n is set where `PodCondition::ALL[n]` is True.
    pub truth: u8,
    /// When each became what it is, in seconds after [`PodStatus::started`].
    pub since: [i32; 5],
}

impl Conditions {
    /// Whether a condition is True.
    pub const fn is_true(&self, condition: PodCondition) -> bool {
        self.truth >> condition as u8 & 1 == 1
    }

    /// Says whether a condition is True.
    pub const fn set(&mut self, condition: PodCondition, truth: bool) {
        self.truth = self.truth & !(1 << condition as u8) | (truth as u8) << condition as u8;
    }
}

/// Why a condition is what it is, where there is more to say than its truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionCause {
    /// The condition's type: one of [`PodCondition`], or another that the node was told.
    pub condition: Reason,
    /// Why.
    pub reason: Reason,
    /// Why, for a person.
    pub message: Message,
}

/// What one attempt of a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It does not run yet, or not now.
    Waiting {
        /// Why.
        reason: Reason,
        /// Why, for a person.
        message: Message,
    },
    /// It runs.
    Running {
        /// Since when, in seconds after [`PodStatus::started`].
        since: i32,
    },
    /// It ended.
    Terminated(Terminated),
}

impl Default for ContainerState {
    fn default() -> Self {
        Self::Waiting { reason: Reason::default(), message: Message::default() }
    }
}

/// How an attempt of a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminated {
    /// Exit status, or 128 + the signal's number.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: Reason,
    /// Its termination message.
    pub message: Text<MAX_TERMINATION_MESSAGE>,
    /// When it was started, in seconds after [`PodStatus::started`].
    pub started: i32,
    /// When it ended, in seconds after [`PodStatus::started`].
    pub finished: i32,
}

/// What a container is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerRole {
    /// One of `spec.containers`.
    #[default]
    App,
    /// One of `spec.initContainers`.
    Init,
    /// One of `spec.initContainers` with `restartPolicy: Always`.
    Sidecar,
}

/// The status of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerStatus {
    /// Its name.
    pub name: Short<MAX_LABEL>,
    /// Bits 0-1 [`ContainerRole`], bit 2 ready, bit 3 started. See the accessors.
    pub flags: u8,
    /// How often it was started again; also the number of the attempt in its id.
    pub restarts: u32,
    /// Digest (SHA-256) of the image that it runs, once that is known.
    pub image: Option<[u8; 32]>,
    /// What it is doing.
    pub state: ContainerState,
    /// How the attempt before ended.
    pub last: Option<Terminated>,
}

impl ContainerStatus {
    const READY: u8 = 1 << 2;
    const STARTED: u8 = 1 << 3;

    /// Packs role, ready and started.
    pub const fn pack(role: ContainerRole, ready: bool, started: bool) -> u8 {
        role as u8 | (ready as u8) << 2 | (started as u8) << 3
    }

    /// What it is for.
    pub const fn role(&self) -> ContainerRole {
        match self.flags & 3 {
            0 => ContainerRole::App,
            1 => ContainerRole::Init,
            _ => ContainerRole::Sidecar,
        }
    }

    /// Whether it counts as ready.
    pub const fn ready(&self) -> bool {
        self.flags & Self::READY != 0
    }

    /// Whether it has started (its startup probe succeeded, or it has none).
    pub const fn started(&self) -> bool {
        self.flags & Self::STARTED != 0
    }
}

/// What a node says of one pod. Retained; cleared when the pod is gone.
///
/// Its layout on the wire is `wire`'s: it is what a fleet sends most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStatus {
    /// The revision that the node works on; zero where it accepted none.
    pub accepted: Revision,
    /// The newest revision that it saw, where that is another one.
    pub refusal: Option<Refusal>,
    /// The pod's uid; zero where nothing was accepted.
    pub uid: Option<Uid>,
    /// Its place in its life.
    pub phase: Phase,
    /// It is being ended: seconds it was given.
    pub deleting: Option<u32>,
    /// Why, where the phase alone does not tell (`Evicted`, `DeadlineExceeded`, ...).
    pub cause: Option<(Reason, Message)>,
    /// `startTime`.
    pub started: BootSeconds,
    /// The pod's addresses.
    pub addresses: heapless::Vec<IpAddress, MAX_ADDRESSES>,
    /// The conditions that a node owns.
    pub conditions: Conditions,
    /// Why some of them are what they are.
    pub causes: heapless::Vec<ConditionCause, MAX_POD_CONDITIONS>,
    /// Init containers in the order of the spec, then the others by name.
    pub containers: heapless::Vec<ContainerStatus, MAX_CONTAINERS>,
    /// Fields of the future.
    pub extensions: Extensions,
}

impl Body for PodStatus {
    const KIND: FrameKind = FrameKind::PodStatus;
    const MAX: usize = MAX_STATUS;
}

/// What a node says of an object that does nothing by itself (a `ConfigMap`), or of one that it
/// could not read. Retained; cleared when the object is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// The revision that the node works on; zero where it accepted none.
    pub accepted: Revision,
    /// The newest revision that it saw, where that is another one.
    pub refusal: Option<Refusal>,
    /// Fields of the future.
    pub extensions: Extensions,
}

impl Body for ObjectStatus {
    const KIND: FrameKind = FrameKind::ObjectStatus;
}

/// What a node tells of a service beside: the extension `service` of its [`ObjectStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its addresses on the node.
    pub addresses: Vec<IpAddr>,
    /// Ports of the node that lead to its ports: the service's, the node's.
    pub node_ports: Vec<(u16, u16)>,
    /// Pods that serve.
    pub serving: u16,
    /// Pods that its selector finds and that have addresses.
    pub found: u16,
    /// Those pods, up to [`limits::MAX_TOLD_ENDPOINTS`](crate::limits::MAX_TOLD_ENDPOINTS).
    pub endpoints: Vec<EndpointStatus>,
}

/// One pod of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// The pod's name.
    pub pod: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Clients are led to it.
    pub serves: bool,
    /// Where each port of the service leads, in their order; 0 where the pod has no such port.
    pub ports: Vec<u16>,
}

/// The extension of an [`ObjectStatus`] that holds a [`ServiceStatus`].
const SERVICE: &str = "service";

impl ObjectStatus {
    /// What is told of a service; none of other objects, and by older nodes.
    pub fn service(&self) -> Option<ServiceStatus> {
        self.extensions.read(SERVICE)
    }

    /// Tells it of a service.
    pub fn set_service(&mut self, service: &ServiceStatus) {
        self.extensions.write(SERVICE, Some(service));
    }
}
