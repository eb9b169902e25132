//! What containers may do.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// `spec.securityContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSecurityContext {
    /// `runAsUser`.
    pub run_as_user: Option<u32>,
    /// `runAsGroup`.
    pub run_as_group: Option<u32>,
    /// `runAsNonRoot`.
    pub run_as_non_root: Option<bool>,
    /// `supplementalGroups`.
    pub supplemental_groups: Vec<u32>,
    /// `fsGroup`.
    pub fs_group: Option<u32>,
    /// `fsGroupChangePolicy: OnRootMismatch`.
    pub fs_group_on_root_mismatch: bool,
    /// `sysctls`: name and value.
    pub sysctls: Vec<(String, String)>,
    /// `seccompProfile`.
    pub seccomp_profile: Option<SecurityProfile>,
    /// `appArmorProfile`.
    pub app_armor_profile: Option<SecurityProfile>,
}

/// `securityContext` of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityContext {
    /// `runAsUser`.
    pub run_as_user: Option<u32>,
    /// `runAsGroup`.
    pub run_as_group: Option<u32>,
    /// `runAsNonRoot`.
    pub run_as_non_root: Option<bool>,
    /// `privileged`.
    pub privileged: Option<bool>,
    /// `allowPrivilegeEscalation`.
    pub allow_privilege_escalation: Option<bool>,
    /// `readOnlyRootFilesystem`.
    pub read_only_root_filesystem: Option<bool>,
    /// `capabilities.add`.
    pub capabilities_add: Vec<String>,
    /// `capabilities.drop`.
    pub capabilities_drop: Vec<String>,
    /// `procMount: Unmasked`.
    pub proc_unmasked: bool,
    /// `seccompProfile`.
    pub seccomp_profile: Option<SecurityProfile>,
    /// `appArmorProfile`.
    pub app_armor_profile: Option<SecurityProfile>,
}

/// `seccompProfile` or `appArmorProfile`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityProfile {
    /// `RuntimeDefault`.
    RuntimeDefault,
    /// `Unconfined`.
    Unconfined,
    /// `Localhost`, with `localhostProfile`.
    Localhost(String),
}

/// Longest `localhostProfile`, as in Kubernetes.
const MAX_PROFILE: usize = 4095;

impl SecurityProfile {
    /// The rule that it breaks as a `seccompProfile`, where it does: `localhostProfile` is a file
    /// below a directory of the node.
    pub fn seccomp_fault(&self) -> Option<&'static str> {
        let Self::Localhost(path) = self else { return None };
        if path.is_empty() {
            Some("must be set when type is Localhost")
        } else if path.starts_with('/') {
            Some("must be a relative path")
        } else if path.split('/').any(|part| part == "..") {
            Some("must not contain '..'")
        } else {
            Self::length_fault(path)
        }
    }

    /// The rule that it breaks as an `appArmorProfile`, where it does: `localhostProfile` is the
    /// name of a profile that is loaded on the node.
    pub fn app_armor_fault(&self) -> Option<&'static str> {
        let Self::Localhost(name) = self else { return None };
        if name.is_empty() {
            Some("must be set when type is Localhost")
        } else if name.trim() != name {
            Some("must not be padded with whitespace")
        } else {
            Self::length_fault(name)
        }
    }

    fn length_fault(text: &str) -> Option<&'static str> {
        if text.len() > MAX_PROFILE {
            Some("must be no more than 4095 bytes")
        } else if text.contains(char::is_control) {
            Some("must not contain control characters")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_the_node_are_named_as_in_kubernetes() {
        let local = |text: &str| SecurityProfile::Localhost(text.into());
        for good in ["a.json", "profiles/a.json", "a..b/c", "./a"] {
            assert_eq!(local(good).seccomp_fault(), None, "{good}");
        }
        for bad in ["", "/a.json", "..", "a/../../b", "a\0b"] {
            assert!(local(bad).seccomp_fault().is_some(), "{bad}");
        }
        assert_eq!(local("/usr/bin/x").app_armor_fault(), None);
        for bad in ["", " a", "a ", "a\nb"] {
            assert!(local(bad).app_armor_fault().is_some(), "{bad}");
        }
        assert_eq!(SecurityProfile::Unconfined.seccomp_fault(), None);
    }
}
