//! Makes what volumes should be, and removes them with their pods.
//!
//! [`Volumes`] is the port; the real one keeps directories, the simulated one lives with the
//! simulator. What a volume should hold was decided before (`pod::contents`).
//!
//! ```text
//! STATE/pods/UID/volumes/NAME    emptyDir: survives the agent, its containers and a reboot
//! RUN/volumes/UID/NAME           files of ConfigMaps and the downward API; emptyDir in memory (a
//!                                mount of its own)
//! RUN/secrets/UID/NAME           files of Secrets: on a tmpfs that is never swapped, or a ramfs
//! ```

use std::future::Future;
use std::io;
use std::path::PathBuf;

use mote_protocol::name::Uid;
use mote_protocol::pod::Volume;

use crate::pod::contents::projection::Wanted;
use crate::tree::Measured;

mod files;
mod host_path;
mod node;
mod ownership;

pub use node::NodeVolumes;

/// Why a volume is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The host does not have what the spec says it has. Texts are the kubelet's.
    #[error("hostPath type check failed: {} is not a {expected}", path.display())]
    HostPath {
        /// Where it was looked for.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The kernel refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done to what.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl VolumeError {
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::Io { doing, source }
    }
}

/// The volumes of this node's pods.
///
/// Every call is idempotent: repeating it after a crash of the agent ends in the same state.
pub trait Volumes {
    /// Makes a volume what it should be. What containers wrote to one that is there stays; files
    /// change all at once. `group` is the pod's `fsGroup`.
    fn set_up(
        &self,
        uid: &Uid,
        volume: &Volume,
        wanted: &Wanted,
        group: Option<u32>,
    ) -> impl Future<Output = Result<(), VolumeError>>;

    /// Where a volume is.
    fn path(&self, uid: &Uid, volume: &Volume) -> PathBuf;

    /// What an `emptyDir` takes of the disk.
    fn written(&self, uid: &Uid, volume: &Volume) -> impl Future<Output = Measured>;

    /// Whether there is anything of a pod's volumes.
    fn holds(&self, uid: &Uid) -> bool;

    /// Removes the volumes of a pod of which nothing runs any more. What is the host's stays.
    fn remove(&self, uid: &Uid) -> impl Future<Output = io::Result<()>>;
}
