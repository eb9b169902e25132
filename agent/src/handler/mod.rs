//! Does what probes and hooks ask for: commands, HTTP, TCP and gRPC, one attempt at a time.
//!
//! [`Handlers`] is the port between decisions and the containers. Nothing here counts, repeats or
//! decides: that is `probes` for probes and `pod::machine` for hooks. Texts are the kubelet's.

mod dial;
mod exec;
pub(crate) mod grpc;
pub(crate) mod http;
mod node;
mod tcp;

use std::borrow::Cow;
use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use mote_protocol::name::Uid;
use tokio::net::TcpStream;

use crate::pod::handler::Handler;
use crate::runtime::ContainerId;

pub use dial::PodSockets;
pub use node::NodeHandlers;

/// Output of commands and bodies of answers that are kept; more is dropped.
const MAX_OUTPUT: usize = 10 * 1024;

/// Where a handler acts: one attempt of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which attempt.
    pub id: ContainerId,
    /// Its pod's network is the host's.
    pub host_network: bool,
    /// An address that its pod has for its own.
    pub address: Option<IpAddr>,
}

impl Target {
    /// Where a handler that names no host asks, as the kubelet does: at the pod's address. Where it has
    /// none of its own this is empty, and it is asked at its loopback, from within its network.
    pub(crate) fn host<'a>(&self, named: &'a str) -> Cow<'a, str> {
        match self.address {
            Some(address) if named.is_empty() => address.to_string().into(),
            _ => named.into(),
        }
    }
}

/// Which port of which pod somebody wants to be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The pod.
    pub pod: Uid,
    /// Its network is the host's.
    pub host_network: bool,
    /// The TCP port on its loopback.
    pub port: u16,
}

/// How one attempt of a probe ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container is well.
    Success,
    /// It is well, and something should be said.
    Warning(String),
    /// It is not, and why.
    Failure(String),
    /// The probe could not be made, which says nothing about the container.
    Errored(String),
}

/// How a hook succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookDone {
    /// As it was asked for.
    AsAsked,
    /// It was to be sent over HTTPS, and the server speaks HTTP only. Long ago every hook was sent
    /// so, and some manifests still count on it.
    OverHttp {
        /// The server, with its port where that is not 443.
        host: String,
    },
}

/// Why a hook failed. The text is what follows `failed - error: ` in the kubelet's message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// The command ended, but not with 0.
    #[error("command '{}' exited with {code}", command.join(" "))]
    Exited {
        /// The command line.
        command: Vec<String>,
        /// Its exit status, or 128 + signal.
        code: i32,
        /// What it printed.
        output: String,
    },
    /// The command could not be run.
    #[error("{cause}")]
    Exec {
        /// Why.
        cause: String,
    },
    /// The request did not get an answer.
    #[error("{cause}")]
    Http {
        /// Why.
        cause: String,
    },
    /// Hooks cannot do it, though old manifests ask for it.
    #[error("invalid handler: {handler}")]
    Invalid {
        /// Which, by its field.
        handler: &'static str,
    },
}

impl HookError {
    /// What the hook's command printed; empty where there was none.
    pub fn output(&self) -> &str {
        match self {
            Self::Exited { output, .. } => output,
            Self::Exec { .. } | Self::Http { .. } | Self::Invalid { .. } => "",
        }
    }
}

/// Probes and hooks of this node's containers.
pub trait Handlers {
    /// Makes one attempt of a probe, in at most `timeout`.
    fn probe(
        &self,
        target: &Target,
        handler: &Handler,
        timeout: Duration,
    ) -> impl Future<Output = Outcome>;

    /// Runs a hook. It has no time limit of its own: whoever waits drops the future.
    fn hook(
        &self,
        target: &Target,
        handler: &Handler,
    ) -> impl Future<Output = Result<HookDone, HookError>>;

    /// Connects to a port of a pod's own network; why not, in the kubelet's words.
    fn connect(&self, goal: Goal) -> impl Future<Output = Result<TcpStream, String>>;
}

#[cfg(test)]
mod tests;
