//! The two directories of an agent, and the lock that keeps a second agent out of them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be created.
    #[error("create directory {}", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Its lock cannot be opened.
    #[error("lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Another agent holds the lock.
    #[error("another agent runs on {}", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
}

/// Proof that no other agent runs on the directories. The kernel releases it with the process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Creates what is missing and locks it.
pub(super) fn prepare(state: &Path, run: &Path) -> Result<Lock, DirectoryError> {
    for path in [state, run] {
        // Only root has business below either: secrets, sockets, other people's file systems.
        let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(|source| DirectoryError::Create { path: path.to_owned(), source })?;
    }
    lock(state)
}

fn lock(directory: &Path) -> Result<Lock, DirectoryError> {
    let path = directory.join("lock");
    let opened =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(source) => return Err(DirectoryError::Lock { path, source }),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(DirectoryError::Taken { path: directory.to_owned() })
        }
        Err(errno) => Err(DirectoryError::Lock { path, source: errno.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_kept_out_until_the_first_is_gone() {
        let base = tempfile::tempdir().expect("temporary directory");
        let (state, run) = (base.path().join("a/state"), base.path().join("run"));
        let first = prepare(&state, &run).expect("free");
        let second = prepare(&state, &run).expect_err("taken");
        assert_eq!(second.to_string(), format!("another agent runs on {}", state.display()));
        drop(first);
        prepare(&state, &run).expect("free again");
    }

    #[test]
    fn directories_are_for_root_alone() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().expect("temporary directory");
        let (state, run) = (base.path().join("state"), base.path().join("run"));
        prepare(&state, &run).expect("created");
        for path in [state, run] {
            let mode = path.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o7777, 0o700);
        }
    }
}
