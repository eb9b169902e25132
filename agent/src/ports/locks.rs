//! The locks of a node: files in one directory, which whoever uses the device makes and removes.
//!
//! That a file is there is the lock, whatever it is and whatever it holds: a program that dies does not let
//! a change happen in the middle of its work. The directory lies in memory, so that a reboot frees them all.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mote_protocol::rollout::LockName;

use super::Locks;
use crate::sys::inotify::{Directory, ReadFlags, WatchFlags};

/// Locks as files.
#[derive(Clone, Debug)]
pub struct LockFiles {
    directory: PathBuf,
}

impl LockFiles {
    /// Those in the run directory of an agent.
    pub fn below(run_dir: &Path) -> Self {
        Self { directory: run_dir.join("locks") }
    }

    fn create(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o755).create(&self.directory)
    }
}

impl Locks for LockFiles {
    fn is_held(&self, name: &LockName) -> bool {
        let found = fs::symlink_metadata(self.directory.join(name.as_str()));
        // Who cannot tell holds it: the limit of the change ends that.
        !matches!(found, Err(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Tells when locks may have been taken or freed.
#[derive(Debug)]
pub struct LockWatch {
    locks: LockFiles,
    events: Directory,
}

impl LockWatch {
    /// Makes the directory where it is missing, and watches it.
    pub fn new(locks: LockFiles) -> io::Result<Self> {
        let events = watch(&locks)?;
        Ok(Self { locks, events })
    }

    /// Waits until one was taken or freed. Somebody may remove the whole directory, which frees all: it is
    /// made again.
    pub async fn next(&mut self) -> io::Result<()> {
        let mut gone = false;
        self.events.next(|flags, _| gone |= flags.contains(ReadFlags::IGNORED)).await?;
        if gone {
            self.events = watch(&self.locks)?;
        }
        Ok(())
    }
}

fn watch(locks: &LockFiles) -> io::Result<Directory> {
    let names = WatchFlags::CREATE | WatchFlags::DELETE;
    let moves = WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
    locks.create()?;
    Directory::watch(&locks.directory, names | moves)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn whatever_has_the_name_is_the_lock_and_its_coming_and_going_is_told() {
        let base = tempfile::tempdir().expect("temporary directory");
        let locks = LockFiles::below(base.path());
        let name = LockName::new("printing").expect("a name");
        assert!(!locks.is_held(&name), "no directory, no lock");
        let mut watch = LockWatch::new(locks.clone()).expect("watched");
        let path = locks.directory.join("printing");
        fs::write(&path, []).expect("written");
        watch.next().await.expect("told");
        assert!(locks.is_held(&name));
        fs::remove_file(&path).expect("removed");
        watch.next().await.expect("told");
        assert!(!locks.is_held(&name));
        symlink("/nonexistent", &path).expect("linked");
        watch.next().await.expect("told");
        assert!(locks.is_held(&name), "also a link to nothing");
        fs::remove_dir_all(&locks.directory).expect("removed");
        while !locks.directory.exists() {
            watch.next().await.expect("told");
        }
        fs::create_dir(&path).expect("created");
        watch.next().await.expect("told");
        assert!(locks.is_held(&name), "also a directory, in one that was made again");
    }

    #[test]
    fn who_cannot_tell_holds_it() {
        let base = tempfile::tempdir().expect("temporary directory");
        let locks = LockFiles::below(base.path());
        fs::write(&locks.directory, []).expect("written");
        assert!(locks.is_held(&LockName::new("printing").expect("a name")), "not a directory");
    }
}
