//! What the processes of a container may do.

use serde::{Deserialize, Serialize};

/// What a container may do, after the pod's and the container's settings were merged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    /// `runAsUser`; else the image's user is used.
    pub user: Option<u32>,
    /// `runAsGroup`; else the group that goes with the user.
    pub group: Option<u32>,
    /// `supplementalGroups` (fsGroup included).
    pub supplemental_groups: Vec<u32>,
    /// Capabilities added to the default set, without `CAP_`; `ALL` allowed.
    pub add_capabilities: Vec<String>,
    /// Capabilities taken from the default set; `ALL` allowed.
    pub drop_capabilities: Vec<String>,
    /// `privileged`.
    pub privileged: bool,
    /// `readOnlyRootFilesystem`.
    pub read_only_root: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privileges: bool,
    /// `procMount: Unmasked`.
    pub proc_unmasked: bool,
    /// `seccompProfile`.
    pub seccomp: Seccomp,
    /// `appArmorProfile`.
    pub app_armor: AppArmor,
}

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
