//! Small files that let the next agent find out what this one did.
//!
//! The next one may be a newer or an older program: what it does not know it passes over, and what it
//! misses is as it was before there was such a thing. So these are JSON. A record that an older program
//! must not use names the version that it takes; its pod is then left alone.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use mote_pause::wire::{Namespace as Kind, Namespaces};

use super::users::Users;
use crate::network::Share;
use crate::runtime::op::order::{PROCESS, STARTED};
use crate::runtime::{
    BootTime, HostNamespaces, Origin, ProcessId, SandboxRequest, StartRequest, TerminationMessage,
};

/// The version of these records. It rises with what older programs must not pass over.
const VERSION: u32 = 1;

/// What the containers of a pod share, as long as its sandbox lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SandboxRecord {
    /// The version that a program must know to use it; 0 from before there were any.
    needs: u32,
    /// What the pod is.
    pub(super) origin: Option<Origin>,
    pub(super) hostname: String,
    pub(super) host: HostNamespaces,
    pub(super) share_process_namespace: bool,
    /// What its users are on the host, if they are its own.
    pub(super) users: Option<Users>,
    /// Addresses of its own, and ports. Nobody else gets them as long as this is here.
    #[serde(flatten)]
    pub(super) share: Share,
    /// They can be used: the pod's network is set up.
    pub(super) connected: bool,
}

impl SandboxRecord {
    pub(super) fn of(request: &SandboxRequest, users: Option<Users>, share: Share) -> Self {
        Self {
            share,
            connected: false,
            needs: VERSION,
            origin: Some(request.origin.clone()),
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
            (Kind::User, self.users.is_some()),
            (Kind::Net, !host.network),
            // The host's network goes with the host's name.
            (Kind::Uts, !host.network),
            (Kind::Ipc, !host.ipc),
            (Kind::Pid, self.share_process_namespace && !host.pid),
        ];
        let own = own.into_iter().filter(|(_, own)| *own);
        own.fold(Namespaces::NONE, |all, (kind, _)| all.with(kind))
    }

    /// All of its network is there.
    pub(super) fn is_connected(&self) -> bool {
        self.connected || self.share.addresses.is_empty()
    }

    /// Replaces the file as a whole.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let part = path.with_extension("part");
        fs::write(&part, serde_json::to_vec(self)?)?;
        fs::rename(part, path)
    }

    /// None where there is none, or half of one; an error where a newer agent wrote one that is none of
    /// ours to use.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let Some(bytes) = read(path)? else { return Ok(None) };
        let Needs { needs } = serde_json::from_slice(&bytes).unwrap_or_default();
        if needs > VERSION {
            let text = format!("it takes version {needs}, this agent knows {VERSION}");
            return Err(io::Error::new(ErrorKind::Unsupported, text));
        }
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

/// What is the same in every version.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Needs {
    needs: u32,
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
    use crate::network::port::{HostPort, PortMap, Transport};
    use mote_protocol::name::{Namespace, ObjectName};

    #[test]
    fn a_record_reads_back_and_half_of_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sandbox");
        let host = HostNamespaces { network: true, ..HostNamespaces::default() };
        let users = Users::first_free([]);
        let origin = Some(Origin {
            namespace: Namespace::new("default").unwrap(),
            name: ObjectName::new("web").unwrap(),
            containers: vec!["main".into()],
        });
        let hostname = "web".into();
        let record = SandboxRecord {
            needs: VERSION,
            origin,
            hostname,
            host,
            share_process_namespace: false,
            users,
            share: Share {
                addresses: vec!["10.188.0.1".parse().unwrap()],
                ports: vec![PortMap {
                    host: HostPort { address: None, port: 80, transport: Transport::Tcp },
                    port: 8080,
                }],
            },
            connected: true,
        };
        assert_eq!(SandboxRecord::read(&path).unwrap(), None);
        record.write(&path).unwrap();
        assert_eq!(SandboxRecord::read(&path).unwrap(), Some(record));
        let written = fs::read(&path).unwrap();
        fs::write(&path, &written[..written.len() / 2]).unwrap();
        assert_eq!(SandboxRecord::read(&path).unwrap(), None);
        assert_eq!((process(directory.path()), started(directory.path())), (None, None));
    }

    #[test]
    fn a_record_that_takes_a_newer_agent_is_no_broken_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sandbox");
        fs::write(&path, r#"{"needs": 2, "host": "another form"}"#).unwrap();
        let error = SandboxRecord::read(&path).unwrap_err();
        assert_eq!(error.to_string(), "it takes version 2, this agent knows 1");
    }

    /// Written by one agent and read by another.
    #[test]
    fn the_forms_of_what_helpers_leave_are_frozen() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            fs::write(directory.path().join(name), bytes).unwrap();
        };
        let first = ProcessId { pid: 1000, start_ticks: 300 };
        let (process_bytes, started_bytes) = (b"\xd0\x0f\xac\x02", b"\x80\x94\xeb\xdc\x03");
        assert_eq!(postcard::to_allocvec(&first).unwrap(), process_bytes);
        assert_eq!(postcard::to_allocvec(&1_000_000_000_u64).unwrap(), started_bytes);
        for later in [&b""[..], b"what later agents add"] {
            write(PROCESS, &[&process_bytes[..], later].concat());
            write(STARTED, &[&started_bytes[..], later].concat());
            assert_eq!(process(directory.path()), Some(first));
            assert_eq!(started(directory.path()), Some(BootTime(Duration::from_secs(1))));
        }
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
