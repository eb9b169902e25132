//! The real runtime: `mote-pause`, cgroups, and helpers that call libcontainer.
//!
//! ```text
//! OciRuntime --- sandbox ---> mote-pause --- forks ---> mote-agent runtime OP --- libcontainer
//!     |                           |                              |
//!     |  cgroups, directories     +--------- parent of ----------+--> the container
//! ```
//! What exists is read from `mote-pause`, `/proc`, cgroups and each pod's directory (`layout`);
//! what is kept in memory are conversations, which are found again after a crash. Nothing here
//! calls libcontainer or clones: that is what the helpers are for (`runtime::op`).

mod attach;
pub mod bundle;
pub mod cgroup;
mod exec;
mod files;
#[doc(hidden)]
pub mod fuzz;
pub mod halt;
mod layout;
mod memory;
mod message;
mod news;
mod observe;
mod pod;
pub mod process;
mod record;
mod remove;
pub mod sandbox;
mod setup;
mod socket;
mod start;
pub mod users;
mod wait;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mote_protocol::name::Uid;
use mote_protocol::usage::Traffic;
use rustix::process::{pidfd_open, pidfd_send_signal};
use tokio::sync::mpsc;
use tracing::debug;

use self::cgroup::{Controller, Memory, Tree};
use self::layout::Layout;
use self::news::News;
use self::pod::{Ears, Pod};
use self::record::SandboxRecord;
use self::sandbox::{Program, Sandbox, SandboxError};
use crate::log::Chain;
use crate::network::{Network, Ranges};
use crate::runtime::{
    AttachRequest, Attached, BootTime, ContainerId, ExecOutcome, ExecRequest, Limits, Observed,
    Runtime, RuntimeError, RuntimeEvent, SandboxRequest, StartRequest, Usage,
};
use crate::tree::Measured;
use crate::{sys, tree};

/// Where the runtime keeps things, and how much of them.
#[derive(Clone, Debug)]
pub struct OciConfig {
    /// On tmpfs: `/run/mote`.
    pub run: PathBuf,
    /// On flash: `/var/lib/mote`.
    pub state: PathBuf,
    /// The cgroup above all pods, in every hierarchy: `mote.slice`.
    pub cgroup_root: String,
    /// The program that helpers are: `/proc/self/exe`.
    pub executable: PathBuf,
    /// No file of a container's log grows beyond this many bytes.
    pub log_bytes: u32,
    /// Files of one container's log, the current one included.
    pub log_files: u8,
    /// What all pods together may have of the machine.
    pub all_pods: Limits,
    /// Processes and threads of one pod, its `mote-pause` included; `None` is no bound.
    pub pod_pids: Option<u64>,
    /// The directory below which seccomp profiles are: `/etc/mote/seccomp`.
    pub seccomp_profiles: PathBuf,
    /// Where the addresses of pods come from; none where they have nothing but localhost.
    pub network: Option<Ranges>,
    /// Where those of services come from.
    pub services: Option<Ranges>,
}

impl Default for OciConfig {
    fn default() -> Self {
        Self {
            run: PathBuf::from("/run/mote"),
            state: PathBuf::from("/var/lib/mote"),
            cgroup_root: "mote.slice".into(),
            executable: PathBuf::from("/proc/self/exe"),
            log_bytes: 256 * 1024,
            log_files: 2,
            all_pods: Limits::default(),
            pod_pids: None,
            seccomp_profiles: PathBuf::from("/etc/mote/seccomp"),
            network: None,
            services: None,
        }
    }
}

/// What this machine can and cannot do for pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Limits that need these cgroup controllers are not enforced.
    pub missing_controllers: Vec<Controller>,
    /// There is only cgroup v2.
    pub cgroup_v2: bool,
}

/// Sandboxes and containers by `mote-pause` and libcontainer.
pub struct OciRuntime {
    layout: Layout,
    log_bytes: u32,
    log_files: u8,
    pod_pids: Option<u64>,
    /// What all pods together may have, until it is told to the kernel.
    all_pods: Mutex<Option<Limits>>,
    seccomp_profiles: PathBuf,
    tree: Tree,
    /// This program, through a mount that nobody can write to.
    helper: OwnedFd,
    pause: Program,
    news: News,
    network: Arc<Network>,
    slots: Mutex<BTreeMap<Uid, Arc<Slot>>>,
}

