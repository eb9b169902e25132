//! What a node says of itself.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::extension::Extensions;
use crate::frame::{Body, FrameKind};
use crate::limits::{MAX_ADDRESSES, MAX_DEVICES, MAX_LABEL, MAX_NODE_CONDITIONS};
use crate::name::GroupName;
use crate::pod::TaintEffect;
use crate::status::{BootSeconds, IpAddress, Message, Reason};
use crate::text::Short;

/// One connection of one node to its broker; a later one is greater.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Session {
    /// Counts the starts of the agent on this node: one flash write per start.
    pub start: u32,
    /// Counts the connections since that start.
    pub connection: u32,
}

/// A short word: a version, an architecture, a name.
pub type Word = Short<64>;

/// The node came up. Retained: a node that reads back an old one, or none, knows that the broker
/// lost its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// This connection. The node is online where this is greater than [`Will::session`].
    pub session: Session,
    /// What tells two boards apart that were given one name (a hash of the machine id).
    pub identity: [u8; 8],
    /// The kernel's boot id (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: [u8; 16],
    /// When the machine booted, in Unix seconds, by its own clock.
    pub boot_epoch: i64,
    /// Whether that clock was set by anybody since it started.
    pub clock_trusted: bool,
    /// Seconds between two heartbeats; a node not heard for three of them is in doubt.
    pub heartbeat_s: u32,
    /// Schemas of pods that this agent reads, oldest and newest.
    pub pod_schemas: (u8, u8),
    /// Versions and hardware.
    pub info: NodeInfo,
    /// `metadata.labels` of the node.
    pub labels: BTreeMap<String, String>,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// The extension of [`Birth`] that lists groups: their names, separated by commas. Who does not
/// know it sees a node that could be in any group, which is what an older node looks like.
const GROUPS: &str = "groups";

/// The extension of [`Birth`] that lists taints, separated by commas.
const TAINTS: &str = "taints";

/// A taint of a node: `key=value:Effect`, or `key:Effect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value; may be empty.
    pub value: String,
    /// What it does to pods that do not tolerate it.
    pub effect: TaintEffect,
}

impl core::str::FromStr for Taint {
    type Err = TaintError;

    fn from_str(text: &str) -> Result<Self, TaintError> {
        let (taint, effect) = text.rsplit_once(':').ok_or(TaintError)?;
        let effect = TaintEffect::ALL.into_iter().find(|one| one.as_str() == effect);
        let (key, value) = taint.split_once('=').unwrap_or((taint, ""));
        let (key, value) = (key.into(), value.into());
        Ok(Self { key, value, effect: effect.ok_or(TaintError)? })
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        let sign = if value.is_empty() { "" } else { "=" };
        write!(f, "{key}{sign}{value}:{}", effect.as_str())
    }
}

/// A text that is no taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaintError;

impl fmt::Display for TaintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be key=value:Effect or key:Effect, where the effect is NoSchedule, \
             PreferNoSchedule or NoExecute",
        )
    }
}

impl core::error::Error for TaintError {}

impl Birth {
    /// Lists the taints of the node. One that has none says nothing.
    pub fn set_taints(&mut self, taints: &[Taint]) {
        let texts: Vec<String> = taints.iter().map(ToString::to_string).collect();
        let value = (!texts.is_empty()).then(|| texts.join(",").into_bytes());
        self.extensions.set(TAINTS, value);
    }

    /// The taints of the node, as far as they can be read.
    pub fn taints(&self) -> Vec<Taint> {
        let texts = self.extensions.get(TAINTS).and_then(|value| core::str::from_utf8(value).ok());
        texts.unwrap_or_default().split(',').filter_map(|text| text.parse().ok()).collect()
    }

    /// Lists the groups whose objects the node runs beside its own.
    pub fn set_groups(&mut self, groups: &[GroupName]) {
        let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
        let value = names.join(",").into_bytes();
        self.extensions.set(GROUPS, Some(value));
    }

    /// The groups of the node; `None` where it does not say.
    pub fn groups(&self) -> Option<Vec<GroupName>> {
        let names = core::str::from_utf8(self.extensions.get(GROUPS)?).ok()?;
        let names = names.split(',').filter(|name| !name.is_empty());
        names.map(GroupName::new).collect::<Result<_, _>>().ok()
    }
}

impl Body for Birth {
    const KIND: FrameKind = FrameKind::Birth;
}

/// `status.nodeInfo`, and what only boards have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// The agent's version.
    pub agent: Word,
    /// The runtime's name and version.
    pub runtime: Word,
    /// `uname -r`.
    pub kernel: Word,
    /// `PRETTY_NAME` of os-release(5).
    pub os_image: Word,
    /// Architecture as Go names it: `arm64`, `arm`, `amd64`.
    pub architecture: Word,
    /// Its variant (`v7`), where it has one.
    pub variant: Word,
    /// `/etc/machine-id`, 16 bytes; zero where there is none.
    pub machine_id: [u8; 16],
    /// The board, as its device tree or firmware names it.
    pub board: Word,
    /// Its serial number.
    pub serial: Word,
}

