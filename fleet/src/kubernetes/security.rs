//! Security contexts.

use mote_protocol::pod::{PodSecurityContext, SecurityContext, SecurityProfile};
use serde_json::{Value, json};

use super::field::{Field, Fields, object, unsupported_word};
use super::findings::Findings;
use super::path::Path;

object!(PodSecurityContext {
    "runAsUser" => run_as_user,
    "runAsGroup" => run_as_group,
    "runAsNonRoot" => run_as_non_root,
    "supplementalGroups" => supplemental_groups,
    "fsGroup" => fs_group,
    "fsGroupChangePolicy" => fs_group_on_root_mismatch flag ["Always", "OnRootMismatch"],
    "sysctls" => sysctls,
    "seccompProfile" => seccomp_profile,
    "appArmorProfile" => app_armor_profile,
}
// Nodes add the groups that the image has for the user, and a pod that rules them out would have more
// rights than it asked for.
only { "supplementalGroupsPolicy": ["Merge"] }
unsupported ["seLinuxOptions", "seLinuxChangePolicy", "windowsOptions"]);

object!(SecurityContext {
    "runAsUser" => run_as_user,
    "runAsGroup" => run_as_group,
    "runAsNonRoot" => run_as_non_root,
    "privileged" => privileged,
    "allowPrivilegeEscalation" => allow_privilege_escalation,
    "readOnlyRootFilesystem" => read_only_root_filesystem,
    "seccompProfile" => seccomp_profile,
    "appArmorProfile" => app_armor_profile,
    "procMount" => proc_unmasked flag ["Default", "Unmasked"],
} groups {
    "capabilities" { "add" => capabilities_add, "drop" => capabilities_drop }
} unsupported ["seLinuxOptions", "windowsOptions"]);

impl Field for SecurityProfile {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let localhost: Option<String> = fields.get("localhostProfile");
        let kind: String = fields.get("type").unwrap_or_default();
        let profile = match (kind.as_str(), localhost) {
            ("RuntimeDefault", None) => Some(Self::RuntimeDefault),
            ("Unconfined", None) => Some(Self::Unconfined),
            ("Localhost", Some(name)) => Some(Self::Localhost(name)),
            ("Localhost", None) => {
                fields.required("localhostProfile");
                None
            }
            ("RuntimeDefault" | "Unconfined", Some(_)) => {
                let at = at.field("localhostProfile");
                fields.findings().forbidden(at, "may only be set when type is Localhost");
                None
            }
            ("", _) => {
                fields.required("type");
                None
            }
            (_, _) => {
                let words = ["Localhost", "RuntimeDefault", "Unconfined"];
                unsupported_word(&kind.into(), &words, at.field("type"), fields.findings());
                None
            }
        };
        fields.close();
        profile
    }

    fn write(&self) -> Value {
        match self {
            Self::RuntimeDefault => json!({ "type": "RuntimeDefault" }),
            Self::Unconfined => json!({ "type": "Unconfined" }),
            Self::Localhost(name) => json!({ "type": "Localhost", "localhostProfile": name }),
        }
    }

    fn is_unset(&self) -> bool {
        false
    }
}
