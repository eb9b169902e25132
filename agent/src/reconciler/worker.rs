//! Does what was planned for one pod, one action at a time, and tells how it went.
//!
//! A worker knows nothing of why. It is dropped only while it pulls or waits for a hook: everything else ends soon,
//! and a runtime call that is cut short would leave the kernel in a state nobody asked for.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::name::Uid;
use tokio::time::timeout;

use super::contents::{self, Which};
use super::plan::Action;
use super::{Beside, Measuring, Surroundings};
use crate::device::Device;
use crate::handler::{Handlers, HookDone, HookError, Target};
use crate::image::{ImageId, ImageRequest, Images};
use crate::pod::machine::{Event, Hook, StartFailure};
use crate::pod::process::{Parts, start_request, stop_signal};
use crate::pod::storage::StorageUse;
use crate::pod::{Moment, Pod};
use crate::runtime::{ContainerId, Runtime, RuntimeError, StartRequest};
use crate::volume::Volumes;
use crate::world::{Edges, World};

/// A pull that takes longer is told as an event, so that people know what is waited for.
const TELL_PULL: Duration = Duration::from_secs(1);

/// Carries out one action for a pod. `tell` is for what happens on the way; the result is its end.
pub(super) async fn carry_out<W: World>(
    edges: &Edges<W>,
    pod: &Rc<Pod>,
    node: &Surroundings,
    action: Action,
    beside: &Beside,
    tell: impl Fn(Event),
) -> Event {
    match action {
        Action::Pull { place, request } => {
            let (secrets, missing) = contents::pull_secrets(pod, node).await;
            if !missing.is_empty() {
                tell(Event::PullSecretsMissing(missing));
            }
            pull(edges, place, ImageRequest { secrets, ..request }, tell).await
        }
        Action::CreateSandbox => create_sandbox(edges, pod, node).await,
        Action::RefreshVolumes { mark } => {
            let result = contents::set_up(edges, pod, node, Which::Files).await;
            Event::VolumesRefreshed { mark, result }
        }
        Action::MeasureStorage => Event::Measured(measure(edges, pod, &beside.to_measure).await),
        Action::Start { place, attempt, image } => {
            match start(edges, pod, node, (place, attempt, image), beside, tell).await {
                Ok(since) => Event::Started { place, attempt, since },
                Err(failure) => Event::StartFailed { place, attempt, failure },
            }
        }
        Action::RunHook { place, attempt, hook } => {
            let result = run_hook(edges, pod, beside, (place, attempt), hook).await;
            Event::Hooked { place, attempt, hook, result }
        }
        Action::Ask { place, attempt, image } => {
            ask(edges, pod, place, attempt, image).await;
            Event::Asked { place, attempt }
        }
        Action::Kill { place, attempt } => {
            if let Some(id) = id(pod, place, attempt) {
                // One that failed is repeated; one that has ended is found by its exit.
                let _ = edges.runtime.kill(&id).await;
            }
            Event::Killed { place, attempt }
        }
        Action::StopSandbox { for_good } => {
            let uid = &pod.name.uid;
            let stopped = match edges.runtime.stop_sandbox(uid).await {
                Ok(()) if for_good => remove_volumes(edges, uid).await,
                stopped => stopped,
            };
            stopped.map_or_else(Event::RemoveFailed, |()| Event::SandboxStopped { for_good })
        }
        Action::RemoveSandbox => {
            let removed = remove(edges, &pod.name.uid).await;
            removed.map_or_else(Event::RemoveFailed, |()| Event::SandboxRemoved)
        }
    }
}

/// Volumes first, as nothing may start without them.
async fn create_sandbox<W: World>(edges: &Edges<W>, pod: &Pod, node: &Surroundings) -> Event {
    if let Err(failure) = contents::set_up(edges, pod, node, Which::All).await {
        return Event::VolumesFailed(failure);
    }
    let created = edges.runtime.create_sandbox(&pod.sandbox()).await;
    created.map_or_else(Event::SandboxFailed, |addresses| Event::SandboxReady { addresses })
}

async fn measure<W: World>(edges: &Edges<W>, pod: &Pod, wanted: &Measuring) -> StorageUse {
    let mut kept = StorageUse { mark: wanted.mark, ..StorageUse::default() };
    for (place, id) in &wanted.containers {
        kept.containers.push((*place, edges.runtime.written(id).await));
    }
    for place in &wanted.volumes {
        let Some(volume) = pod.volumes.get(*place) else { continue };
        kept.volumes.push((*place, edges.volumes.written(&pod.name.uid, volume).await));
    }
    kept
}

/// Removes all of a pod. Its volumes go when nothing uses them any more, and before the runtime
/// forgets the pod: an agent that dies in between finds it again.
pub(super) async fn remove<W: World>(edges: &Edges<W>, uid: &Uid) -> Result<(), RuntimeError> {
    if edges.volumes.holds(uid) {
        edges.runtime.stop_sandbox(uid).await?;
        remove_volumes(edges, uid).await?;
    }
    edges.runtime.remove_sandbox(uid).await
}

