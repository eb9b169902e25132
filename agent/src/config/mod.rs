//! What an operator decided for this node: one TOML file, and a few variables of the environment
//! that override it.
//!
//! Reading it finds every mistake at once, each with its line and its rule; a key that means
//! nothing is a mistake, since it is nearly always a misspelt one. What comes out cannot be wrong in
//! itself: names are names, paths absolute, numbers within bounds. Whether files exist is found out
//! by those who open them.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::device::Pattern;
use crate::eviction::Settings;
use crate::metrics::MetricsConfig;
use crate::network::Ranges;
use crate::pod::enforcement::Right;
use crate::shutdown::Shutdown;
use crate::streams::Allowed;
use crate::usage::Reports;
use mote_protocol::name::{FleetName, GroupName, NodeName};
use mote_protocol::node::Taint;
use toml::de::DeTable;

mod broker;
mod eviction;
mod external_ip;
mod images;
mod label;
mod metrics;
mod network;
mod problem;
mod reports;
mod section;
mod security;
mod shutdown;

pub use broker::{BrokerConfig, BrokerUrl, BrokerUrlError, ClientCertificate, Login};
use external_ip::ExternalIp;
pub use images::ImagesConfig;
pub use label::LabelError;
pub use network::NamesConfig;
pub use problem::{ConfigError, Problem, Rule};
use section::{Section, Source};

/// Where the configuration is unless `--config` or `MOTE_AGENT_CONFIG` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/mote/agent.toml";

/// Where sockets, logs and bundles are unless the configuration says otherwise.
const DEFAULT_RUN_DIR: &str = "/run/mote";

/// Where what must survive a power cut is unless the configuration says otherwise.
const DEFAULT_STATE_DIR: &str = "/var/lib/mote";

/// Where files are that ask for pods unless the configuration says otherwise.
const DEFAULT_STATIC_POD_PATH: &str = "/etc/mote/manifests";

/// The cgroup above all pods unless the configuration says otherwise.
const DEFAULT_CGROUP_ROOT: &str = "mote.slice";

/// Longest configuration file: hundred times what the example needs.
const MAX_FILE: u64 = 256 * 1024;

/// Groups of one node: each is a subscription.
const MAX_GROUPS: usize = 16;

/// Labels of one node: they travel in every birth.
const MAX_LABELS: usize = 32;

/// Taints of one node, likewise.
const MAX_TAINTS: usize = 16;

/// Addresses that the world knows a node by: all that a node tells of itself is less than 512 bytes.
const MAX_EXTERNAL_IPS: usize = 4;

/// Longest run directory: the path of a unix socket ends at 108 bytes, and a pod's socket lies
/// `/pods/UID/pause.sock` below it.
const MAX_RUN_DIR: usize = 50;

/// Everything that an operator decided for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This node's name.
    pub node: NodeName,
    /// The fleet it belongs to.
    pub fleet: FleetName,
    /// The groups whose objects it runs beside its own.
    pub groups: Vec<GroupName>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Labels beside those that the node finds out itself.
    pub labels: BTreeMap<String, String>,
    /// Addresses that the world knows it by.
    pub external_ips: Vec<IpAddr>,
    /// What must survive a power cut.
    pub state_dir: PathBuf,
    /// What must not survive a reboot.
    pub run_dir: PathBuf,
    /// Files that ask for pods.
    pub static_pod_path: PathBuf,
    /// Name of the cgroup above all pods.
    pub cgroup_root: String,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// The broker.
    pub broker: BrokerConfig,
    /// Images: where they come from, and how long they stay.
    pub images: ImagesConfig,
    /// When the node is short of something.
    pub eviction: Settings,
    /// What pods can have.
    pub limits: NodeLimits,
    /// Where the addresses of pods come from; none where they have nothing but localhost.
    pub network: Option<Ranges>,
    /// Who answers their questions about names.
    pub names: NamesConfig,
    /// Where the addresses of services come from; none where they have none.
    pub services: Option<Ranges>,
    /// Device nodes that containers can have.
    pub devices: Vec<Pattern>,
    /// Sysctls that pods may set beside the safe ones.
    pub unsafe_sysctls: Vec<String>,
    /// The directory below which seccomp profiles are.
    pub seccomp_profiles: PathBuf,
    /// Rights without which pods run where the node cannot enforce them.
    pub allow_unenforced: Vec<Right>,
    /// What operators may do in pods that run.
    pub streams: Allowed,
    /// How the machine goes down.
    pub shutdown: Shutdown,
    /// How often what is used is reported.
    pub reports: Reports,
    /// Where what is used may be scraped.
    pub metrics: MetricsConfig,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Pods at the same time.
    pub pods: u32,
    /// CPU kept for the system, in thousandths of a core.
    pub reserved_cpu_milli: u32,
    /// Memory kept for the system, in MiB.
    pub reserved_memory_mib: u64,
    /// Processes and threads of one pod, as the kubelet's `podPidsLimit`; `None` is no bound.
    pub pod_pids: Option<u64>,
}

