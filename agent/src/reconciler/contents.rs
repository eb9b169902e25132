//! Gets what a pod's variables and volumes are made from, and has them made.

use std::io;
use std::net::IpAddr;

use mote_protocol::name::ObjectKey;
use mote_protocol::pod::{EnvValue, EnvVar, ImagePullPolicy, Volume, VolumeMount, VolumeSource};
use mote_registry::{PullSecret, PullSecrets};

use super::{Beside, Surroundings, Taken};
use crate::device::{self, Device, Pattern};
use crate::image::{ImageError, ImageId, ImageRequest, Images, PullPolicy};
use crate::pod::contents::environment::{self, Variables};
use crate::pod::contents::{
    self, ContentsError, Entries, Given, Library, NodeFacts, names, projection,
};
use crate::pod::machine::{MountFailure, StartFailure};
use crate::pod::process::ConfigError;
use crate::pod::{Container, Pod};
use crate::runtime::{Mount, MountSource, PodFile};
use crate::store::DataReader;
use crate::volume::{VolumeError, Volumes};
use crate::world::{Edges, World};

/// Which volumes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All that the pod has.
    All,
    /// Those of files, which change while it runs.
    Files,
}

/// Makes the volumes of a pod what they should be, in the order of its spec. One that cannot be made keeps
/// a pod from its start, and none of the others from being refreshed.
pub(super) async fn set_up<W: World>(
    edges: &Edges<W>,
    pod: &Pod,
    node: &Surroundings,
    which: Which,
) -> Result<(), MountFailure> {
    if pod.volumes.is_empty() {
        return Ok(());
    }
    let library = library(&node.data, contents::of_volumes(pod)).await;
    let library = library.map_err(|error| failure("", &error, true))?;
    // No file shows an address: those change.
    let facts = node.facts(false);
    let given = Given { pod, node: &facts, library: &library };
    let (mut room, mut result) = (projection::MAX_FILES, Ok(()));
    for volume in &pod.volumes {
        if which == Which::Files && !contents::is_files(&volume.source) {
            continue;
        }
        match (set_up_one(edges, given, volume, &mut room).await, which) {
            (Ok(()), _) => {}
            (failed, Which::All) => return failed,
            (failed, Which::Files) => result = told(result, failed),
        }
    }
    result
}

/// Of what became of several volumes that which is told: a failure that passes before one that does
/// not, or nobody would try again.
fn told(
    before: Result<(), MountFailure>,
    next: Result<(), MountFailure>,
) -> Result<(), MountFailure> {
    match (before, next) {
        (Err(before), Err(next)) if next.passing && !before.passing => Err(next),
        (before, next) => before.and(next),
    }
}

async fn set_up_one<W: World>(
    edges: &Edges<W>,
    given: Given<'_>,
    volume: &Volume,
    room: &mut usize,
) -> Result<(), MountFailure> {
    let pod = given.pod;
    let wanted = projection::wanted(volume, given, room);
    let wanted = wanted.map_err(|error| failure(&volume.name, &error, false))?;
    let made = edges.volumes.set_up(&pod.name.uid, volume, &wanted, pod.fs_group).await;
    made.map_err(|error: VolumeError| failure(&volume.name, &error, true))
}

fn failure(volume: &str, error: &dyn std::error::Error, passing: bool) -> MountFailure {
    MountFailure { volume: volume.to_owned(), cause: error.to_string(), passing }
}

/// Variables, volumes and files of a container that is about to start.
pub(super) async fn of_container<W: World>(
    edges: &Edges<W>,
    pod: &Pod,
    node: &Surroundings,
    place: usize,
    beside: &Beside,
) -> Result<(Variables, Vec<Mount>, Vec<PodFile>), StartFailure> {
    let Some(container) = pod.containers.get(place) else { return Ok(Default::default()) };
    let library = library(&node.data, contents::of_environment(pod, place)).await;
    let library = library.map_err(StartFailure::Storage)?;
    let asks = |variable: &EnvVar| matches!(&variable.value, EnvValue::Field(path) if path.starts_with("status."));
    let facts = node.facts(container.env.iter().any(asks));
    let services = node.service_links(pod);
    let facts = NodeFacts { pod_addresses: beside.addresses.clone(), services, ..facts };
    let given = Given { pod, node: &facts, library: &library };
    let config = |error| StartFailure::Config(ConfigError::Contents(error));
    let variables = environment::variables(container, given).map_err(config)?;
    let mounts = mounts(edges, (pod, node), container, &variables, &beside.images).await?;
    Ok((variables, mounts, files(pod, node, &beside.addresses)))
}

