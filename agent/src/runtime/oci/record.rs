//! Small files that let the next agent find out what this one did.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::runtime::op::order::{PROCESS, STARTED};
use crate::runtime::{BootTime, HostNamespaces, ProcessId, SandboxRequest};

/// What the containers of a pod share, as long as its sandbox lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) hostname: String,
    pub(super) host: HostNamespaces,
}

impl SandboxRecord {
    pub(super) fn of(request: &SandboxRequest) -> Self {
        Self { hostname: request.hostname.clone(), host: request.host }
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

/// The file in an attempt's directory with its tag.
const TAG: &str = "tag";

/// Keeps what an attempt was started with, for the next agent.
pub(super) fn write_tag(attempt: &Path, tag: &str) -> io::Result<()> {
    fs::write(attempt.join(TAG), tag)
}

/// What an attempt was started with; nothing if its agent died before it could be kept.
pub(super) fn tag(attempt: &Path) -> String {
    fs::read_to_string(attempt.join(TAG)).unwrap_or_default()
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
        let record = SandboxRecord { hostname: "web".into(), host };
        assert_eq!(SandboxRecord::read(&path).unwrap(), None);
        record.write(&path).unwrap();
        assert_eq!(SandboxRecord::read(&path).unwrap(), Some(record));
        fs::write(&path, [9, b'w']).unwrap();
        assert_eq!(SandboxRecord::read(&path).unwrap(), None);
        assert_eq!((process(directory.path()), started(directory.path())), (None, None));
    }
}