/// One pod: whoever talks to its sandbox first takes the lock, so that there is one conversation.
#[derive(Default)]
struct Slot {
    pod: tokio::sync::Mutex<Option<Arc<Pod>>>,
    /// It is being removed: nobody starts a new conversation.
    leaving: AtomicBool,
}

impl OciRuntime {
    /// Prepares directories and programs.
    pub fn new(
        config: &OciConfig,
        events: mpsc::Sender<RuntimeEvent>,
    ) -> Result<Self, RuntimeError> {
        let layout = Layout::new(&config.run, &config.state);
        for directory in [layout.pods(), config.state.join("pods")] {
            make_directory(&directory)?;
        }
        let bin = layout.bin().map_err(io_error("look at the runtime directory"))?;
        make_directory(&bin)?;
        let helper = sys::mount::open_read_only(&config.executable)
            .map_err(io_error("open the agent's own program read-only"))?;
        let pause = Program::extract(&bin)
            .map_err(|error| io_error("install mote-pause")(io::Error::other(error)))?;
        let tree = Tree::detect(&config.cgroup_root).map_err(cgroup_error)?;
        let network = network(config.network, &layout);
        let network = Arc::new(network.with_services(config.services, layout.served()));
        Ok(Self {
            layout,
            network,
            log_bytes: config.log_bytes,
            log_files: config.log_files,
            pod_pids: config.pod_pids,
            all_pods: Mutex::new(Some(config.all_pods)),
            seccomp_profiles: config.seccomp_profiles.clone(),
            tree,
            helper,
            pause,
            news: News::new(events),
            slots: Mutex::default(),
        })
    }

    /// What this machine can and cannot do.
    pub fn facts(&self) -> NodeFacts {
        NodeFacts {
            missing_controllers: self.tree.missing().to_vec(),
            cgroup_v2: self.tree.hierarchies().is_v2(),
        }
    }

    /// The network of its pods.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// What all pods together may have of the machine's memory in bytes, and what they use of it; none where
    /// they are not bounded.
    pub fn pods_memory(&self) -> Option<(u64, Memory)> {
        let all = self.tree.root();
        Some((all.memory_limit()?, all.memory()?))
    }

    /// Has pods slowed down that make what all of them use more than so many bytes; nobody without a number.
    /// Where that is so already, give or take `slack`, nothing is done.
    pub fn slow_pods_above(&self, bytes: Option<u64>, slack: u64) {
        if !self.tree.hierarchies().is_v2() {
            return;
        }
        let all = self.tree.root();
        let same = match (all.slowed_above(), bytes) {
            (Some(found), Some(bytes)) => found.abs_diff(bytes) <= slack,
            (found, bytes) => found == bytes,
        };
        if same {
            return;
        }
        let set = move || {
            if let Err(error) = all.slow_above(bytes) {
                debug!(error = %Chain(&error), "slow pods down");
            }
        };
        if bytes.is_some() {
            // What is above it is dropped before the kernel returns.
            tokio::task::spawn_blocking(set);
        } else {
            set();
        }
    }

    /// The file that changes when pods are slowed down, where the kernel can do so.
    pub fn slowed_pods(&self) -> Option<PathBuf> {
        self.limit_all_pods();
        self.tree.root().own_memory_events()
    }

