//! Which security profiles a container has, after the pod's and the container's were merged.

use serde::{Deserialize, Serialize};

/// Which filter of system calls a container has. A privileged one has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Ours.
    #[default]
    RuntimeDefault,
    /// None.
    Unconfined,
    /// A file below the node's directory of profiles, as a relative path without `..`.
    Localhost(String),
}

/// Which `AppArmor` profile a container has. A privileged one has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppArmor {
    /// Nobody said: the default one, where the node has it.
    #[default]
    Unset,
    /// The default one, and without it the container does not run.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// One that is loaded on the node, by its name.
    Localhost(String),
}
