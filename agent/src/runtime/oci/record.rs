//! Small files that let the next agent find out what this one did.
//!
//! The next one may be a newer or an older program: what it does not know it passes over, and what it
//! misses is as it was before there was such a thing. So these are JSON.

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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
        fs::write(&part, serde_json::to_vec(self)?)?;
        fs::rename(part, path)
    }

    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        Ok(read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

/// The file in an attempt's directory with its record.
const ATTEMPT: &str = "attempt";

/// What an agent must know of an attempt that another one started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
        fs::write(attempt.join(ATTEMPT), serde_json::to_vec(self)?)
    }

    /// Empty if the agent died before it could be kept.
    pub(super) fn read(attempt: &Path) -> Self {
        let bytes = read(&attempt.join(ATTEMPT)).ok().flatten();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

/// The first process of an attempt, once there is one.
pub(super) fn process(attempt: &Path) -> Option<ProcessId> {
    fact(&attempt.join(PROCESS))
}

/// When an attempt's program was executed, if it was.
pub(super) fn started(attempt: &Path) -> Option<BootTime> {
    fact(&attempt.join(STARTED)).map(Duration::from_nanos).map(BootTime)
}

/// What a helper left; one that it did not write to its end says nothing.
fn fact<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = read(path).ok().flatten()?;
    postcard::from_bytes(&bytes).ok()
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
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
        let written = fs::read(&path).unwrap();
        fs::write(&path, &written[..written.len() / 2]).unwrap();
        assert_eq!(SandboxRecord::read(&path).unwrap(), None);
        assert_eq!((process(directory.path()), started(directory.path())), (None, None));
    }

    #[test]
    fn records_of_older_and_newer_agents_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sandbox");
        fs::write(&path, r#"{"hostname": "web", "host": {"network": true}, "new": [1]}"#).unwrap();
        let record = SandboxRecord::read(&path).unwrap().unwrap();
        assert_eq!(
            (record.hostname.as_str(), record.host.network, record.users),
            ("web", true, None)
        );
        fs::write(directory.path().join(ATTEMPT), r#"{"tag": "t", "new": {}}"#).unwrap();
        let record = AttemptRecord::read(directory.path());
        assert_eq!((record.tag.as_str(), record.termination_message.path.as_str()), ("t", ""));
    }
}
