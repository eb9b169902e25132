//! Volumes and their mounts.

use mote_protocol::pod::{
    DownwardItem, DownwardValue, HostPathType, KeyToPath, MountPropagation, ProjectedSource,
    Projection, ResourceRef, Volume, VolumeMount, VolumeSource,
};
use serde_json::{Map, Value, json};

use super::env::read_field_ref;
use super::field::{Field, Fields, object, put, words};
use super::findings::{Findings, Problem};
use super::path::Path;
use super::quantity::{Quantity, format_units};
use super::resources::read_quantity;

words!(HostPathType, shown: |kind| *kind != Self::Unset, {
    Unset = "",
    DirectoryOrCreate = "DirectoryOrCreate",
    Directory = "Directory",
    FileOrCreate = "FileOrCreate",
    File = "File",
    Socket = "Socket",
    CharDevice = "CharDevice",
    BlockDevice = "BlockDevice",
});

words!(MountPropagation, shown: |propagation| *propagation != Self::Private, {
    Private = "None",
    HostToContainer = "HostToContainer",
    Bidirectional = "Bidirectional",
});

object!(VolumeMount {
    "name" => name,
    "mountPath" => mount_path,
    "subPath" => sub_path,
    "subPathExpr" => sub_path_expr,
    "readOnly" => read_only,
    "mountPropagation" => propagation,
} only { "recursiveReadOnly": ["Disabled", "IfPossible"] });

object!(KeyToPath { "key" => key, "path" => path, "mode" => mode });

/// What volumes of Kubernetes that no node can have are called.
const UNSUPPORTED: [&str; 22] = [
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
];

impl Field for Volume {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let name = fields.get("name").unwrap_or_default();
        let source = read_source(&mut fields, value);
        fields.close();
        Some(Self { name, source: source? })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "name", &self.name);
        let (key, value) = write_source(&self.source);
        map.insert(key.into(), value);
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        false
    }
}

