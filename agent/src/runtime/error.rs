//! Why the runtime could not do what it was told, and what to do about it.

use mote_protocol::name::Uid;

use super::ContainerId;

/// What to do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request may succeed in a while.
    Soon,
    /// Only another request can succeed (a bad command, a missing user, ...).
    Never,
    /// Ours to mend: an invariant does not hold.
    Bug,
}

/// Why the runtime could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The pod has no live sandbox.
    #[error("pod {uid} has no sandbox")]
    NoSandbox {
        /// Which pod.
        uid: Uid,
    },
    /// The pod's sandbox was made for other rights than its containers have by now.
    #[error("sandbox of pod {uid} was made {}", if *.own_users { "with users of its own" } else { "without users of its own" })]
    OtherUsers {
        /// Which pod.
        uid: Uid,
        /// What the sandbox has.
        own_users: bool,
    },
    /// The sandbox could not be set up.
    #[error("create sandbox of pod {uid}: {cause}")]
    Sandbox {
        /// Which pod.
        uid: Uid,
        /// First cause, as text a person can act on.
        cause: String,
        /// Whether trying again can help.
        retry: Retry,
    },
    /// The node has no network for pods.
    #[error("network is not ready: {cause}")]
    Network {
        /// What is missing.
        cause: String,
    },
    /// The container could not be created; its entrypoint never ran.
    #[error("create container `{}`: {cause}", id.name)]
    Create {
        /// Which attempt.
        id: ContainerId,
        /// First cause, as text a person can act on.
        cause: String,
        /// Whether trying again can help.
        retry: Retry,
    },
    /// The entrypoint could not be executed.
    #[error("start container `{}`: {cause}", id.name)]
    Start {
        /// Which attempt.
        id: ContainerId,
        /// First cause, as text a person can act on.
        cause: String,
    },
    /// No such container, or it does not run.
    #[error("container `{}` is not running", id.name)]
    NotRunning {
        /// Which attempt.
        id: ContainerId,
    },
    /// Anything else the kernel refused.
    #[error("{doing}")]
    Io {
        /// What was being done to what.
        doing: String,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
}

impl RuntimeError {
    /// Whether trying again can help. Nobody else classifies.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Sandbox { retry, .. } | Self::Create { retry, .. } => *retry,
            Self::Start { .. } | Self::NotRunning { .. } => Retry::Never,
            Self::NoSandbox { .. }
            | Self::OtherUsers { .. }
            | Self::Network { .. }
            | Self::Io { .. } => Retry::Soon,
        }
    }
}
