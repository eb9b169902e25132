//! Ports of the node, and where they lead. PURE.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// As rules, variables and names have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// On this address of the node; on all of them where unset.
    pub address: Option<IpAddr>,
    /// `hostPort`.
    pub port: u16,
    /// `protocol`.
    pub transport: Transport,
}

impl HostPort {
    /// No two pods can have both, as Kubernetes' scheduler sees it.
    pub fn conflicts(&self, other: &Self) -> bool {
        let same = (self.port, self.transport) == (other.port, other.transport);
        let either = self.address.is_none() || other.address.is_none();
        same && (either || self.address == other.address)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        };
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "{protocol} [{address}]:{}", self.port),
            Some(address) => write!(f, "{protocol} {address}:{}", self.port),
            None => write!(f, "{protocol} {}", self.port),
        }
    }
}

/// Where a port of the node leads: a port of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMap {
    /// The node's.
    pub host: HostPort,
    /// The pod's: `containerPort`.
    pub port: u16,
}
