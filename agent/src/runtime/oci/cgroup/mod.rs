//! The cgroups of pods: one tree, the same in every hierarchy the machine has.
//!
//! ```text
//! <root>                      configurable; `mote.slice`
//! `- pod<uid>                 limits of the pod; no processes
//!    |- pause                 mote-pause
//!    `- <container>-<attempt> limits and processes of one attempt
//! ```
//! On cgroup v1 the tree exists per controller, also in the named and the empty unified hierarchy:
//! the service manager finds its processes by those, and must not take a pod for its service.
//! libcontainer's own cgroup code is not used (see `runtime::op`): it cannot run without a
//! controller it was given a limit for, and reads the whole mount table 27 times per container.
//!
//! Everything here is a few short system calls and idempotent. Waiting for processes to end is
//! the caller's job.

mod account;
mod detect;
mod device;
mod group;
mod limits;
mod usage;

use std::fs;
use std::io;
use std::path::PathBuf;

use mote_protocol::name::Uid;

pub use account::Memory;
pub use detect::{Controller, Hierarchies, Hierarchy};
pub use group::Group;
pub use limits::{Level, weight};

use crate::runtime::ContainerId;
use crate::sys::mountinfo;

/// The cgroup that `mote-pause` is in, below its pod's.
pub const PAUSE: &str = "pause";

/// What was being done to which cgroup file when the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}`", path.display())]
pub struct CgroupError {
    /// What.
    pub doing: &'static str,
    /// To which file or directory.
    pub path: PathBuf,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

/// Whether `/proc/PID/cgroup` tells of a group that is `path` or below it.
pub(super) fn is_below(lines: &[u8], path: &str) -> bool {
    group::directory_below(lines, path).is_some()
}

/// All cgroups of mote on this machine.
#[derive(Clone, Debug)]
pub struct Tree {
    hierarchies: Hierarchies,
    root: String,
    missing: Vec<Controller>,
}

impl Tree {
    /// Finds the hierarchies of this machine; `root` names the node above all pods in each.
    pub fn detect(root: &str) -> Result<Self, CgroupError> {
        let text = mountinfo::read().map_err(|source| CgroupError {
            doing: "read mounted hierarchies from",
            path: mountinfo::PATH.into(),
            source,
        })?;
        let hierarchies = Hierarchies::parse(&text);
        let controllers = hierarchies.unified().map(|unified| unified.mount.clone());
        let controllers = controllers.map(|mount| mount.join("cgroup.controllers"));
        let controllers = controllers.and_then(|path| fs::read_to_string(path).ok());
        let missing = hierarchies.missing(&controllers.unwrap_or_default());
        Ok(Self { hierarchies, root: root.to_owned(), missing })
    }

    /// Controllers this machine does not have or has switched off: limits that need them are not
    /// enforced.
    pub fn missing(&self) -> &[Controller] {
        &self.missing
    }

    /// The machine's hierarchies.
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// The node above all pods.
    pub fn root(&self) -> Group {
        self.group(self.root.clone())
    }

    /// The node of one pod.
    pub fn pod(&self, uid: &Uid) -> Group {
        self.group(format!("{}/pod{uid}", self.root))
    }

    /// The leaf of a pod's `mote-pause`.
    pub fn pause(&self, uid: &Uid) -> Group {
        self.group(format!("{}/pod{uid}/{PAUSE}", self.root))
    }

    /// The leaf of one attempt of a container.
    pub fn container(&self, id: &ContainerId) -> Group {
        self.group(format!("{}/pod{}/{}-{}", self.root, id.pod, id.name, id.attempt))
    }

    fn group(&self, path: String) -> Group {
        Group::new(&self.hierarchies, &self.missing, path)
    }
}

#[cfg(test)]
mod tests;
