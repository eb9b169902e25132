//! Small files that let the next agent find out what this one did.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use mote_pause::wire::{Namespace, Namespaces};

use super::users::Users;
use crate::runtime::op::order::{PROCESS, STARTED};
use crate::runtime::{
    BootTime, HostNamespaces, ProcessId, SandboxRequest, StartRequest, TerminationMessage,
};

/// What the containers of a pod share, as long as its sandbox lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) hostname: String,
    pub(super) host: HostNamespaces,
    pub(super) share_process_namespace: bool,
    /// What its users are on the host, if they are its own.
    pub(super) users: Option<Users>,
}

impl SandboxRecord {
    pub(super) fn of(request: &SandboxRequest, users: Option<Users>) -> Self {
        Self {
            users,
            hostname: request.hostname.clone(),
            host: request.host,
            share_process_namespace: request.share_process_namespace,
        }
    }

    /// The namespaces that the pod gets for its own.
    pub(super) fn namespaces(&self) -> Namespaces {
        let host = self.host;
        let own = [
            (Namespace::User, self.users.is_some()),
            (Namespace::Net, !host.network),
            // The host's network goes with the host's name.
            (Namespace::Uts, !host.network),
            (Namespace::Ipc, !host.ipc),
            (Namespace::Pid, self.share_process_namespace && !host.pid),
        ];
        let own = own.into_iter().filter(|(_, own)| *own);
        own.fold(Namespaces::NONE, |all, (kind, _)| all.with(kind))
    }

    /// Replaces the file as a whole.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let part = path.with_extension("part");
        fs::write(&part, postcard::to_allocvec(self).map_err(io::Error::other)?)?;
        fs::rename(part, path)
    }

    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        read(path)
    }
}

/// The file in an attempt's directory with its record.
const ATTEMPT: &str = "attempt";

/// What an agent must know of an attempt that another one started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AttemptRecord {
    /// Its tag, as it was given.
    pub(super) tag: String,
    /// Where it says why it ended.
    pub(super) termination_message: TerminationMessage,
}

impl AttemptRecord {
    pub(super) fn of(request: &StartRequest) -> Self {
        let termination_message = request.termination_message.clone();
        Self { tag: request.tag.clone(), termination_message }
    }

    pub(super) fn write(&self, attempt: &Path) -> io::Result<()> {
        let bytes = postcard::to_allocvec(self).map_err(io::Error::other)?;
        fs::write(attempt.join(ATTEMPT), bytes)
    }

    /// Empty if the agent died before it could be kept.
    pub(super) fn read(attempt: &Path) -> Self {
        read(&attempt.join(ATTEMPT)).ok().flatten().unwrap_or_default()
    }
}

/// The first process of an attempt, once there is one.
pub(super) fn process(attempt: &Path) -> Option<ProcessId> {
    read(&attempt.join(PROCESS)).ok().flatten()
}

/// When an attempt's program was executed, if it was.
pub(super) fn started(attempt: &Path) -> Option<BootTime> {
    read(&attempt.join(STARTED)).ok().flatten().map(Duration::from_nanos).map(BootTime)
}

/// A file that is not there, or was not written to its end, says nothing.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(postcard::from_bytes(&bytes).ok()),
        Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(None),
        Err(failed) => Err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_half_of_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sandbox");
        let host = HostNamespaces { network: true, ..HostNamespaces::default() };
        let users = Users::first_free([]);
        let record =
            SandboxRecord { hostname: "web".into(), host, share_process_namespace: false, users };
        assert_eq!(SandboxRecord::read(&path).unwrap(), None);
        record.write(&path).unwrap();
        assert_eq!(SandboxRecord::read(&path).unwrap(), Some(record));
        fs::write(&path, [9, b'w']).unwrap();
        assert_eq!(SandboxRecord::read(&path).unwrap(), None);
        assert_eq!((process(directory.path()), started(directory.path())), (None, None));
    }
}