    fn slot(&self, uid: &Uid) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(*uid).or_default())
    }

    /// The pod's live sandbox, where it can be found.
    async fn pod(&self, uid: &Uid) -> Option<Arc<Pod>> {
        self.find(uid).await.ok().flatten()
    }

    /// The pod's live sandbox, found again if an earlier agent started it. An error says that there
    /// may be one.
    async fn find(&self, uid: &Uid) -> Result<Option<Arc<Pod>>, SandboxError> {
        let slot = self.slot(uid);
        let mut known = slot.pod.lock().await;
        if let Some(pod) = known.as_ref().filter(|pod| !pod.is_over()) {
            return Ok(Some(Arc::clone(pod)));
        }
        if slot.leaving.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let ears = Ears::new(*uid, &self.tree, &self.layout, &self.news);
        let adopted = match Sandbox::adopt(&self.layout.pod(uid), ears.listener()).await {
            Ok(sandbox) => Some(sandbox),
            Err(error) if error.is_passing() => return Err(error),
            Err(_) => None,
        };
        // Commands of an agent that died are left to their ends: one may be a hook in the middle of
        // its work, and none outlives its container.
        *known = adopted.map(|sandbox| Arc::new(Pod::new(sandbox, ears)));
        Ok(known.clone())
    }

    fn send_signal(&self, id: &ContainerId, number: i32) -> Result<(), RuntimeError> {
        let Some(process) = record::process(&self.layout.attempt(id)) else { return Ok(()) };
        let signal = sys::process::signal(number).ok_or(io::ErrorKind::InvalidInput.into());
        let signal = signal.map_err(io_error(format!("send signal {number} to {id}")))?;
        let pid = rustix::process::Pid::from_raw(process.pid);
        let Some(Ok(handle)) = pid.map(|pid| pidfd_open(pid, rustix::process::PidfdFlags::empty()))
        else {
            return Ok(());
        };
        // Checked after the handle was opened: from then on the number cannot change its meaning.
        if !process::is_running(process) {
            return Ok(());
        }
        match pidfd_send_signal(handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(io_error(format!("send signal {number} to {id}"))(error.into())),
        }
    }
}

impl Runtime for OciRuntime {
    async fn list(&self) -> Result<Observed, RuntimeError> {
        Ok(self.observe().await)
    }

    async fn create_sandbox(&self, request: &SandboxRequest) -> Result<Vec<IpAddr>, RuntimeError> {
        self.set_up(request).await
    }

    async fn start(&self, request: &StartRequest) -> Result<BootTime, RuntimeError> {
        self.start_attempt(request).await
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.send_signal(id, signal)
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.tree.container(id).kill().map_err(cgroup_error)
    }

    async fn exec(&self, request: &ExecRequest) -> Result<ExecOutcome, RuntimeError> {
        self.execute(request).await
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Attached, RuntimeError> {
        self.execute_attached(request).await
    }

    fn log(&self, id: &ContainerId) -> Option<PathBuf> {
        Some(self.layout.log_file(id))
    }

    async fn written(&self, id: &ContainerId) -> Measured {
        tree::usage(self.layout.written(id)).await
    }

    fn pod_usage(&self, uid: &Uid) -> Usage {
        self.tree.pod(uid).usage()
    }

    fn container_usage(&self, id: &ContainerId) -> Usage {
        self.tree.container(id).usage()
    }

    fn traffic(&self) -> BTreeMap<Uid, Traffic> {
        self.network.traffic()
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.remove_attempt(id).await
    }

    async fn stop_sandbox(&self, uid: &Uid) -> Result<(), RuntimeError> {
        self.stop_pod(uid).await
    }

    async fn remove_sandbox(&self, uid: &Uid) -> Result<(), RuntimeError> {
        self.remove_pod(uid).await
    }
}

/// The network as the pods' records tell of it.
fn network(ranges: Option<Ranges>, layout: &Layout) -> Network {
    let (mut pods, mut unsure) = (Vec::new(), false);
    for uid in layout.list_pods() {
        match SandboxRecord::read(&layout.sandbox(&uid)) {
            Ok(Some(record)) if !record.share.addresses.is_empty() => {
                pods.push((uid, record.share));
            }
            Ok(_) => {}
            Err(_) => unsure = true,
        }
    }
    Network::new(ranges, pods, unsure)
}

/// Makes a directory that only root can look into, with what is above it.
fn make_directory(path: &Path) -> Result<(), RuntimeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(io_error(format!("create directory `{}`", path.display())))
}

fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> RuntimeError {
    move |source| RuntimeError::Io { doing: doing.into(), source }
}

fn cgroup_error(error: cgroup::CgroupError) -> RuntimeError {
    let doing = error.to_string();
    RuntimeError::Io { doing, source: error.source }
}

/// An error and its causes as one text, for a cause that is shown to a person.
fn cause(error: &dyn std::error::Error) -> String {
    Chain(error).to_string()
}
