//! The real world: every port with the machine behind it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use mote_protocol::topic::{Topic, filter};
use mote_registry::Settings;
use mote_registry::platform::Platform;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::SuperviseError;
use crate::config::{Config, NodeLimits};
use crate::handler::NodeHandlers;
use crate::image::{Puller, PullerConfig};
use crate::link::session::{LinkOptions, MqttLink, Subscription};
use crate::network::Network;
use crate::node::capacity::Totals;
use crate::node::machine::{Machine, client_id};
use crate::node::readings::NameFiles;
use crate::pod::contents::names::Cluster;
use crate::pod::resources;
use crate::ports::{FlashDisk, KernelClock, KernelRandom, KernelWallClock, LockFiles};
use crate::resolver::Resolver;
use crate::resolver::door::{self, Open};
use crate::runtime::oci::{OciConfig, OciRuntime};
use crate::runtime::{Limits, RuntimeEvent};
use crate::services::Table;
use crate::sys::datagram;
use crate::volume::NodeVolumes;
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
    type Volumes = NodeVolumes;
    type Handlers = NodeHandlers<OciRuntime>;
    type Link = MqttLink;
    type Disk = FlashDisk;
    type Clock = KernelClock;
    type WallClock = KernelWallClock;
    type Locks = LockFiles;
    type Random = KernelRandom;
}

/// Opens everything that several tasks use.
pub(super) fn edges(
    config: &Config,
    totals: &Totals,
    pull_cgroup: Option<PathBuf>,
    seen: watch::Receiver<i64>,
) -> Result<(SharedEdges<RealWorld>, mpsc::Receiver<RuntimeEvent>), SuperviseError> {
    let (events, heard) = mpsc::channel(RUNTIME_EVENTS);
    let oci = OciConfig {
        run: config.run_dir.clone(),
        state: config.state_dir.clone(),
        cgroup_root: config.cgroup_root.clone(),
        executable: PROGRAM.into(),
        all_pods: all_pods(totals, &config.limits),
        pod_pids: config.limits.pod_pids,
        seccomp_profiles: config.seccomp_profiles.clone(),
        network: config.network,
        services: config.services,
        ..OciConfig::default()
    };
    let runtime = Rc::new(OciRuntime::new(&oci, events).map_err(SuperviseError::Containers)?);
    let handlers = NodeHandlers::new(Rc::clone(&runtime));
    let puller = PullerConfig { seen: Some(seen), ..puller(config, pull_cgroup) };
    let images = Puller::open(puller).map_err(SuperviseError::Images)?;
    let volumes = NodeVolumes::new(&config.run_dir, &config.state_dir);
    let disk = FlashDisk::open(&config.state_dir).map_err(SuperviseError::Disk)?;
    let (clock, wall, random) = (KernelClock, KernelWallClock, KernelRandom);
    let locks = LockFiles::below(&config.run_dir);
    let edges = Edges { runtime, images, volumes, handlers, disk, clock, wall, locks, random };
    Ok((Rc::new(edges), heard))
}

/// What pods may have of the machine all together, as a kubelet bounds them; no memory where nobody knows
/// how much there is.
fn all_pods(totals: &Totals, limits: &NodeLimits) -> Limits {
    let memory_kib =
        totals.memory_kib.saturating_sub(limits.reserved_memory_mib.saturating_mul(1024));
    let milli = totals.cpus.saturating_mul(1000).saturating_sub(limits.reserved_cpu_milli);
    Limits {
        memory_bytes: Some(memory_kib.saturating_mul(1024)).filter(|bytes| *bytes > 0),
        cpu_shares: Some(resources::shares(milli.into())),
        ..Limits::default()
    }
}

fn puller(config: &Config, cgroup: Option<PathBuf>) -> PullerConfig {
    let images = config.images.clone();
    for what in &images.passed_over {
        warn!(what, "variable of the environment passed over");
    }
    let credential_files = credential_files(&config.state_dir, std::env::var_os("HOME"));
    PullerConfig {
        program: PROGRAM.into(),
        registries: Settings { credential_files, ..images.registries },
        cgroup,
        drop_dir: Some(images.import_dir),
        thresholds: images.gc,
        pinned: images.pinned,
        ..PullerConfig::new(config.state_dir.join("images"))
    }
}

/// Where a kubelet looks for docker's files, in its order (`pkg/credentialprovider/config.go`): our
/// state directory stands for its root directory, and what it finds in the directory that it was
/// started in is left out, because `/` is in the list already.
fn credential_files(state_dir: &Path, home: Option<OsString>) -> Vec<PathBuf> {
    let (root, home) = (PathBuf::from("/"), home.map(PathBuf::from));
    let in_home = home.as_ref().map(|home| home.join(".docker/config.json"));
    let newer = [state_dir.join("config.json"), root.join("config.json")].into_iter();
    let newer = newer.chain(in_home).chain([root.join(".docker/config.json")]);
    let older = [Some(state_dir.to_owned()), home, Some(root)].into_iter().flatten();
    newer.chain(older.map(|directory| directory.join(".dockercfg"))).collect()
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

/// Who answers pods' questions about names, where somebody is to; and where the node finds names. Where
/// nobody can, pods ask whom the node asks.
pub(super) fn resolver(
    config: &Config,
    network: &Network,
    tables: watch::Receiver<Arc<Table>>,
) -> (Option<Resolver>, NameFiles) {
    let resolv_conf = config.names.resolv_conf.clone();
    let mut files = NameFiles { resolv_conf, cluster: None };
    // Also where nobody answers any more: then they are closed here.
    let kept = datagram::inherited();
    if !config.names.resolver {
        door::let_go(kept);
        return (None, files);
    }
    let domain = config.names.domain.clone();
    let opened = Open::new(kept).and_then(|open| {
        let doors = open.doors()?;
        let resolver = Resolver::new(open, tables, (domain.to_string(), files.clone()))?;
        Ok((resolver, doors))
    });
    match opened {
        Ok((resolver, doors)) => {
            network.lead_questions(doors);
            let (pods, node) = (door::PODS.into(), door::NODE.into());
            files.cluster = Some(Cluster { domain, pods, node });
            (Some(resolver), files)
        }
        Err(error) => {
            warn!(%error, "answer questions about names: pods ask whom the node asks");
            (None, files)
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_looked_for_where_a_kubelet_looks() {
        let shown = |home: Option<&str>| {
            let files = credential_files(Path::new("/s"), home.map(OsString::from));
            files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let all = [
            "/s/config.json",
            "/config.json",
            "/home/pi/.docker/config.json",
            "/.docker/config.json",
            "/s/.dockercfg",
            "/home/pi/.dockercfg",
            "/.dockercfg",
        ];
        assert_eq!(shown(Some("/home/pi")), all);
        let without_home: Vec<_> = all.into_iter().filter(|path| !path.contains("home")).collect();
        assert_eq!(shown(None), without_home);
    }
}