/// The node's session ended: written by the broker, from the CONNECT of that session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Will {
    /// The session that ended. A late will cannot shadow the birth of a newer session.
    pub session: Session,
    /// Which board said so.
    pub identity: [u8; 8],
}

impl Body for Will {
    const KIND: FrameKind = FrameKind::Will;
}

/// A sign of life, as small as it can be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// This connection.
    pub session: Session,
    /// Counts heartbeats of this session.
    pub sequence: u32,
    /// When, in seconds from boot.
    pub at: BootSeconds,
    /// Bit n is set where `NodeCondition::ALL[n]` is True.
    pub conditions: u32,
    /// Count and digest of the objects that the node holds.
    pub objects: ObjectDigest,
}

impl Body for Heartbeat {
    const KIND: FrameKind = FrameKind::Heartbeat;
}

/// What the node holds, for operators who list it: an incomplete list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDigest {
    /// How many desired objects.
    pub count: u32,
    /// Sum (wrapping) over all objects of the first four bytes of their hashes, little endian.
    pub digest: u32,
}

/// The conditions of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeCondition {
    /// The node can run pods.
    Ready,
    /// Memory is short.
    MemoryPressure,
    /// Disk space or inodes are short.
    DiskPressure,
    /// Process ids are short.
    PIDPressure,
    /// Pods cannot get a network.
    NetworkUnavailable,
    /// The supply voltage was too low.
    UnderVoltage,
    /// The board slowed down because of heat.
    ThermalThrottled,
    /// The card or eMMC is near the end of its life.
    StorageWear,
    /// The disk answers with errors.
    StorageErrors,
    /// Nobody set the clock since it started.
    ClockNotTrusted,
    /// The kernel was booted without the memory controller.
    CgroupMemoryMissing,
    /// Another board uses this node's name.
    IdentityConflict,
}

impl NodeCondition {
    /// All of them, in the order of their number on the wire.
    pub const ALL: [Self; 12] = [
        Self::Ready,
        Self::MemoryPressure,
        Self::DiskPressure,
        Self::PIDPressure,
        Self::NetworkUnavailable,
        Self::UnderVoltage,
        Self::ThermalThrottled,
        Self::StorageWear,
        Self::StorageErrors,
        Self::ClockNotTrusted,
        Self::CgroupMemoryMissing,
        Self::IdentityConflict,
    ];

    /// The condition's type as Kubernetes writes such types.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::MemoryPressure => "MemoryPressure",
            Self::DiskPressure => "DiskPressure",
            Self::PIDPressure => "PIDPressure",
            Self::NetworkUnavailable => "NetworkUnavailable",
            Self::UnderVoltage => "UnderVoltage",
            Self::ThermalThrottled => "ThermalThrottled",
            Self::StorageWear => "StorageWear",
            Self::StorageErrors => "StorageErrors",
            Self::ClockNotTrusted => "ClockNotTrusted",
            Self::CgroupMemoryMissing => "CgroupMemoryMissing",
            Self::IdentityConflict => "IdentityConflict",
        }
    }
}

/// One condition of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeConditionStatus {
    /// Which.
    pub condition: NodeCondition,
    /// Whether it holds.
    pub truth: bool,
    /// When it became so, in seconds from boot.
    pub since: BootSeconds,
    /// Why; empty where the tools know it from condition and truth (the kubelet's usual words).
    pub reason: Reason,
    /// Why, for a person; empty likewise.
    pub message: Message,
}

/// Extended resources, each with its amount.
pub type Devices = heapless::Vec<(Short<MAX_LABEL>, u32), MAX_DEVICES>;

/// Amounts of what a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpu_milli: u32,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Disk for images, writable layers, logs and emptyDirs, in KiB.
    pub ephemeral_kib: u64,
    /// Pods.
    pub pods: u32,
    /// Extended resources.
    pub devices: Devices,
}

/// An address of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeAddress {
    /// `InternalIP`.
    InternalIp(IpAddress),
    /// `ExternalIP`.
    ExternalIp(IpAddress),
    /// `Hostname`.
    Hostname(Word),
}

/// What a node says of itself, retained; changes with what it says, not with time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// This connection.
    pub session: Session,
    /// Its addresses.
    pub addresses: heapless::Vec<NodeAddress, MAX_ADDRESSES>,
    /// Its conditions.
    pub conditions: heapless::Vec<NodeConditionStatus, MAX_NODE_CONDITIONS>,
    /// What it has.
    pub capacity: Resources,
    /// What pods can have of it.
    pub allocatable: Resources,
    /// What it holds.
    pub objects: ObjectDigest,
    /// No new pods, please (`spec.unschedulable`).
    pub unschedulable: bool,
    /// Fields of the future.
    pub extensions: Extensions,
}

impl Body for NodeStatus {
    const KIND: FrameKind = FrameKind::NodeStatus;
}

/// Measured usage of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// When, in seconds from boot.
    pub at: BootSeconds,
    /// CPU time since boot in milliseconds.
    pub cpu_ms: u64,
    /// Memory in use (working set) in KiB.
    pub memory_kib: u64,
    /// Disk in use in KiB.
    pub disk_kib: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Fields of the future.
    pub extensions: Extensions,
}

impl Body for Usage {
    const KIND: FrameKind = FrameKind::Usage;
}