/// The run directory alone, for questions to an agent that runs: it may well run on an older
/// configuration than the broken one that is in the file now.
pub fn run_dir(path: &Path) -> PathBuf {
    directory_alone(path, "run_dir", "MOTE_RUN_DIR", DEFAULT_RUN_DIR)
}

/// The state directory alone, for looks at a node whose configuration is broken.
pub fn state_dir(path: &Path) -> PathBuf {
    directory_alone(path, "state_dir", "MOTE_STATE_DIR", DEFAULT_STATE_DIR)
}

/// The name of the cgroup above all pods alone, for ending them whatever else the file says.
pub fn cgroup_root(path: &Path) -> String {
    let text = read(path).unwrap_or_default();
    let (table, _) = DeTable::parse_recoverable(&text);
    let value = table.get_ref().get("cgroup_root").and_then(|value| value.get_ref().as_str());
    let name = value.and_then(|value| value.parse::<CgroupName>().ok());
    name.map_or_else(|| DEFAULT_CGROUP_ROOT.to_owned(), |name| name.0)
}

/// How long pods get to end alone, likewise. What is wrong counts as though it were not there.
pub fn shutdown(path: &Path) -> Shutdown {
    let text = read(path).unwrap_or_default();
    let (table, _) = DeTable::parse_recoverable(&text);
    let source = Source::new(&text, &|_| None);
    Section::root(&source, table.get_ref()).within("shutdown", shutdown::read)
}

fn directory_alone(path: &Path, key: &str, variable: &str, default: &str) -> PathBuf {
    if let Some(variable) = std::env::var_os(variable) {
        return variable.into();
    }
    let text = read(path).unwrap_or_default();
    let (table, _) = DeTable::parse_recoverable(&text);
    let value = table.get_ref().get(key).and_then(|value| value.get_ref().as_str());
    value.unwrap_or(default).into()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(std::io::Error::other(format!("file exceeds {MAX_FILE} bytes"))));
    }
    Ok(text)
}

impl Config {
    /// Reads the file and the process's environment.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let hostname = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        Self::parse(&text, &hostname, &|variable| std::env::var(variable).ok())
            .map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
    }

    /// Reads a text, with the environment that `environment` answers for.
    pub fn parse(
        text: &str,
        hostname: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Problem>> {
        let source = Source::new(text, environment);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let line = error.span().map(|span| source.line(span.start));
            source.report(line, "", Rule::Syntax(error.message().to_owned()));
        }
        let mut root = Section::root(&source, table.get_ref());
        let config = read_root(&mut root, hostname);
        root.finish();
        let problems = source.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems),
        }
    }
}

/// Long, as it is one line for each key.
fn read_root(root: &mut Section<'_, '_>, hostname: &str) -> Option<Config> {
    let node = root.text_or("node", "MOTE_NODE").or_else(|| {
        let (key, text) = ("node (the hostname)".to_owned(), hostname.to_owned());
        Some(section::Found { text, key, line: None })
    });
    let node = root.parse::<NodeName>(node);
    let fleet = root.text_or("fleet", "MOTE_FLEET");
    let fleet = root.required::<FleetName>("fleet", fleet);
    let groups = root.list::<GroupName>("groups", MAX_GROUPS);
    let state_dir = directory(root, "state_dir", "MOTE_STATE_DIR", DEFAULT_STATE_DIR);
    let run_dir = directory(root, "run_dir", "MOTE_RUN_DIR", DEFAULT_RUN_DIR);
    check_directories(root, state_dir.as_deref(), run_dir.as_deref());
    let static_pod_path =
        directory(root, "static_pod_path", "MOTE_STATIC_POD_PATH", DEFAULT_STATIC_POD_PATH);
    let cgroup_root = root.text("cgroup_root");
    let cgroup_root = root.parse::<CgroupName>(cgroup_root);
    let heartbeat = root.integer("heartbeat_s", 5..=86_400, 300);
    let taints = read_taints(root);
    let labels = read_labels(root.table("labels"));
    let external_ips = root.list::<ExternalIp>("external_ips", MAX_EXTERNAL_IPS);

    let broker = root.within("broker", BrokerConfig::read);
    let images = root.within("images", |section| ImagesConfig::read(section, state_dir.as_deref()));
    let limits = root.within("limits", read_limits);
    let (network, services, names) = root.within("network", |section| {
        let pods = network::read(section, &limits);
        let services = network::read_services(section, pods);
        (pods, services, network::read_names(section, pods.is_some()))
    });
    let eviction = root.within("eviction", eviction::read);
    let devices = security::devices(root);
    let (unsafe_sysctls, seccomp_profiles, allow_unenforced) = root.within("security", |section| {
        let sysctls = security::unsafe_sysctls(section);
        (sysctls, security::seccomp_profiles(section), security::allow_unenforced(section))
    });
    let streams = root.within("streams", |section| Allowed {
        exec: section.flag("exec"),
        port_forward: section.flag("port_forward"),
    });
    let shutdown = root.within("shutdown", shutdown::read);

    let reports = root.within("reports", reports::read);
    let metrics = root.within("metrics", metrics::read);

    Some(Config {
        node: node?,
        fleet: fleet?,
        groups,
        taints,
        labels,
        external_ips: external_ips.into_iter().map(|ip| ip.0).collect(),
        state_dir: state_dir?,
        run_dir: run_dir?,
        static_pod_path: static_pod_path?,
        cgroup_root: cgroup_root.map_or_else(|| DEFAULT_CGROUP_ROOT.to_owned(), |name| name.0),
        heartbeat: Duration::from_secs(heartbeat),
        broker: broker?,
        images,
        eviction,
        limits,
        network,
        names: names?,
        services,
        devices,
        unsafe_sysctls,
        seccomp_profiles: seccomp_profiles?,
        allow_unenforced,
        streams,
        shutdown,
        reports,
        metrics,
    })
}