async fn remove_volumes<W: World>(edges: &Edges<W>, uid: &Uid) -> Result<(), RuntimeError> {
    if !edges.volumes.holds(uid) {
        return Ok(());
    }
    let removed = edges.volumes.remove(uid).await;
    removed.map_err(|source| RuntimeError::Io { doing: format!("remove volumes of {uid}"), source })
}

fn id(pod: &Pod, place: usize, attempt: u32) -> Option<ContainerId> {
    let container = pod.containers.get(place)?;
    Some(ContainerId { pod: pod.name.uid, name: container.name.clone(), attempt })
}

async fn pull<W: World>(
    edges: &Edges<W>,
    place: usize,
    request: ImageRequest,
    tell: impl Fn(Event),
) -> Event {
    let mut ensured = std::pin::pin!(edges.images.ensure(&request));
    let result = if let Ok(result) = timeout(TELL_PULL, &mut ensured).await {
        result
    } else {
        tell(Event::Pulling { place, reference: request.reference.clone() });
        ensured.await
    };
    let reference = request.reference.clone();
    match result {
        Ok(here) => Event::Pulled { place, reference, image: here.id, source: here.source },
        Err(error) => Event::PullFailed { place, reference, error },
    }
}

async fn start<W: World>(
    edges: &Edges<W>,
    pod: &Rc<Pod>,
    node: &Surroundings,
    (place, attempt, image): (usize, u32, ImageId),
    beside: &Beside,
    tell: impl Fn(Event),
) -> Result<Moment, StartFailure> {
    let Some(container) = pod.containers.get(place) else {
        return Err(StartFailure::Runtime(RuntimeError::NoSandbox { uid: pod.name.uid }));
    };
    let image = edges.images.resolve(&image).await.map_err(StartFailure::Image)?;
    let (variables, mounts, files) =
        contents::of_container(edges, pod, node, place, beside).await?;
    // Who lacks one fails before anything is removed: what is left of the last attempt tells an agent
    // that comes how it ended.
    let look = || contents::devices(container, &node.devices, &beside.taken);
    let look = || look().map_err(StartFailure::Config);
    let parts = Parts { image, variables, mounts, files, devices: paths(&look()?) };
    let request = start_request(pod, container, attempt, parts, node.memory_bytes)
        .map_err(StartFailure::Config)?;
    let before = attempt.checked_sub(1).and_then(|before| id(pod, place, before));
    let given = |devices| tell(Event::DevicesGiven { place, devices });
    start_after(&edges.runtime, before, request, look, given).await
}

fn paths(devices: &[(String, Device)]) -> Vec<PathBuf> {
    devices.iter().map(|(_, device)| device.path.clone()).collect()
}

/// Starts an attempt when the one before is removed, which takes seconds. It gets the devices that
/// are there by then, and they are told before anybody can tell what becomes of them.
async fn start_after<R: Runtime>(
    runtime: &R,
    before: Option<ContainerId>,
    mut request: StartRequest,
    look: impl Fn() -> Result<Vec<(String, Device)>, StartFailure>,
    given: impl FnOnce(Vec<(String, u64)>),
) -> Result<Moment, StartFailure> {
    if let Some(before) = before {
        // What stays of it is removed with its pod.
        let _ = runtime.remove_container(&before).await;
    }
    let devices = look()?;
    request.devices = paths(&devices);
    if !devices.is_empty() {
        given(devices.into_iter().map(|(name, device)| (name, device.number)).collect());
    }
    let since = runtime.start(&request).await.map_err(StartFailure::Runtime)?;
    Ok(Moment::from(since))
}

async fn run_hook<W: World>(
    edges: &Edges<W>,
    pod: &Rc<Pod>,
    beside: &Beside,
    (place, attempt): (usize, u32),
    hook: Hook,
) -> Result<HookDone, HookError> {
    let checks = pod.containers.get(place).and_then(|container| container.checks.as_ref());
    let handler = checks.and_then(|checks| match hook {
        Hook::PostStart => checks.post_start.as_ref(),
        Hook::PreStop => checks.pre_stop.as_ref(),
    });
    let (Some(handler), Some(id)) = (handler, id(pod, place, attempt)) else {
        return Ok(HookDone::AsAsked);
    };
    let address = beside.addresses.first().copied();
    let target = Target { id, host_network: pod.host.network, address };
    edges.handlers.hook(&target, handler).await
}

async fn ask<W: World>(
    edges: &Edges<W>,
    pod: &Rc<Pod>,
    place: usize,
    attempt: u32,
    image: Option<ImageId>,
) {
    let (Some(container), Some(id)) = (pod.containers.get(place), id(pod, place, attempt)) else {
        return;
    };
    let image = match image {
        // An image that is gone cannot say how its containers want to end.
        Some(image) => edges.images.resolve(&image).await.ok(),
        None => None,
    };
    let named = image.as_ref().and_then(|image| image.config.stop_signal.as_deref());
    // A container that cannot be asked is killed when its grace is over.
    let _ = edges.runtime.signal(&id, stop_signal(container, named)).await;
}

#[cfg(test)]
mod tests;
