//! The two directories of an agent, and the lock that keeps a second agent out of them.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

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

/// How long a lock may stay taken. An agent that is killed while it starts a helper leaves a child that
/// still has all its files, until that child becomes its own program.
const PATIENCE: Duration = Duration::from_secs(1);

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
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => wait(file, directory, path),
        Err(errno) => Err(DirectoryError::Lock { path, source: errno.into() }),
    }
}

/// Waits a while for a lock that is taken. The kernel tells when it is free; the thread that it tells is
/// left behind by a process that gives up.
fn wait(file: File, directory: &Path, path: PathBuf) -> Result<File, DirectoryError> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let locked = flock(&file, FlockOperation::LockExclusive).map(|()| file);
        // Nobody hears it any more where it came too late.
        let _ = sender.send(locked);
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(locked) => locked.map_err(|errno| DirectoryError::Lock { path, source: errno.into() }),
        Err(_) => Err(DirectoryError::Taken { path: directory.to_owned() }),
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

    #[test]
    fn a_lock_that_a_dying_agent_leaves_for_a_moment_is_waited_for() {
        let base = tempfile::tempdir().expect("temporary directory");
        let first = lock(base.path()).expect("free");
        // Two descriptors of one open file are what such an agent and its child have.
        let left = first.try_clone().expect("a descriptor");
        drop(first);
        thread::scope(|scope| {
            let next = scope.spawn(|| lock(base.path()));
            drop(left);
            next.join().expect("no panic").expect("free again");
        });
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
