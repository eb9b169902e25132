//! What the agent tells a helper: everything, so that the helper asks nobody.
//!
//! An order is written by the same program that reads it (the agent hands its own executable to
//! `mote-pause`), so it needs no versions. It comes through a descriptor and is never kept.

use std::io::{self, Read};
use std::path::PathBuf;

use mote_protocol::command::WindowSize;
use serde::{Deserialize, Serialize};

use crate::runtime::oci::cgroup::Hierarchies;
use crate::runtime::oci::users::Users;
use crate::runtime::{HostNamespaces, Mount, ProcessId, Rights};

/// The descriptor on which a helper finds its order.
pub const ORDER_FD: u8 = 3;

/// The descriptor on which a helper reports.
pub const REPORT_FD: u8 = 4;

/// The socket over which a helper sends the end of a terminal that is not the command's, where it
/// makes one.
pub const TERMINAL_FD: u8 = 5;

/// Largest order: all arguments and variables of a container, which the kernel itself bounds to a
/// quarter of the stack's limit, usually 2 MiB.
const MAX_ORDER: u64 = 4 << 20;

/// The file in an attempt's directory that libcontainer reads: `bundle/config.json`.
pub const CONFIG: &str = "config.json";

/// In the directory of an attempt's writable layer: what it has that its image has not. Its owner and
/// mode are those of the container's root; beside it overlayfs keeps what it is busy with.
pub const UPPER: &str = "upper";

/// The mount point of the container's root, in an attempt's directory.
pub const ROOT: &str = "rootfs";

/// The file in an attempt's directory that names its first process, once there is one.
pub const PROCESS: &str = "process";

/// The file in an attempt's directory that tells when that process executed its program.
pub const STARTED: &str = "started";

/// The file in an attempt's directory that says with what a process in its container begins.
pub const TENANT: &str = "tenant";

/// The directory in an attempt's where its volumes are mounted, for the helper and libcontainer.
pub const VOLUMES: &str = "volumes";

/// libcontainer's id of the container, which is its directory's name below the attempt's.
pub const STATE: &str = "state";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Create and start one attempt of a container.
    Start(Box<Start>),
    /// Execute a command in a running one.
    Exec(Exec),
}

impl Order {
    /// As bytes, to be read by [`Self::read`].
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(self)
    }

    /// Reads the order to its end.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        from.take(MAX_ORDER).read_to_end(&mut bytes)?;
        postcard::from_bytes(&bytes).map_err(io::Error::other)
    }
}

/// Create and start one attempt of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Directory of the attempt, there and empty.
    pub attempt: PathBuf,
    /// Layers of the image, lowest first.
    pub layers: Vec<PathBuf>,
    /// Where the writable layer goes, there and empty.
    pub writable: PathBuf,
    /// Its volumes.
    pub mounts: Vec<Mount>,
    /// Device nodes of the host that it gets.
    pub devices: Vec<PathBuf>,
    /// Settings of the kernel: name and value.
    pub sysctls: Vec<(String, String)>,
    /// What the pod's containers share.
    pub pod: Pod,
    /// The cgroup that this helper is in, which will be the container's.
    pub cgroup: Cgroup,
    /// Command line.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// The image's USER.
    pub image_user: String,
    /// What it may do.
    pub rights: Rights,
    /// The directory of the node below which seccomp profiles are.
    pub seccomp_profiles: PathBuf,
    /// Of all its processes.
    pub oom_score_adj: i32,
    /// Where it finds the file in which it says why it ends, and which one that is on this node.
    pub termination_message: Option<(String, PathBuf)>,
    /// Files of the pod: where it finds them, and which those are on this node.
    pub files: Vec<(String, PathBuf)>,
}

/// What the containers of a pod share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its hostname.
    pub hostname: String,
    /// Namespaces that are the host's.
    pub host: HostNamespaces,
    /// Files that are its namespaces.
    pub namespaces: Vec<(Namespace, PathBuf)>,
    /// Directory behind `/dev/shm`, unless that is the host's.
    pub shm: PathBuf,
    /// What its users are on the host, where they are its own: then [`Namespace::User`] is held.
    pub users: Option<Users>,
}

/// A kind of namespace that a pod holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// Users.
    User,
    /// Network.
    Network,
    /// Interprocess communication.
    Ipc,
    /// Host name.
    Uts,
    /// Processes.
    Pid,
}

/// A container's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The machine's hierarchies.
    pub hierarchies: Hierarchies,
    /// Its path below the mount of each.
    pub path: String,
    /// The kernel refuses devices that it may not open.
    pub device_filter: bool,
}

/// Execute a command in a running container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Directory of the attempt.
    pub attempt: PathBuf,
    /// The container's first process.
    pub container: ProcessId,
    /// Command line.
    pub args: Vec<String>,
    /// It gets a terminal of this size, whose other end is sent over [`TERMINAL_FD`].
    pub terminal: Option<WindowSize>,
}
