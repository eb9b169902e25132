//! What tells of people and things that the node does not hear of through the broker: each a task that
//! sleeps until the kernel has something to tell.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::name::NodeName;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;

use super::real::RealWorld;
use super::tasks::named;
use crate::config::Config;
use crate::device;
use crate::node::board;
use crate::ports::{LockFiles, LockWatch};
use crate::static_pods;
use crate::steward::{LocalRequest, ToPresence};
use crate::sys::attribute::Attribute;
use crate::sys::pressure::{self, Trigger};
use crate::world::SharedEdges;

/// Programs that wait for memory for a tenth of a second in two are worth a look.
const STALL: Duration = Duration::from_millis(100);
const STALL_WINDOW: Duration = Duration::from_secs(2);

/// That pods are slowed down is not heard again for so long: it is told for every page that is dropped, too.
const REST: Duration = Duration::from_secs(10);

/// Starts them all.
pub(super) fn start(
    tasks: &mut JoinSet<&'static str>,
    config: &Config,
    edges: &SharedEdges<RealWorld>,
    local: &mpsc::UnboundedSender<LocalRequest>,
    to_presence: &mpsc::UnboundedSender<ToPresence>,
) {
    tasks.spawn_local(named("stalls", watch_stalls(to_presence.clone())));
    tasks.spawn_local(named("slowed pods", watch_slowed(Rc::clone(edges), to_presence.clone())));
    tasks.spawn_local(named("supply", watch_supply(to_presence.clone())));
    tasks.spawn_local(named("dropped images", watch_drops(Rc::clone(edges))));
    tasks.spawn_local(named("image news", image_news(Rc::clone(edges), local.clone())));
    tasks.spawn_local(named("devices", watch_devices(config.devices.clone(), local.clone())));
    tasks.spawn_local(named("locks", watch_locks(edges.locks.clone(), local.clone())));
    let (directory, node) = (config.static_pod_path.clone(), config.node.clone());
    tasks.spawn_local(named("static pods", watch_static_pods(directory, node, local.clone())));
}

/// What watches something for as long as the agent runs: a task that ends would end the agent. Where it
/// cannot be watched, that is only told.
async fn watching(what: &'static str, watch: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = watch.await {
        warn!(%error, what, "watch");
    }
    std::future::pending::<()>().await;
}

/// Imports what people drop. Unwatched, what lies there is still found when an image is wanted.
async fn watch_drops(edges: SharedEdges<RealWorld>) {
    watching("dropped images", edges.images.watch_drops()).await;
}

/// Tells of devices that come and go. Unwatched, the node's capacity shows it within a minute, and who
/// waits for one tries again.
async fn watch_devices(patterns: Vec<device::Pattern>, local: mpsc::UnboundedSender<LocalRequest>) {
    let told = async {
        let mut watch = device::Watch::new(patterns)?;
        while local.send(LocalRequest::Devices(watch.next().await?)).is_ok() {}
        Ok(())
    };
    watching("devices", told).await;
}

/// Tells of locks that come and go. Unwatched, the steward's own looks find it.
async fn watch_locks(locks: LockFiles, local: mpsc::UnboundedSender<LocalRequest>) {
    let told = async {
        let mut watch = LockWatch::new(locks)?;
        while local.send(LocalRequest::LocksChanged).is_ok() {
            watch.next().await?;
        }
        Ok(())
    };
    watching("locks", told).await;
}

/// Tells what files of the node ask for.
async fn watch_static_pods(
    directory: PathBuf,
    node: NodeName,
    local: mpsc::UnboundedSender<LocalRequest>,
) {
    let told = async {
        let mut watch = static_pods::Watch::new(directory, node)?;
        while local.send(LocalRequest::StaticPods(watch.look())).is_ok() {
            watch.next().await?;
        }
        Ok(())
    };
    watching("static pods", told).await;
}

/// Tells when programs wait for memory: then it is short, or all of it is being used up. Unwatched,
/// looks at the node find it, which are more frequent where little is left.
async fn watch_stalls(presence: mpsc::UnboundedSender<ToPresence>) {
    let Ok(trigger) = Trigger::new(pressure::MEMORY, STALL, STALL_WINDOW) else {
        // Many kernels are built or booted without it.
        return std::future::pending().await;
    };
    let told = async {
        while presence.send(ToPresence::Alarm).is_ok() {
            trigger.next().await?;
        }
        Ok(())
    };
    watching("stalls of memory", told).await;
}

/// Tells when pods begin to be slowed down, which is before anybody has waited for long. cgroup v1 slows
/// nobody down.
async fn watch_slowed(edges: SharedEdges<RealWorld>, presence: mpsc::UnboundedSender<ToPresence>) {
    let Some(slowed) = edges.runtime.slowed_pods() else {
        return std::future::pending().await;
    };
    // The first look may have come before there was anything to bound.
    let _ = presence.send(ToPresence::Alarm);
    let told = async {
        loop {
            // Watched anew each time: nobody is woken while it rests.
            Attribute::watch(&slowed)?.next().await?;
            if presence.send(ToPresence::Alarm).is_err() {
                return Ok(());
            }
            sleep(REST).await;
        }
    };
    watching("pods that are slowed down", told).await;
}

/// Tells when the supply of the board becomes too weak, or is not any more. Boards that do not tell are
/// looked at.
async fn watch_supply(presence: mpsc::UnboundedSender<ToPresence>) {
    let Some(alarm) = board::voltage_alarm(Path::new("/")) else {
        return std::future::pending().await;
    };
    let told = async {
        let alarm = Attribute::watch(&alarm)?;
        while presence.send(ToPresence::Alarm).is_ok() {
            alarm.next().await?;
        }
        Ok(())
    };
    watching("supply of the board", told).await;
}

/// Carries what happened to images to whoever tells of it.
async fn image_news(edges: SharedEdges<RealWorld>, local: mpsc::UnboundedSender<LocalRequest>) {
    while local.send(LocalRequest::ImageNews(edges.images.news().await)).is_ok() {}
}
