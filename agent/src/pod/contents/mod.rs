//! What a pod is given beside its image: variables and files, made of `ConfigMap`s and Secrets, of
//! the pod itself and of its node. PURE: whoever asks brings what was stored.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use mote_protocol::name::{Kind, ObjectKey, ObjectName};
use mote_protocol::pod::{
    Amounts, DownwardItem, DownwardValue, EnvFrom, EnvValue, ProjectedSource, Projection,
    VolumeSource,
};

use super::Pod;

pub mod environment;
pub mod fields;
pub mod names;
pub mod projection;

/// Keys and values of one `ConfigMap` or Secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// `data`.
    pub data: BTreeMap<String, Vec<u8>>,
    /// `binaryData`: only files are made from it.
    pub binary: BTreeMap<String, Vec<u8>>,
    /// `type` of a Secret; empty where it says none.
    pub secret_type: String,
}

impl Entries {
    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.data.values().chain(self.binary.values()).map(Vec::len).sum()
    }
}

/// Keys only: what a secret holds is in no log.
impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.data.keys()).entries(self.binary.keys()).finish()
    }
}

/// What the objects held that a pod refers to, when they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Library(BTreeMap<ObjectKey, Entries>);

impl Library {
    /// Adds what an object holds.
    pub fn insert(&mut self, key: ObjectKey, entries: Entries) {
        self.0.insert(key, entries);
    }

    /// What an object of the pod's namespace holds.
    fn get(&self, pod: &Pod, kind: Kind, name: &str) -> Option<&Entries> {
        self.0.get(&key(pod, kind, name)?)
    }
}

/// What containers may learn of their node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `spec.nodeName`.
    pub name: String,
    /// `status.hostIPs`.
    pub addresses: Vec<IpAddr>,
    /// `status.podIPs` of a pod that does not have the node's.
    pub pod_addresses: Vec<IpAddr>,
    /// What pods can have of it: stands in for limits that are not set.
    pub allocatable: Amounts,
    /// Variables about its services, for a pod that wants them.
    pub services: Vec<(String, String)>,
}

/// What variables and files are made from.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its node.
    pub node: &'a NodeFacts,
    /// The objects that it refers to.
    pub library: &'a Library,
}

/// Why something cannot be made. Texts are the kubelet's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentsError {
    /// There is no such object on this node.
    #[error("{kind} \"{name}\" not found")]
    NoObject {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// An object lacks a key that a variable is to come from.
    #[error("couldn't find key {key} in {kind} {object}")]
    NoKey {
        /// The key.
        key: String,
        /// The object's kind, in Kubernetes' spelling.
        kind: &'static str,
        /// `NAMESPACE/NAME`.
        object: String,
    },
    /// A `ConfigMap` lacks a key that a file is to come from.
    #[error("configmap references non-existent config key: {key}")]
    NoConfigKey {
        /// The key.
        key: String,
    },
    /// A Secret lacks a key that a file is to come from.
    #[error("references non-existent secret key: {key}")]
    NoSecretKey {
        /// The key.
        key: String,
    },
    /// A variable cannot hold what the key does.
    #[error("key {key} in {kind} {object} holds bytes that no variable can have")]
    NoText {
        /// The key.
        key: String,
        /// The object's kind, in Kubernetes' spelling.
        kind: &'static str,
        /// `NAMESPACE/NAME`.
        object: String,
    },
    /// This version does not know the field.
    #[error("unsupported fieldPath: {path}")]
    UnknownField {
        /// The field's path.
        path: String,
    },
    /// The node knows no address of its own yet.
    #[error("host IP unknown")]
    NoAddress,
    /// The node gives pods no addresses.
    #[error("pod IP unknown: pods have no addresses on this node")]
    NoPodAddress,
    /// This version does not know the resource.
    #[error("unsupported container resource : {resource}")]
    UnknownResource {
        /// As the spec writes it.
        resource: String,
    },
    /// The pod has no such container.
    #[error("container {name} not found")]
    NoContainer {
        /// Its name.
        name: String,
    },
    /// Two files of a volume cannot be there at once.
    #[error("conflicting duplicate paths: {path}")]
    Conflict {
        /// The path of one of them.
        path: String,
    },
    /// More than any container needs, and more than a node has to give.
    #[error("all {what} have more than {max} bytes")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// `subPathExpr` names variables that are not set or empty.
    #[error("missing value for {names}")]
    NoValue {
        /// Their names.
        names: String,
    },
}

/// The key of an object of the pod's namespace; none where the name cannot be one.
fn key(pod: &Pod, kind: Kind, name: &str) -> Option<ObjectKey> {
    let name = ObjectName::new(name).ok()?;
    Some(ObjectKey { kind, namespace: pod.name.namespace.clone(), name })
}

/// `NAMESPACE/NAME`.
fn described(pod: &Pod, name: &str) -> String {
    format!("{}/{name}", pod.name.namespace)
}