fn directory(
    root: &mut Section<'_, '_>,
    key: &'static str,
    variable: &str,
    default: &str,
) -> Option<PathBuf> {
    let found = root.text_or(key, variable);
    if found.is_none() {
        return Some(PathBuf::from(default));
    }
    root.path(found)
}

fn check_directories(root: &Section<'_, '_>, state: Option<&Path>, run: Option<&Path>) {
    let (Some(state), Some(run)) = (state, run) else { return };
    let len = run.as_os_str().len();
    if len > MAX_RUN_DIR {
        let rule = format!(
            "path has {len} characters, more than {MAX_RUN_DIR}: sockets below it would not fit"
        );
        root.report(None, "run_dir", Rule::Invalid(rule));
    }
    if state.starts_with(run) || run.starts_with(state) {
        let rule = "must not lie in `state_dir`, nor `state_dir` in it".to_owned();
        root.report(None, "run_dir", Rule::Invalid(rule));
    }
}

/// The name of a cgroup: one component of a path.
struct CgroupName(String);

impl std::str::FromStr for CgroupName {
    type Err = CgroupNameError;
    fn from_str(text: &str) -> Result<Self, CgroupNameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let well_formed = !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed);
        if well_formed && !text.starts_with('.') {
            Ok(Self(text.to_owned()))
        } else {
            Err(CgroupNameError)
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cgroup name must be 1 to 64 letters, digits, `-`, `_` and `.`, and not begin with `.`")]
struct CgroupNameError;

fn read_labels(mut section: Section<'_, '_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let entries = section.entries();
    if entries.len() > MAX_LABELS {
        let rule = Rule::TooMany { found: entries.len(), max: MAX_LABELS };
        section.report(None, "", rule);
        return labels;
    }
    for (key, found) in entries {
        match label::check(&key, &found.text) {
            Ok(()) => drop(labels.insert(key, found.text)),
            Err(error) => section.report(found.line, &key, Rule::Invalid(error.to_string())),
        }
    }
    labels
}

fn read_taints(root: &mut Section<'_, '_>) -> Vec<Taint> {
    let taints = root.list::<Taint>("taints", MAX_TAINTS);
    for taint in &taints {
        if let Err(error) = label::check(&taint.key, &taint.value) {
            root.report(None, "taints", Rule::Invalid(format!("`{taint}`: {error}")));
        }
    }
    taints
}

fn read_limits(section: &mut Section<'_, '_>) -> NodeLimits {
    // The bound on pods is the kubelet's default for machines hundreds of times as large.
    let pods = section.integer("pods", 1..=110, 32);
    let cpu = section.integer("reserved_cpu_milli", 0..=64_000, 100);
    let memory = section.integer("reserved_memory_mib", 0..=1_048_576, 32);
    // Kubernetes knows none unless told: its machines have more than a runaway pod can take.
    let pids = section.integer("pod_pids", 0..=4_194_304, 1024);
    NodeLimits {
        pods: u32::try_from(pods).unwrap_or(u32::MAX),
        reserved_cpu_milli: u32::try_from(cpu).unwrap_or(u32::MAX),
        reserved_memory_mib: memory,
        pod_pids: (pids > 0).then_some(pids),
    }
}

#[cfg(test)]
mod tests;
