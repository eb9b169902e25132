//! Runs sandboxes and containers, and tells what became of them.
//!
//! [`Runtime`] is the port between decisions and the kernel. The real one (`oci`) asks the pod's
//! `mote-pause` to run short-lived helpers, the only callers of libcontainer; the simulated one
//! lives with the simulator. Nothing here decides: it does what it is told, once, and reports.

pub mod apparmor;
mod error;
mod observed;
pub mod oci;
pub mod op;
mod rights;
mod terminal;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::command::WindowSize;
use mote_protocol::name::Uid;
use mote_protocol::pod::MountPropagation;
use mote_protocol::usage::Traffic;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

pub use error::{Retry, RuntimeError};
pub use observed::{
    Observed, ObservedContainer, ObservedPod, ObservedSandbox, ObservedState, Origin, Silence,
};
pub use rights::{AppArmor, Rights, Seccomp};
pub use terminal::Terminal;

use crate::network::port::PortMap;
use crate::tree::Measured;

/// One run of one container of one pod: a restart is another attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    /// The pod it belongs to.
    pub pod: Uid,
    /// The container's name in the pod's spec.
    pub name: String,
    /// 0 for the first run, one more for each restart.
    pub attempt: u32,
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.pod, self.name, self.attempt)
    }
}

/// A process that cannot be confused with a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Number in the host's pid namespace.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`, in clock ticks since boot (proc(5)).
    pub start_ticks: u64,
}

/// Time since boot, suspend included (`CLOCK_BOOTTIME`): survives every step of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub Duration);

/// How a process ended, as `waitpid` told `mote-pause`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit status, or 128 + the signal's number.
    pub code: i32,
    /// The kernel's OOM killer ended it, or one of its children.
    pub oom_killed: bool,
    /// When it was reaped.
    pub at: BootTime,
    /// Why, in the container's own words, as its [`TerminationMessage`] says where to find them;
    /// at most [`MAX_TERMINATION_MESSAGE`](mote_protocol::limits::MAX_TERMINATION_MESSAGE) bytes.
    pub message: String,
}

/// Namespaces a pod shares with the host instead of having its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostNamespaces {
    /// `spec.hostNetwork` (the UTS namespace goes with it).
    pub network: bool,
    /// `spec.hostPID`.
    pub pid: bool,
    /// `spec.hostIPC`.
    pub ipc: bool,
}

/// A pod-level or container-level limit set; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU shares in the kubelet's v1 unit (2..=262144); converted on cgroup v2.
    pub cpu_shares: Option<u64>,
    /// Quota in microseconds per 100 ms period.
    pub cpu_quota_us: Option<u64>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Greatest user or group id, as in Kubernetes. The kernel takes the greatest number of all for "leave it
/// as it is", which is root.
pub const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// Users, and groups, of a pod that has its own: as many as the kubelet gives.
pub const OWN_USERS: u32 = 1 << 16;

/// What a pod needs before its first container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxRequest {
    /// The pod.
    pub uid: Uid,
    /// What it is.
    pub origin: Origin,
    /// The hostname its containers see (already cut to 63 characters).
    pub hostname: String,
    /// What it shares with the host.
    pub host: HostNamespaces,
    /// All containers share one PID namespace.
    pub share_process_namespace: bool,
    /// `hostUsers: false`: its users are not the host's, not even root.
    pub own_users: bool,
    /// Ports of the node that lead to it.
    pub ports: Vec<PortMap>,
    /// Limits of the whole pod.
    pub limits: Limits,
}

/// Where a container says why it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TerminationMessage {
    /// `terminationMessagePath`: a file that it finds there, empty; none where this is empty.
    pub path: String,
    /// `terminationMessagePolicy: FallbackToLogsOnError`: the end of its log, where it failed and
    /// wrote nothing to the file.
    pub falls_back_to_log: bool,
}

/// Where a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host.
    Path(PathBuf),
    /// Layer directories of an image, lowest first; nothing is written to them.
    Layers(Vec<PathBuf>),
}

/// A volume, or a part of one, as a container sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The name of the volume, for messages.
    pub name: String,
    /// Where it is.
    pub source: MountSource,
    /// The part of it that is mounted, as a relative path without `..`; all of it where empty.
    pub sub_path: String,
    /// Where it is seen.
    pub target: String,
    /// Nothing can be written.
    pub read_only: bool,
    /// A part that is not there is made, as an empty directory.
    pub makes_parts: bool,
    /// Programs in it can be executed, and be another user's, whatever the file system that it is
    /// on says: Debian mounts `/run` with `noexec`, and scripts come in `ConfigMap`s.
    pub executable: bool,
    /// Which mounts of the host are seen in it, and the other way round.
    pub propagation: MountPropagation,
}