/// The key of one of the Secrets that open registries for a pod.
pub fn pull_secret_key(pod: &Pod, name: &str) -> Option<ObjectKey> {
    key(pod, Kind::Secret, name)
}

/// Whether an object opens registries for a pod.
pub fn opens_registries(pod: &Pod, object: &ObjectKey) -> bool {
    pod.pull_secrets.iter().any(|name| pull_secret_key(pod, name).as_ref() == Some(object))
}

/// The objects that the variables of a container come from.
pub fn of_environment(pod: &Pod, place: usize) -> Vec<ObjectKey> {
    let Some(container) = pod.containers.get(place) else { return Vec::new() };
    let from = container.env_from.iter().map(|EnvFrom { secret, name, .. }| {
        (if *secret { Kind::Secret } else { Kind::ConfigMap }, name.as_str())
    });
    let single = container.env.iter().filter_map(|variable| match &variable.value {
        EnvValue::ConfigMap(reference) => Some((Kind::ConfigMap, reference.name.as_str())),
        EnvValue::Secret(reference) => Some((Kind::Secret, reference.name.as_str())),
        EnvValue::Literal(_) | EnvValue::Field(_) | EnvValue::Resource(_) => None,
    });
    keys(pod, from.chain(single))
}

/// The objects that the files of a pod's volumes come from.
pub fn of_volumes(pod: &Pod) -> Vec<ObjectKey> {
    let mut named = Vec::new();
    for volume in &pod.volumes {
        match &volume.source {
            VolumeSource::ConfigMap(Projection { name, .. }) => {
                named.push((Kind::ConfigMap, name.as_str()));
            }
            VolumeSource::Secret(Projection { name, .. }) => {
                named.push((Kind::Secret, name.as_str()));
            }
            VolumeSource::Projected { sources, .. } => {
                named.extend(sources.iter().filter_map(|source| match source {
                    ProjectedSource::ConfigMap(one) => Some((Kind::ConfigMap, one.name.as_str())),
                    ProjectedSource::Secret(one) => Some((Kind::Secret, one.name.as_str())),
                    ProjectedSource::DownwardApi(_) => None,
                }));
            }
            _ => {}
        }
    }
    keys(pod, named.into_iter())
}

fn keys<'a>(pod: &Pod, named: impl Iterator<Item = (Kind, &'a str)>) -> Vec<ObjectKey> {
    let mut keys: Vec<_> = named.filter_map(|(kind, name)| key(pod, kind, name)).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Whether a pod refers to an object, in whatever way.
pub fn refers_to(pod: &Pod, key: &ObjectKey) -> bool {
    pod.name.namespace == key.namespace
        && (of_volumes(pod).contains(key)
            || (0..pod.containers.len()).any(|place| of_environment(pod, place).contains(key)))
}

/// Whether files of a pod may change while it runs.
pub fn has_files(pod: &Pod) -> bool {
    pod.volumes.iter().any(|volume| is_files(&volume.source))
}

/// Whether a volume is of files that are made from something else.
pub const fn is_files(source: &VolumeSource) -> bool {
    matches!(
        source,
        VolumeSource::ConfigMap(_)
            | VolumeSource::Secret(_)
            | VolumeSource::Projected { .. }
            | VolumeSource::DownwardApi { .. }
    )
}

/// Every item of the downward API in a pod's volumes.
pub(super) fn downward(source: &VolumeSource) -> Vec<&DownwardItem> {
    match source {
        VolumeSource::DownwardApi { items, .. } => items.iter().collect(),
        VolumeSource::Projected { sources, .. } => sources
            .iter()
            .flat_map(|source| match source {
                ProjectedSource::DownwardApi(items) => items.as_slice(),
                ProjectedSource::ConfigMap(_) | ProjectedSource::Secret(_) => &[],
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The value of an item of the downward API.
fn downward_value(value: &DownwardValue, given: Given<'_>) -> Result<String, ContentsError> {
    match value {
        DownwardValue::Field(path) => fields::in_volume(path, given),
        DownwardValue::Resource(reference) => fields::resource(reference, None, given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::name::Namespace;

    /// An object of the default namespace, as `KIND/NAME` with keys and values.
    type Object<'a> = (&'a str, &'a [(&'a str, &'a [u8])]);

    pub(super) fn library_of(objects: &[Object<'_>]) -> Library {
        let mut library = Library::default();
        for (object, pairs) in objects {
            let (kind, name) = object.split_once('/').unwrap();
            let key = ObjectKey {
                kind: kind.parse().unwrap(),
                namespace: Namespace::new("default").unwrap(),
                name: ObjectName::new(name).unwrap(),
            };
            let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec()));
            library.insert(key, Entries { data: data.collect(), ..Entries::default() });
        }
        library
    }
}
