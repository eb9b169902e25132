//! Security contexts.

use mote_protocol::pod::{PodSecurityContext, SecurityContext, SecurityProfile};
use serde_json::{Map, Value, json};

use super::field::{Field, Fields, put, put_inside, unsupported_word};
use super::findings::Findings;
use super::path::Path;

impl Field for PodSecurityContext {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let mut object = Self::default();
        fields.set("runAsUser", &mut object.run_as_user);
        fields.set("runAsGroup", &mut object.run_as_group);
        fields.set("runAsNonRoot", &mut object.run_as_non_root);
        fields.set("supplementalGroups", &mut object.supplemental_groups);
        fields.set("fsGroup", &mut object.fs_group);
        fields.set("sysctls", &mut object.sysctls);
        fields.set("seccompProfile", &mut object.seccomp_profile);
        fields.set("appArmorProfile", &mut object.app_armor_profile);
        object.fs_group_on_root_mismatch =
            flag(&mut fields, "fsGroupChangePolicy", ["Always", "OnRootMismatch"]);
        fields.unsupported(&[
            "seLinuxOptions",
            "seLinuxChangePolicy",
            "supplementalGroupsPolicy",
            "windowsOptions",
        ]);
        fields.close();
        Some(object)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "runAsUser", &self.run_as_user);
        put(&mut map, "runAsGroup", &self.run_as_group);
        put(&mut map, "runAsNonRoot", &self.run_as_non_root);
        put(&mut map, "supplementalGroups", &self.supplemental_groups);
        put(&mut map, "fsGroup", &self.fs_group);
        put(&mut map, "sysctls", &self.sysctls);
        put(&mut map, "seccompProfile", &self.seccomp_profile);
        put(&mut map, "appArmorProfile", &self.app_armor_profile);
        if self.fs_group_on_root_mismatch {
            map.insert("fsGroupChangePolicy".into(), "OnRootMismatch".into());
        }
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

impl Field for SecurityContext {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let mut object = Self::default();
        fields.set("runAsUser", &mut object.run_as_user);
        fields.set("runAsGroup", &mut object.run_as_group);
        fields.set("runAsNonRoot", &mut object.run_as_non_root);
        fields.set("privileged", &mut object.privileged);
        fields.set("allowPrivilegeEscalation", &mut object.allow_privilege_escalation);
        fields.set("readOnlyRootFilesystem", &mut object.read_only_root_filesystem);
        fields.set("seccompProfile", &mut object.seccomp_profile);
        fields.set("appArmorProfile", &mut object.app_armor_profile);
        fields.inside("capabilities", |inside| {
            inside.set("add", &mut object.capabilities_add);
            inside.set("drop", &mut object.capabilities_drop);
        });
        object.proc_unmasked = flag(&mut fields, "procMount", ["Default", "Unmasked"]);
        fields.unsupported(&["seLinuxOptions", "windowsOptions"]);
        fields.close();
        Some(object)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "runAsUser", &self.run_as_user);
        put(&mut map, "runAsGroup", &self.run_as_group);
        put(&mut map, "runAsNonRoot", &self.run_as_non_root);
        put(&mut map, "privileged", &self.privileged);
        put(&mut map, "allowPrivilegeEscalation", &self.allow_privilege_escalation);
        put(&mut map, "readOnlyRootFilesystem", &self.read_only_root_filesystem);
        put(&mut map, "seccompProfile", &self.seccomp_profile);
        put(&mut map, "appArmorProfile", &self.app_armor_profile);
        let mut capabilities = Map::new();
        put(&mut capabilities, "add", &self.capabilities_add);
        put(&mut capabilities, "drop", &self.capabilities_drop);
        put_inside(&mut map, "capabilities", capabilities);
        if self.proc_unmasked {
            map.insert("procMount".into(), "Unmasked".into());
        }
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads a word that says no or yes.
fn flag(fields: &mut Fields<'_, '_>, key: &'static str, words: [&'static str; 2]) -> bool {
    let Some(value) = fields.value(key) else { return false };
    let at = fields.at();
    let found = words.iter().position(|word| value == *word);
    if found.is_none() {
        unsupported_word(value, &words, at.field(key), fields.findings());
    }
    found == Some(1)
}

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