/// A file of a pod, the same for all its containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFile {
    /// Its name on the node.
    pub name: &'static str,
    /// Where containers find it.
    pub target: &'static str,
    /// What is in it.
    pub text: String,
}

/// Everything needed to start one attempt of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRequest {
    /// Which attempt.
    pub id: ContainerId,
    /// Layer directories of its image, lowest first.
    pub layers: Vec<PathBuf>,
    /// Its volumes, in the order of its spec.
    pub mounts: Vec<Mount>,
    /// Files of its pod that it finds, written anew.
    pub files: Vec<PodFile>,
    /// Device nodes of the host that it gets, at the same paths.
    pub devices: Vec<PathBuf>,
    /// Settings of the kernel that belong to its pod's namespaces: name, with dots, and value.
    pub sysctls: Vec<(String, String)>,
    /// The whole command line (entrypoint and arguments, expanded); not empty.
    pub args: Vec<String>,
    /// The whole environment as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// The image's USER, used where [`Rights::user`] is unset: `name`, `uid` or `uid:gid`.
    pub image_user: String,
    /// What it may do.
    pub rights: Rights,
    /// Its rights are meant for users of its pod's own: in a sandbox without them it is not started.
    pub own_users: bool,
    /// Its own limits.
    pub limits: Limits,
    /// `oom_score_adj` of its processes.
    pub oom_score_adj: i32,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// Where it says why it ended.
    pub termination_message: TerminationMessage,
    /// Means nothing to the runtime, which keeps it beside the attempt and gives it back with
    /// [`ObservedContainer::tag`]: how the next agent knows what an attempt was made from.
    pub tag: String,
}

/// A command run beside a container's first process, in its namespaces and with its rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecRequest {
    /// Where.
    pub id: ContainerId,
    /// The command line.
    pub args: Vec<String>,
    /// Killed after this long.
    pub timeout: Option<Duration>,
    /// Output kept, stdout then stderr together; more is dropped.
    pub output_limit: usize,
}

/// How an [`ExecRequest`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Exit status, or 128 + signal; `None` when the timeout ended it.
    pub code: Option<i32>,
    /// What it printed, up to the limit.
    pub output: Vec<u8>,
}

/// A command run beside a container's first process, for somebody who is attached to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachRequest {
    /// Where.
    pub id: ContainerId,
    /// The command line.
    pub args: Vec<String>,
    /// Somebody sends what it reads.
    pub stdin: bool,
    /// It has a terminal of this size instead of pipes.
    pub terminal: Option<WindowSize>,
}

/// A command that runs, and what it is attached to.
pub struct Attached {
    /// What it reads. Ends where this is dropped.
    pub input: Option<Box<dyn AsyncWrite + Unpin>>,
    /// What it writes, to a terminal also as its errors.
    pub output: Box<dyn AsyncRead + Unpin>,
    /// Its errors, where it has no terminal.
    pub error: Option<Box<dyn AsyncRead + Unpin>>,
    /// Its terminal, which is hung up when this, input and output are dropped.
    pub terminal: Option<Terminal>,
    /// Its exit status, or 128 + signal; none where the sandbox is gone. To drop it kills the command,
    /// with all that it started and that did not leave its session.
    pub exit: Pin<Box<dyn Future<Output = Option<i32>>>>,
}

/// What a pod or a container uses, as far as the kernel counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that cannot be had back without swapping or stopping something (the kubelet's working
    /// set), in bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Time on CPUs so far, in microseconds.
    pub cpu_us: Option<u64>,
}

/// What the runtime tells without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A container's first process ended.
    Exited {
        /// Which attempt.
        id: ContainerId,
        /// How.
        exit: Exit,
    },
    /// A pod's `mote-pause` died: its containers have lost their parent and namespaces' holder.
    SandboxDied {
        /// Which pod.
        uid: Uid,
    },
    /// There were more events than had room: what they told is found by [`Runtime::list`] only.
    Missed,
}

/// Sandboxes and containers of this node.
///
/// Every call is idempotent: repeating it after a crash of the agent ends in the same state.
/// Events come through the channel given at construction. Where it has no room for one,
/// [`RuntimeEvent::Missed`] follows as soon as it has: then [`Runtime::list`] tells the rest.
pub trait Runtime {
    /// Everything of ours that exists now: from the kernel and each pod's directory, never from a
    /// cache of ours. One pod that gives no answer hides no other.
    fn list(&self) -> impl Future<Output = Result<Observed, RuntimeError>>;

