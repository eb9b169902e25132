//! Where the files of pods are.
//!
//! ```text
//! RUN/                            tmpfs
//! |- services                     where services led last
//! |- bin/                         mote-pause; STATE/bin/ where RUN is mounted `noexec`
//! `- pods/UID/
//!    |- pause.sock, exits         mote-pause's own
//!    |- sandbox                   what the pod's containers share
//!    |- shm/                      behind /dev/shm
//!    |- messages/CONTAINER.ATTEMPT    why it ended, as it says itself
//!    |- messages/pod.hosts ...        files of the pod that its containers find
//!    |- logs/CONTAINER/ATTEMPT.log
//!    `- containers/CONTAINER.ATTEMPT/
//!       |- config.json, rootfs/, cgroup/, state/    the helper's and libcontainer's
//!       |- tenant                 with what commands in it begin
//!       |- process, started       its first process, and when it was started
//!       `- attempt                what later agents must know of it
//! STATE/pods/UID/layers/CONTAINER.ATTEMPT/{upper,work}
//! ```

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mote_pause::wire::{EXITS, SOCKET};
use mote_protocol::name::Uid;
use rustix::fs::StatVfsMountFlags;

use crate::runtime::ContainerId;
use crate::runtime::op::order::UPPER;

/// The directories everything is below.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    run: PathBuf,
    state: PathBuf,
}

impl Layout {
    pub(super) fn new(run: &Path, state: &Path) -> Self {
        Self { run: run.to_owned(), state: state.to_owned() }
    }

    /// Where programs are: Debian, and with it Raspberry Pi OS, mounts `/run` with `noexec`.
    pub(super) fn bin(&self) -> io::Result<PathBuf> {
        let flags = rustix::fs::statvfs(&self.run)?.f_flag;
        let nowhere = flags.contains(StatVfsMountFlags::NOEXEC);
        Ok(if nowhere { &self.state } else { &self.run }.join("bin"))
    }

    /// Where services lead, until the next boot.
    pub(super) fn served(&self) -> PathBuf {
        self.run.join("services")
    }

    pub(super) fn pods(&self) -> PathBuf {
        self.run.join("pods")
    }

    pub(super) fn pod(&self, uid: &Uid) -> PathBuf {
        self.run.join(format!("pods/{uid}"))
    }

    pub(super) fn shm(&self, uid: &Uid) -> PathBuf {
        self.pod(uid).join("shm")
    }

    /// Termination messages of the pod's attempts.
    pub(super) fn messages(&self, uid: &Uid) -> PathBuf {
        self.pod(uid).join("messages")
    }

    pub(super) fn message(&self, id: &ContainerId) -> PathBuf {
        self.messages(&id.pod).join(format!("{}.{}", id.name, id.attempt))
    }

    /// A file of the pod that its containers find, beside what they write themselves: no container's name
    /// has a dot, and none of these has an attempt.
    pub(super) fn file(&self, uid: &Uid, name: &str) -> PathBuf {
        self.messages(uid).join(format!("pod.{name}"))
    }

    pub(super) fn sandbox(&self, uid: &Uid) -> PathBuf {
        self.pod(uid).join("sandbox")
    }

    /// What is there as long as a sandbox is not stopped. Its containers come last: without their
    /// directory it is stopped.
    pub(super) fn of_sandbox(&self, uid: &Uid) -> [PathBuf; 6] {
        let pod = self.pod(uid);
        let (shm, messages) = (self.shm(uid), self.messages(uid));
        [pod.join(SOCKET), pod.join(EXITS), self.sandbox(uid), shm, messages, self.containers(uid)]
    }

    /// Whether a sandbox was set up, in part or whole, and not stopped since.
    pub(super) fn has_sandbox(&self, uid: &Uid) -> bool {
        self.containers(uid).exists()
    }

    pub(super) fn containers(&self, uid: &Uid) -> PathBuf {
        self.pod(uid).join("containers")
    }

    pub(super) fn attempt(&self, id: &ContainerId) -> PathBuf {
        self.containers(&id.pod).join(format!("{}.{}", id.name, id.attempt))
    }

