//! Stops sandboxes, and removes attempts and pods until nothing is left: processes, cgroups, mounts,
//! files.
//!
//! Most mounts, and namespaces, need no step of their own: the container's are gone with its last
//! process, the pod's with `mote-pause`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use mote_protocol::name::Uid;

use super::cgroup::Group;
use super::setup::network_error;
use super::wait::until_empty;
use super::{OciRuntime, cgroup_error, io_error, memory};
use crate::runtime::{ContainerId, RuntimeError};
use crate::tree;

impl OciRuntime {
    pub(super) async fn remove_attempt(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        empty(&self.tree.container(id)).await?;
        remove_tree(self.layout.layer(id)).await?;
        remove_few(&self.layout.message(id))?;
        // Last: as long as its directory is there, an attempt is listed and removed again.
        remove_few(&self.layout.attempt(id))
    }

    pub(super) async fn stop_pod(&self, uid: &Uid) -> Result<(), RuntimeError> {
        self.end_pod(uid).await?;
        for path in self.layout.of_sandbox(uid) {
            remove_few(&path)?;
        }
        self.network.give_back(uid);
        self.forget(uid);
        Ok(())
    }

    pub(super) async fn remove_pod(&self, uid: &Uid) -> Result<(), RuntimeError> {
        self.end_pod(uid).await?;
        // Others keep files of the pod there: theirs to remove.
        let _ = fs::remove_dir(self.layout.pod_state(uid));
        remove_tree(self.layout.pod(uid)).await?;
        self.network.give_back(uid);
        self.forget(uid);
        Ok(())
    }

    /// Ends all processes of a pod, `mote-pause` last; with them go cgroups and writable layers.
    async fn end_pod(&self, uid: &Uid) -> Result<(), RuntimeError> {
        let slot = self.slot(uid);
        slot.leaving.store(true, Ordering::Relaxed);
        let pod = slot.pod.lock().await.take();
        if let Some(pod) = &pod {
            pod.expect_end();
        }
        for id in self.layout.list_attempts(uid) {
            let group = self.tree.container(&id);
            group.kill().map_err(cgroup_error)?;
            until_empty(&group).await?;
        }
        // With its containers gone it has nothing to wait for, and writes what logs there are.
        let asked = match &pod {
            Some(pod) => pod.sandbox.shut_down().await.is_ok(),
            None => false,
        };
        let pause = self.tree.pause(uid);
        if !asked {
            pause.kill().map_err(cgroup_error)?;
        }
        until_empty(&pause).await?;
        drop(pod);
        self.network.take_away(uid).await.map_err(|error| network_error(uid, &error))?;
        for directory in [self.layout.shm(uid), self.layout.messages(uid)] {
            memory::unmount(&directory)
                .map_err(io_error("take away what the pod has in memory"))?;
        }
        empty(&self.tree.pod(uid)).await?;
        remove_tree(self.layout.layers(uid)).await
    }

    fn forget(&self, uid: &Uid) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Removes the logs of attempts before the last one: they lie in memory, and a container may crash
/// for a year. The kubelet keeps as many.
pub(super) fn remove_old_logs(directory: &Path, attempt: u32) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.split('.').next()?.parse::<u32>().ok());
        if number.is_some_and(|number| number.saturating_add(1) < attempt) {
            // One that stays is tried again with the next attempt.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Kills what is in a group and removes it.
async fn empty(group: &Group) -> Result<(), RuntimeError> {
    if !group.processes().map_err(cgroup_error)?.is_empty() {
        group.kill().map_err(cgroup_error)?;
        until_empty(group).await?;
    }
    group.remove().map_err(cgroup_error)
}

/// Removes a file, or a directory with a handful of files, on tmpfs.
fn remove_few(path: &Path) -> Result<(), RuntimeError> {
    let done = match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => tree::remove(path),
        done => done,
    };
    removed(done).map_err(io_error(format!("remove `{}`", path.display())))
}

/// Removes a directory that containers have written to, however much that is, beside the agent's
/// own work.
async fn remove_tree(path: PathBuf) -> Result<(), RuntimeError> {
    let doing = format!("remove `{}`", path.display());
    // Where there is nothing to remove a thread would cost more.
    if removed(fs::remove_dir(&path)).is_ok() {
        return Ok(());
    }
    let done = tokio::task::spawn_blocking(move || tree::remove(&path));
    let done = done.await.unwrap_or_else(|broken| Err(io::Error::other(broken)));
    done.map_err(io_error(doing))
}

/// What is gone need not be removed.
fn removed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_the_attempt_before_is_kept_and_older_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["8.log", "8.log.1", "9.log", "9.log.1", "10.log", "other"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        remove_old_logs(directory.path(), 10);
        let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["10.log", "9.log", "9.log.1", "other"]);
    }
}