    /// Sets up a pod's cgroup, `mote-pause`, namespaces and network. A live sandbox is left as it is.
    /// Returns the addresses that the pod has for its own: none where it has the host's, or nothing
    /// but localhost.
    fn create_sandbox(
        &self,
        request: &SandboxRequest,
    ) -> impl Future<Output = Result<Vec<IpAddr>, RuntimeError>>;

    /// Creates and starts one attempt; returns once its entrypoint was executed, with the instant.
    fn start(&self, request: &StartRequest)
    -> impl Future<Output = Result<BootTime, RuntimeError>>;

    /// Sends a signal to the first process of a container; one that has ended is no error.
    fn signal(
        &self,
        id: &ContainerId,
        signal: i32,
    ) -> impl Future<Output = Result<(), RuntimeError>>;

    /// Kills every process of a container (its whole cgroup); the exit comes as an event.
    fn kill(&self, id: &ContainerId) -> impl Future<Output = Result<(), RuntimeError>>;

    /// Runs a command inside a running container and waits for it.
    fn exec(
        &self,
        request: &ExecRequest,
    ) -> impl Future<Output = Result<ExecOutcome, RuntimeError>>;

    /// Runs a command inside a running container, and returns once it was executed.
    fn attach(
        &self,
        request: &AttachRequest,
    ) -> impl Future<Output = Result<Attached, RuntimeError>>;

    /// The file that an attempt's log is written to, now or before it ended; those that were put
    /// aside are beside it, with `.1`, `.2` ... behind its name. None where none is kept.
    fn log(&self, id: &ContainerId) -> Option<PathBuf>;

    /// What an attempt keeps beside its image: its writable layer, and the logs of its container.
    fn written(&self, id: &ContainerId) -> impl Future<Output = Measured>;

    /// What a pod uses, all of its containers together.
    fn pod_usage(&self, uid: &Uid) -> Usage;

    /// What an attempt uses.
    fn container_usage(&self, id: &ContainerId) -> Usage;

    /// What went through the interfaces of pods that have their own.
    fn traffic(&self) -> BTreeMap<Uid, Traffic>;

    /// Removes an attempt that does not run: cgroup, mounts, writable layer, state. Its log stays
    /// until its pod is removed.
    fn remove_container(&self, id: &ContainerId) -> impl Future<Output = Result<(), RuntimeError>>;

    /// Ends a pod's sandbox and leaves the logs of its containers: kills what still runs, then
    /// removes cgroups, mounts, namespaces, writable layers and state. One that is not there is no
    /// error, and another may be made in its place.
    fn stop_sandbox(&self, uid: &Uid) -> impl Future<Output = Result<(), RuntimeError>>;

    /// Removes all of a pod: kills what still runs, then cgroups, mounts, namespaces, logs and
    /// directories. A pod that is not there is no error.
    fn remove_sandbox(&self, uid: &Uid) -> impl Future<Output = Result<(), RuntimeError>>;
}

/// One runtime for those that run pods and those that run handlers in them.
impl<R: Runtime> Runtime for Rc<R> {
    async fn list(&self) -> Result<Observed, RuntimeError> {
        R::list(self).await
    }

    async fn create_sandbox(&self, request: &SandboxRequest) -> Result<Vec<IpAddr>, RuntimeError> {
        R::create_sandbox(self, request).await
    }

    async fn start(&self, request: &StartRequest) -> Result<BootTime, RuntimeError> {
        R::start(self, request).await
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        R::signal(self, id, signal).await
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        R::kill(self, id).await
    }

    async fn exec(&self, request: &ExecRequest) -> Result<ExecOutcome, RuntimeError> {
        R::exec(self, request).await
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Attached, RuntimeError> {
        R::attach(self, request).await
    }

    fn log(&self, id: &ContainerId) -> Option<PathBuf> {
        R::log(self, id)
    }

    async fn written(&self, id: &ContainerId) -> Measured {
        R::written(self, id).await
    }

    fn pod_usage(&self, uid: &Uid) -> Usage {
        R::pod_usage(self, uid)
    }

    fn container_usage(&self, id: &ContainerId) -> Usage {
        R::container_usage(self, id)
    }

    fn traffic(&self) -> BTreeMap<Uid, Traffic> {
        R::traffic(self)
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        R::remove_container(self, id).await
    }

    async fn stop_sandbox(&self, uid: &Uid) -> Result<(), RuntimeError> {
        R::stop_sandbox(self, uid).await
    }

    async fn remove_sandbox(&self, uid: &Uid) -> Result<(), RuntimeError> {
        R::remove_sandbox(self, uid).await
    }
}
