//! What an operator decided for this node: one TOML file, and a few variables of the environment
//! that override it.
//!
//! Reading it finds every mistake at once, each with its line and its rule; a key that means
//! nothing is a mistake, since it is nearly always a misspelt one. What comes out cannot be wrong in
//! itself: names are names, paths absolute, numbers within bounds. Whether files exist is found out
//! by those who open them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mote_protocol::name::{FleetName, GroupName, NodeName};
use toml::de::DeTable;

use crate::image::gc::Thresholds;
use crate::image::reference::Reference;

mod broker;
mod label;
mod problem;
mod section;

pub use broker::{BrokerConfig, BrokerUrl, BrokerUrlError, ClientCertificate, Login};
pub use label::LabelError;
pub use problem::{ConfigError, Problem, Rule};
use section::{Section, Source};

/// Where the configuration is unless `--config` or `MOTE_AGENT_CONFIG` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/mote/agent.toml";

/// Where sockets, logs and bundles are unless the configuration says otherwise.
const DEFAULT_RUN_DIR: &str = "/run/mote";

/// Longest configuration file: hundred times what the example needs.
const MAX_FILE: u64 = 256 * 1024;

/// Groups of one node: each is a subscription.
const MAX_GROUPS: usize = 16;

/// Labels of one node: they travel in every birth.
const MAX_LABELS: usize = 32;

/// Registries with settings of their own.
const MAX_REGISTRIES: usize = 16;

/// Images that are never removed.
const MAX_PINNED: usize = 64;

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
    /// Labels beside those that the node finds out itself.
    pub labels: BTreeMap<String, String>,
    /// What must survive a power cut.
    pub state_dir: PathBuf,
    /// What must not survive a reboot.
    pub run_dir: PathBuf,
    /// Name of the cgroup above all pods.
    pub cgroup_root: String,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// The broker.
    pub broker: BrokerConfig,
    /// Where people drop archives and layouts of images.
    pub import_dir: PathBuf,
    /// When images that nobody needs are removed.
    pub image_gc: Thresholds,
    /// Full references of images that never are.
    pub pinned_images: BTreeSet<String>,
    /// Registries with settings of their own.
    pub registries: Vec<RegistryConfig>,
    /// What pods can have.
    pub limits: NodeLimits,
}

/// `[[images.registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// `host` or `host:port`, as image references begin.
    pub host: String,
    /// Plain HTTP instead of HTTPS.
    pub insecure: bool,
    /// PEM file of the CAs that may have signed its certificate; the system's where unset.
    pub ca: Option<PathBuf>,
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
    if let Some(variable) = std::env::var_os("MOTE_RUN_DIR") {
        return variable.into();
    }
    let text = read(path).unwrap_or_default();
    let (table, _) = DeTable::parse_recoverable(&text);
    let value = table.get_ref().get("run_dir").and_then(|value| value.get_ref().as_str());
    value.unwrap_or(DEFAULT_RUN_DIR).into()
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

fn read_root(root: &mut Section<'_, '_>, hostname: &str) -> Option<Config> {
    let node = root.text_or("node", "MOTE_NODE").or_else(|| {
        let (key, text) = ("node (the hostname)".to_owned(), hostname.to_owned());
        Some(section::Found { text, key, line: None })
    });
    let node = root.parse::<NodeName>(node);
    let fleet = root.text_or("fleet", "MOTE_FLEET");
    let fleet = root.required::<FleetName>("fleet", fleet);
    let groups = root.list::<GroupName>("groups", MAX_GROUPS);
    let state_dir = directory(root, "state_dir", "MOTE_STATE_DIR", "/var/lib/mote");
    let run_dir = directory(root, "run_dir", "MOTE_RUN_DIR", DEFAULT_RUN_DIR);
    check_directories(root, state_dir.as_deref(), run_dir.as_deref());
    let cgroup_root = root.text("cgroup_root");
    let cgroup_root = root.parse::<CgroupName>(cgroup_root);
    let heartbeat = root.integer("heartbeat_s", 5..=86_400, 300);
    let labels = read_labels(root.table("labels"));

    let mut section = root.table("broker");
    let broker = BrokerConfig::read(&mut section);
    section.finish();
    let mut section = root.table("images");
    let import_dir = section.text("import_dir");
    let import_dir = section.path(import_dir);
    let image_gc = read_image_gc(&mut section);
    let pinned = section.list::<Reference>("pinned", MAX_PINNED);
    let registries = read_registries(&mut section);
    section.finish();
    let mut section = root.table("limits");
    let limits = read_limits(&mut section);
    section.finish();

    let state_dir = state_dir?;
    Some(Config {
        import_dir: import_dir.unwrap_or_else(|| state_dir.join("import")),
        node: node?,
        fleet: fleet?,
        groups,
        labels,
        state_dir,
        run_dir: run_dir?,
        cgroup_root: cgroup_root.map_or_else(|| "mote.slice".to_owned(), |name| name.0),
        heartbeat: Duration::from_secs(heartbeat),
        broker: broker?,
        image_gc,
        pinned_images: pinned.iter().map(ToString::to_string).collect(),
        registries,
        limits,
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

fn read_image_gc(section: &mut Section<'_, '_>) -> Thresholds {
    let default = Thresholds::default();
    let percent = |value: u64| u8::try_from(value).unwrap_or(100);
    let high = percent(section.integer("gc_high_percent", 1..=100, default.high_percent.into()));
    let low = percent(section.integer("gc_low_percent", 0..=99, default.low_percent.into()));
    if low >= high {
        let rule = format!("must be below `gc_high_percent`, which is {high}");
        section.report(None, "gc_low_percent", Rule::Invalid(rule));
    }
    let age = section.integer("gc_min_age_s", 0..=31_536_000, default.min_age.as_secs());
    Thresholds { high_percent: high, low_percent: low, min_age: Duration::from_secs(age) }
}

fn read_registries(section: &mut Section<'_, '_>) -> Vec<RegistryConfig> {
    let mut registries: Vec<RegistryConfig> = Vec::new();
    for mut entry in section.tables("registry", MAX_REGISTRIES) {
        let host = entry.text("host");
        let host = entry.required::<RegistryHost>("host", host);
        let insecure = entry.flag("insecure");
        let ca = entry.text("ca");
        let ca = entry.path(ca);
        if insecure && ca.is_some() {
            let rule = "`ca` has no meaning where `insecure` is true".into();
            entry.report(None, "ca", Rule::Invalid(rule));
        }
        if let Some(RegistryHost(host)) = host {
            if registries.iter().any(|known| known.host == host) {
                entry.report(None, "host", Rule::Invalid(format!("`{host}` is there twice")));
            }
            registries.push(RegistryConfig { host, insecure, ca });
        }
        entry.finish();
    }
    registries
}

/// `host` or `host:port`.
struct RegistryHost(String);

#[derive(Debug, thiserror::Error)]
#[error("registry must be a host or host:port, as image references begin")]
struct RegistryHostError;

impl std::str::FromStr for RegistryHost {
    type Err = RegistryHostError;
    fn from_str(text: &str) -> Result<Self, RegistryHostError> {
        // The same rules as for the broker's host and port.
        match format!("mqtt://{text}").parse::<BrokerUrl>() {
            Ok(_) if !text.ends_with('/') => Ok(Self(text.to_owned())),
            _ => Err(RegistryHostError),
        }
    }
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