/// What reads one kind of volume.
type Read = fn(&Value, Path<'_>, &mut Findings) -> Option<VolumeSource>;

fn read_source(fields: &mut Fields<'_, '_>, volume: &Value) -> Option<VolumeSource> {
    let at = fields.at();
    if refuse(fields, &UNSUPPORTED) {
        return None;
    }
    let readers: [(&'static str, Read); 7] = [
        ("emptyDir", read_empty_dir),
        ("hostPath", read_host_path),
        ("configMap", |v, at, f| read_projection(v, at, f, "name").map(VolumeSource::ConfigMap)),
        ("secret", |v, at, f| read_projection(v, at, f, "secretName").map(VolumeSource::Secret)),
        ("downwardAPI", read_downward),
        ("projected", read_projected),
        ("image", read_image),
    ];
    let (mut found, mut source) = (0, None);
    for (key, read) in readers {
        let Some(value) = fields.value(key) else { continue };
        found += 1;
        if found > 1 {
            let detail = "may not specify more than 1 volume type";
            fields.findings().forbidden(at.field(key), detail);
            continue;
        }
        source = read(value, at.field(key), fields.findings());
    }
    if found == 0 && volume.as_object().is_some_and(|map| map.len() <= 1) {
        // As in Kubernetes: a volume that says nothing is an emptyDir.
        return Some(VolumeSource::EmptyDir { memory: false, size_limit: None });
    }
    if found == 0 {
        fields.findings().required(at);
    }
    source
}

/// Notes a source of files that nobody can make: a pod that waits for it, or runs without it, is worse
/// than one that is refused.
fn refuse(fields: &mut Fields<'_, '_>, keys: &[&'static str]) -> bool {
    let at = fields.at();
    let asked = keys.iter().find(|key| fields.value(key).is_some());
    if let Some(key) = asked {
        let detail = "volumes of this type are not supported by mote";
        fields.findings().forbidden(at.field(key), detail);
    }
    asked.is_some()
}

fn read_empty_dir(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<VolumeSource> {
    let mut fields = Fields::open(value, at, findings)?;
    let medium: String = fields.get("medium").unwrap_or_default();
    if !matches!(medium.as_str(), "" | "Memory") {
        let problem =
            Problem::Unsupported { value: format!("{medium:?}"), supported: vec!["", "Memory"] };
        fields.findings().error(at.field("medium"), problem);
    }
    let mut size_limit = None;
    if let Some(value) = fields.value("sizeLimit") {
        size_limit = read_quantity(value, at.field("sizeLimit"), fields.findings());
    }
    fields.close();
    let size_limit = size_limit.map(Quantity::units);
    Some(VolumeSource::EmptyDir { memory: medium == "Memory", size_limit })
}

fn read_host_path(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<VolumeSource> {
    let mut fields = Fields::open(value, at, findings)?;
    let (path, kind): (String, _) = (fields.get("path").unwrap_or_default(), fields.get("type"));
    if path.is_empty() {
        fields.required("path");
    }
    fields.close();
    Some(VolumeSource::HostPath { path, kind: kind.unwrap_or_default() })
}

fn read_projection(
    value: &Value,
    at: Path<'_>,
    findings: &mut Findings,
    name: &'static str,
) -> Option<Projection> {
    let mut fields = Fields::open(value, at, findings)?;
    let mut projection = Projection::default();
    fields.set(name, &mut projection.name);
    fields.set("items", &mut projection.items);
    fields.set("optional", &mut projection.optional);
    // Inside a projected volume the modes are those of its items and of the volume.
    fields.set("defaultMode", &mut projection.default_mode);
    fields.close();
    Some(projection)
}

fn write_projection(projection: &Projection, name: &str) -> Value {
    let mut map = Map::new();
    put(&mut map, name, &projection.name);
    put(&mut map, "items", &projection.items);
    put(&mut map, "defaultMode", &projection.default_mode);
    put(&mut map, "optional", &projection.optional);
    Value::Object(map)
}

fn read_downward(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<VolumeSource> {
    let mut fields = Fields::open(value, at, findings)?;
    let items = fields.get("items").unwrap_or_default();
    let default_mode = fields.get("defaultMode");
    fields.close();
    Some(VolumeSource::DownwardApi { items, default_mode })
}

fn read_projected(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<VolumeSource> {
    let mut fields = Fields::open(value, at, findings)?;
    let sources = fields.get("sources").unwrap_or_default();
    let default_mode = fields.get("defaultMode");
    fields.close();
    Some(VolumeSource::Projected { sources, default_mode })
}

fn read_image(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<VolumeSource> {
    let mut fields = Fields::open(value, at, findings)?;
    let reference: String = fields.get("reference").unwrap_or_default();
    let pull_policy = fields.get("pullPolicy");
    if reference.is_empty() {
        fields.required("reference");
    }
    fields.close();
    Some(VolumeSource::Image { reference, pull_policy })
}

fn write_source(source: &VolumeSource) -> (&'static str, Value) {
    let mut map = Map::new();
    let key = match source {
        VolumeSource::EmptyDir { memory, size_limit } => {
            if *memory {
                map.insert("medium".into(), "Memory".into());
            }
            put(&mut map, "sizeLimit", &size_limit.map(format_units));
            "emptyDir"
        }
        VolumeSource::HostPath { path, kind } => {
            put(&mut map, "path", path);
            put(&mut map, "type", kind);
            "hostPath"
        }
        VolumeSource::ConfigMap(projection) => {
            return ("configMap", write_projection(projection, "name"));
        }
        VolumeSource::Secret(projection) => {
            return ("secret", write_projection(projection, "secretName"));
        }
        VolumeSource::DownwardApi { items, default_mode } => {
            put(&mut map, "items", items);
            put(&mut map, "defaultMode", default_mode);
            "downwardAPI"
        }
        VolumeSource::Projected { sources, default_mode } => {
            put(&mut map, "sources", sources);
            put(&mut map, "defaultMode", default_mode);
            "projected"
        }
        VolumeSource::Image { reference, pull_policy } => {
            put(&mut map, "reference", reference);
            put(&mut map, "pullPolicy", pull_policy);
            "image"
        }
    };
    (key, Value::Object(map))
}

impl Field for DownwardItem {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let path = fields.get("path").unwrap_or_default();
        let mode = fields.get("mode");
        let field = fields.value("fieldRef").and_then(|value| {
            read_field_ref(value, at.field("fieldRef"), fields.findings()).map(DownwardValue::Field)
        });
        let resource: Option<ResourceRef> = fields.get("resourceFieldRef");
        let value = match (field, resource) {
            (Some(field), None) => Some(field),
            (None, Some(resource)) => Some(DownwardValue::Resource(resource)),
            (None, None) => {
                fields.required("fieldRef");
                None
            }
            (Some(_), Some(_)) => {
                let detail =
                    "`fieldRef` and `resourceFieldRef` can not be specified simultaneously";
                fields.findings().invalid_text(at, "resource", detail);
                None
            }
        };
        fields.close();
        Some(Self { path, value: value?, mode })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "path", &self.path);
        put(&mut map, "mode", &self.mode);
        match &self.value {
            DownwardValue::Field(path) => {
                map.insert("fieldRef".into(), json!({ "apiVersion": "v1", "fieldPath": path }));
            }
            DownwardValue::Resource(reference) => {
                map.insert("resourceFieldRef".into(), reference.write());
            }
        }
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        false
    }
}

impl Field for ProjectedSource {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let mut source = None;
        for key in ["configMap", "secret"] {
            let Some(value) = fields.value(key) else { continue };
            let projection = read_projection(value, at.field(key), fields.findings(), "name");
            let wrap = if key == "secret" { Self::Secret } else { Self::ConfigMap };
            source = projection.map(wrap);
        }
        fields.inside("downwardAPI", |inside| {
            source = Some(Self::DownwardApi(inside.get("items").unwrap_or_default()));
        });
        refuse(&mut fields, &["serviceAccountToken", "clusterTrustBundle", "podCertificate"]);
        if value.as_object().is_none_or(|map| map.len() != 1) {
            fields.findings().forbidden(at, "must specify exactly 1 volume type");
        }
        fields.close();
        source
    }

    fn write(&self) -> Value {
        match self {
            Self::ConfigMap(projection) => {
                json!({ "configMap": write_projection(projection, "name") })
            }
            Self::Secret(projection) => json!({ "secret": write_projection(projection, "name") }),
            Self::DownwardApi(items) => json!({ "downwardAPI": { "items": items.write() } }),
        }
    }

    fn is_unset(&self) -> bool {
        false
    }
}
