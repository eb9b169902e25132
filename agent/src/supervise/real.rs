//! The real world: every port with the machine behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use mote_protocol::topic::{Topic, filter};
use tokio::sync::mpsc;

use super::SuperviseError;
use crate::config::Config;
use crate::handler::NodeHandlers;
use crate::image::platform::Platform;
use crate::image::registry::{Host, Settings};
use crate::image::{Puller, PullerConfig};
use crate::link::session::{LinkOptions, MqttLink, Subscription};
use crate::node::machine::{Machine, client_id};
use crate::ports::{FlashDisk, KernelClock, KernelRandom, KernelWallClock};
use crate::runtime::RuntimeEvent;
use crate::runtime::oci::{OciConfig, OciRuntime};
use crate::world::{Edges, SharedEdges, World};

/// This program, also after its file was replaced.
const PROGRAM: &str = "/proc/self/exe";

/// Events of containers on their way to the steward. If some find no room, it looks at them all.
const RUNTIME_EVENTS: usize = 64;

/// The ports of a real node.
pub(super) enum RealWorld {}

impl World for RealWorld {
    type Runtime = Rc<OciRuntime>;
    type Images = Puller;
    type Handlers = NodeHandlers<OciRuntime>;
    type Link = MqttLink;
    type Disk = FlashDisk;
    type Clock = KernelClock;
    type WallClock = KernelWallClock;
    type Random = KernelRandom;
}

/// Opens everything that several tasks use.
pub(super) fn edges(
    config: &Config,
    pull_cgroup: Option<PathBuf>,
) -> Result<(SharedEdges<RealWorld>, mpsc::Receiver<RuntimeEvent>), SuperviseError> {
    let (events, heard) = mpsc::channel(RUNTIME_EVENTS);
    let oci = OciConfig {
        run: config.run_dir.clone(),
        state: config.state_dir.clone(),
        cgroup_root: config.cgroup_root.clone(),
        executable: PROGRAM.into(),
        pod_pids: config.limits.pod_pids,
        ..OciConfig::default()
    };
    let runtime = Rc::new(OciRuntime::new(&oci, events).map_err(SuperviseError::Containers)?);
    let handlers = NodeHandlers::new(Rc::clone(&runtime));
    let images = Puller::open(puller(config, pull_cgroup)).map_err(SuperviseError::Images)?;
    let disk = FlashDisk::open(&config.state_dir).map_err(SuperviseError::Disk)?;
    let (clock, wall, random) = (KernelClock, KernelWallClock, KernelRandom);
    Ok((Rc::new(Edges { runtime, images, handlers, disk, clock, wall, random }), heard))
}

fn puller(config: &Config, cgroup: Option<PathBuf>) -> PullerConfig {
    let hosts = config.registries.iter().map(|registry| Host {
        host: registry.host.clone(),
        plain_http: registry.insecure,
        ca: registry.ca.clone(),
    });
    PullerConfig {
        program: PROGRAM.into(),
        registries: Settings { hosts: hosts.collect(), ..Settings::default() },
        cgroup,
        drop_dir: Some(config.import_dir.clone()),
        thresholds: config.image_gc,
        pinned: config.pinned_images.clone(),
        ..PullerConfig::new(config.state_dir.join("images"))
    }
}

/// The machine below `/`.
pub(super) fn machine(config: &Config) -> Machine {
    let Platform { architecture, variant, .. } = Platform::host();
    Machine::read(Path::new("/"), &config.state_dir, (&architecture, &variant))
}

/// The labels of the configuration, and those that every node of Kubernetes has.
pub(super) fn labels(config: &Config, machine: &Machine) -> BTreeMap<String, String> {
    let mut labels = config.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", config.node.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", &machine.info.architecture),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// What all connections have in common.
pub(super) fn link_options(config: &Config, machine: &Machine) -> LinkOptions {
    let (fleet, node) = (&config.fleet, &config.node);
    LinkOptions {
        broker: config.broker.clone(),
        client_id: client_id(node, &machine.board),
        identity: machine.board.identity,
        will_topic: filter::of_nodes(fleet, Some(node.as_str()), &Topic::Will),
        subscriptions: Subscription::of_node(fleet, node, &config.groups),
    }
}