/// Files that say who is who. What the node's say is looked up each time: those change.
fn files(pod: &Pod, node: &Surroundings, addresses: &[IpAddr]) -> Vec<PodFile> {
    let asks = pod.names.is_some() || pod.host.network || !addresses.is_empty();
    if asks { names::files(pod, addresses, &node.files.read()) } else { Vec::new() }
}

/// Most bytes of `imagePullSecrets`: they are part of one message to the pull process.
const MAX_PULL_SECRETS: usize = 16 * 1024;

/// What the `imagePullSecrets` of a pod hold, and the names of those that are not here or cannot be
/// used.
pub(super) async fn pull_secrets(pod: &Pod, node: &Surroundings) -> (PullSecrets, Vec<String>) {
    let (mut secrets, mut missing, mut bytes) = (Vec::new(), Vec::new(), 0);
    for name in &pod.pull_secrets {
        let held = match contents::pull_secret_key(pod, name) {
            Some(key) => node.data.read(&key).await.ok().flatten(),
            None => None,
        };
        let secret = held.and_then(|entries| pull_secret(name, &entries));
        match secret.filter(|secret| bytes + written_len(secret) <= MAX_PULL_SECRETS) {
            Some(secret) => {
                bytes += written_len(&secret);
                secrets.push(secret);
            }
            None => missing.push(name.clone()),
        }
    }
    (PullSecrets(secrets), missing)
}

/// Bytes of it in the message, where quotes and the like take more than one.
fn written_len(secret: &PullSecret) -> usize {
    serde_json::to_vec(secret).map_or(usize::MAX, |bytes| bytes.len())
}

/// What a Secret holds for registries, by its type, as for a kubelet: keys of another type's mean nothing.
/// Whether it is what docker writes is found out by who asks with it.
fn pull_secret(name: &str, entries: &Entries) -> Option<PullSecret> {
    let (key, older) = match entries.secret_type.as_str() {
        "kubernetes.io/dockerconfigjson" => (".dockerconfigjson", false),
        "kubernetes.io/dockercfg" => (".dockercfg", true),
        _ => return None,
    };
    let bytes = entries.data.get(key).filter(|bytes| !bytes.is_empty())?;
    let config = String::from_utf8_lossy(bytes).into_owned();
    Some(PullSecret { name: name.to_owned(), older, config })
}

async fn library(data: &DataReader, keys: Vec<ObjectKey>) -> io::Result<Library> {
    let (mut library, mut room) = (Library::default(), projection::MAX_FILES);
    for key in keys {
        if let Some(entries) = data.read(&key).await? {
            room = room.checked_sub(entries.bytes()).ok_or_else(|| {
                let (what, max) = ("ConfigMaps and Secrets of a pod", projection::MAX_FILES);
                io::Error::other(ContentsError::TooMuch { what, max })
            })?;
            library.insert(key, entries);
        }
    }
    Ok(library)
}

async fn mounts<W: World>(
    edges: &Edges<W>,
    (pod, node): (&Pod, &Surroundings),
    container: &Container,
    variables: &Variables,
    images: &[Option<ImageId>],
) -> Result<Vec<Mount>, StartFailure> {
    let mut mounts = Vec::with_capacity(container.mounts.len());
    for asked in &container.mounts {
        // Each names one: that was checked when the pod was accepted.
        let Some(volume) = pod.volumes.iter().find(|volume| volume.name == asked.name) else {
            continue;
        };
        let source = source(edges, (pod, node), volume, images).await;
        let source = source.map_err(StartFailure::Image)?;
        mounts.push(Mount {
            name: asked.name.clone(),
            source,
            sub_path: sub_path(container, asked, variables).map_err(StartFailure::Config)?,
            target: normalised(&asked.mount_path),
            read_only: asked.read_only || is_read_only(&volume.source),
            makes_parts: !is_read_only(&volume.source),
            executable: is_in_memory(volume),
            propagation: asked.propagation,
        });
    }
    Ok(mounts)
}

