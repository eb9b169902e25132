//! Volumes and their mounts.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ImagePullPolicy, ResourceRef};

/// `volumes[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// `name`.
    pub name: String,
    /// What it is made of.
    pub source: VolumeSource,
}

/// What a volume is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeSource {
    /// `emptyDir`.
    EmptyDir {
        /// `medium: Memory`.
        memory: bool,
        /// `sizeLimit` in bytes.
        size_limit: Option<u64>,
    },
    /// `hostPath`.
    HostPath {
        /// `path`.
        path: String,
        /// `type`.
        kind: HostPathType,
    },
    /// `configMap`.
    ConfigMap(Projection),
    /// `secret`.
    Secret(Projection),
    /// `downwardAPI`.
    DownwardApi {
        /// `items`.
        items: Vec<DownwardItem>,
        /// `defaultMode`.
        default_mode: Option<u16>,
    },
    /// `projected`.
    Projected {
        /// `sources`.
        sources: Vec<ProjectedSource>,
        /// `defaultMode`.
        default_mode: Option<u16>,
    },
    /// `image`.
    Image {
        /// `reference`.
        reference: String,
        /// `pullPolicy`.
        pull_policy: Option<ImagePullPolicy>,
    },
}

/// `hostPath.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathType {
    /// Not checked.
    #[default]
    Unset,
    /// `DirectoryOrCreate`.
    DirectoryOrCreate,
    /// `Directory`.
    Directory,
    /// `FileOrCreate`.
    FileOrCreate,
    /// `File`.
    File,
    /// `Socket`.
    Socket,
    /// `CharDevice`.
    CharDevice,
    /// `BlockDevice`.
    BlockDevice,
}

/// Files made from the keys of a `ConfigMap` or Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Projection {
    /// `name` or `secretName`.
    pub name: String,
    /// `items`; every key where empty.
    pub items: Vec<KeyToPath>,
    /// `defaultMode`.
    pub default_mode: Option<u16>,
    /// `optional`.
    pub optional: bool,
}

/// `items[]` of a projection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyToPath {
    /// `key`.
    pub key: String,
    /// `path`.
    pub path: String,
    /// `mode`.
    pub mode: Option<u16>,
}

/// `items[]` of a downward API volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownwardItem {
    /// `path`.
    pub path: String,
    /// What the file says.
    pub value: DownwardValue,
    /// `mode`.
    pub mode: Option<u16>,
}

/// What a file of the downward API says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DownwardValue {
    /// `fieldRef.fieldPath`.
    Field(String),
    /// `resourceFieldRef`.
    Resource(ResourceRef),
}

/// `sources[]` of a projected volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProjectedSource {
    /// `configMap`.
    ConfigMap(Projection),
    /// `secret`.
    Secret(Projection),
    /// `downwardAPI`.
    DownwardApi(Vec<DownwardItem>),
}

/// `volumeMounts[]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// `name`.
    pub name: String,
    /// `mountPath`.
    pub mount_path: String,
    /// `subPath`.
    pub sub_path: String,
    /// `subPathExpr`.
    pub sub_path_expr: String,
    /// `readOnly`.
    pub read_only: bool,
    /// `mountPropagation`.
    pub propagation: MountPropagation,
}

/// `mountPropagation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountPropagation {
    /// `None`.
    #[default]
    Private,
    /// `HostToContainer`.
    HostToContainer,
    /// `Bidirectional`.
    Bidirectional,
}
