//! The two directories of an agent, and the lock that keeps a second agent out of them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

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

/// Proof that no other agent runs on either directory. The kernel releases it with the process.
#[derive(Debug)]
pub(super) struct Lock {
    _files: [File; 2],
}

/// Creates what is missing and locks it.
pub(super) fn prepare(state: &Path, run: &Path) -> Result<Lock, DirectoryError> {
    for path in [state, run] {
        // Only root has business below either: secrets, sockets, other people's file systems.
        let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
        created.map_err(|source| DirectoryError::Create { path: path.to_owned(), source })?;
    }
    Ok(Lock { _files: [lock(state)?, lock(run)?] })
}

fn lock(directory: &Path) -> Result<File, DirectoryError> {
    let path = directory.join("lock");
    // Not for writing: a card on which somebody writes cannot be made read-only.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map(File::from);
    let opened = opened.map_err(io::Error::from).or_else(|error| match error.kind() {
        // A card that is worn out, or that a power cut left so: what runs goes on, and somebody must
        // say so.
        io::ErrorKind::ReadOnlyFilesystem => File::open(directory),
        _ => Err(error),
    });
    let file = match opened {
        Ok(file) => file,
        Err(source) => return Err(DirectoryError::Lock { path, source }),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
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
        let other = base.path().join("other");
        let second = prepare(&other, &run).expect_err("its other directory is taken");
        assert_eq!(second.to_string(), format!("another agent runs on {}", run.display()));
        drop(first);
        prepare(&state, &run).expect("free again");
    }

    /// The kernel refuses to make a file system read-only where a file is open for writing.
    #[test]
    fn a_lock_does_not_keep_a_card_from_becoming_read_only() {
        let base = tempfile::tempdir().expect("temporary directory");
        let file = lock(base.path()).expect("free");
        let flags = rustix::fs::fcntl_getfl(&file).expect("open");
        assert_eq!(flags & OFlags::ACCMODE, OFlags::RDONLY);
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