/// A path from the root, without anything that leads nowhere: what is mounted inside of what is told
/// by their parts.
fn normalised(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

const fn is_read_only(source: &VolumeSource) -> bool {
    contents::is_files(source) || matches!(source, VolumeSource::Image { .. })
}

async fn source<W: World>(
    edges: &Edges<W>,
    (pod, node): (&Pod, &Surroundings),
    volume: &Volume,
    images: &[Option<ImageId>],
) -> Result<MountSource, ImageError> {
    let VolumeSource::Image { reference, pull_policy } = &volume.source else {
        return Ok(MountSource::Path(edges.volumes.path(&pod.name.uid, volume)));
    };
    // It was found before the sandbox was made: all containers of a pod have the same. Nobody removes
    // it while the pod is there, but damage does, and then it is fetched anew.
    let of_images = |volume: &&Volume| matches!(volume.source, VolumeSource::Image { .. });
    let mut with_images = pod.volumes.iter().filter(of_images);
    let nth = with_images.position(|other| other.name == volume.name);
    if let Some(id) = nth.and_then(|nth| images.get(nth).copied().flatten()) {
        return Ok(MountSource::Layers(edges.images.resolve(&id).await?.layers));
    }
    let found = find_again(&edges.images, (pod, node), reference, *pull_policy).await?;
    Ok(MountSource::Layers(edges.images.resolve(&found).await?.layers))
}

/// The image of a volume that the store lost, let in as the pod is. What its name means by now is not
/// asked where it is here: other containers may have it mounted.
async fn find_again<I: Images>(
    images: &I,
    (pod, node): (&Pod, &Surroundings),
    reference: &str,
    policy: Option<ImagePullPolicy>,
) -> Result<ImageId, ImageError> {
    let policy = match policy {
        Some(ImagePullPolicy::Never) => PullPolicy::Never,
        _ => PullPolicy::IfNotPresent,
    };
    let (secrets, _) = pull_secrets(pod, node).await;
    let request = ImageRequest { reference: reference.to_owned(), policy, secrets, waits: false };
    Ok(images.ensure(&request).await?.id)
}

/// The devices that a container gets, unless others have them.
pub(super) fn devices(
    container: &Container,
    patterns: &[Pattern],
    taken: &Taken,
) -> Result<Vec<(String, Device)>, ConfigError> {
    if container.devices.is_empty() {
        return Ok(Vec::new());
    }
    let found = device::found(patterns);
    let node = |resource: &String| {
        let refused = |why| ConfigError::Device { resource: resource.clone(), why };
        let device =
            found.get(resource).ok_or_else(|| refused("is not on this node".to_owned()))?;
        // By whatever name others asked for it: a serial line has several.
        let same = found.iter().filter(|(_, other)| other.number == device.number);
        let by: Vec<&str> =
            same.filter_map(|(name, _)| taken.get(name)).flatten().map(String::as_str).collect();
        if by.len() >= usize::try_from(device.share).unwrap_or(usize::MAX) {
            return Err(refused(format!("is in use by {}", by.join(", "))));
        }
        Ok((resource.clone(), device.clone()))
    };
    container.devices.iter().map(node).collect()
}

fn sub_path(
    container: &Container,
    asked: &VolumeMount,
    variables: &Variables,
) -> Result<String, ConfigError> {
    if asked.sub_path_expr.is_empty() {
        return Ok(asked.sub_path.clone());
    }
    let path = environment::expand_sub_path(&asked.sub_path_expr, variables)?;
    let below = !path.starts_with('/') && path.split('/').all(|part| part != "..");
    let wrong =
        || ConfigError::SubPath { mount: asked.name.clone(), container: container.name.clone() };
    if below && !path.contains('\0') { Ok(path) } else { Err(wrong()) }
}

/// It is on a file system of the agent's own.
const fn is_in_memory(volume: &Volume) -> bool {
    contents::is_files(&volume.source)
        || matches!(volume.source, VolumeSource::EmptyDir { memory: true, .. })
}

#[cfg(test)]
mod tests;