    /// Directory of a container's logs.
    pub(super) fn logs(&self, id: &ContainerId) -> PathBuf {
        self.pod(&id.pod).join(format!("logs/{}", id.name))
    }

    /// The current file of an attempt's log.
    pub(super) fn log_file(&self, id: &ContainerId) -> PathBuf {
        self.logs(id).join(format!("{}.log", id.attempt))
    }

    /// The log of an attempt as `mote-pause` wants it: relative to the pod's directory.
    pub(super) fn log(id: &ContainerId) -> Option<CString> {
        CString::new(format!("logs/{}/{}.log", id.name, id.attempt)).ok()
    }

    /// What belongs to a pod on flash; other modules keep files there, too.
    pub(super) fn pod_state(&self, uid: &Uid) -> PathBuf {
        self.state.join(format!("pods/{uid}"))
    }

    pub(super) fn layers(&self, uid: &Uid) -> PathBuf {
        self.pod_state(uid).join("layers")
    }

    pub(super) fn layer(&self, id: &ContainerId) -> PathBuf {
        self.layers(&id.pod).join(format!("{}.{}", id.name, id.attempt))
    }

    /// What an attempt wrote beside volumes: of its layer, what is in the image no more; and the logs
    /// of its container, those of earlier attempts as well.
    pub(super) fn written(&self, id: &ContainerId) -> Vec<PathBuf> {
        vec![self.layer(id).join(UPPER), self.logs(id)]
    }

    /// Whether some attempt of the pod was begun since the machine was booted: its log stays.
    pub(super) fn has_logs(&self, uid: &Uid) -> bool {
        self.pod(uid).join("logs").exists()
    }

    /// Pods of which there is something, in order. After a power cut that may be what their
    /// containers wrote, to their own files or to volumes, and nothing else.
    pub(super) fn list_pods(&self) -> Vec<Uid> {
        let uids = |directory: &Path| {
            let uid = |name: String| name.parse::<Uid>().ok();
            names(directory).into_iter().filter_map(uid)
        };
        let written = uids(&self.state.join("pods"));
        let all: BTreeSet<Uid> = uids(&self.pods()).chain(written).collect();
        all.into_iter().collect()
    }

    /// Attempts of a pod that have a directory, by container and attempt.
    pub(super) fn list_attempts(&self, uid: &Uid) -> Vec<ContainerId> {
        let id = |name: &String| {
            let (name, attempt) = name.rsplit_once('.')?;
            Some(ContainerId { pod: *uid, name: name.into(), attempt: attempt.parse().ok()? })
        };
        let mut ids: Vec<_> = names(&self.containers(uid)).iter().filter_map(id).collect();
        ids.sort();
        ids
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pod_and_no_attempt_is_not_listed() {
        let run = tempfile::tempdir().unwrap();
        let layout = Layout::new(run.path(), run.path());
        let uid = Uid::from_random([3; 16]);
        let id = |name: &str, attempt| ContainerId { pod: uid, name: name.into(), attempt };
        for id in [id("web", 10), id("web", 9), id("db", 0)] {
            fs::create_dir_all(layout.attempt(&id)).unwrap();
        }
        for name in ["junk", "web.", "web.x", "web.-1"] {
            fs::create_dir(layout.containers(&uid).join(name)).unwrap();
        }
        fs::create_dir(layout.pods().join("junk")).unwrap();
        assert_eq!(layout.list_pods(), [uid]);
        assert_eq!(layout.list_attempts(&uid), [id("db", 0), id("web", 9), id("web", 10)]);
    }

    #[test]
    fn what_containers_wrote_is_found_where_a_power_cut_left_nothing_else() {
        let (run, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layout = Layout::new(run.path(), state.path());
        let [written, volumes, both] = [1, 2, 3].map(|number| Uid::from_random([number; 16]));
        for uid in [written, both] {
            fs::create_dir_all(layout.layers(&uid)).unwrap();
        }
        fs::create_dir_all(layout.pod_state(&volumes).join("volumes")).unwrap();
        fs::create_dir_all(layout.pod(&both)).unwrap();
        let mut pods = [written, volumes, both];
        pods.sort();
        assert_eq!(layout.list_pods(), pods);
    }
}
