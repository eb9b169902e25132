//! The flash card behind [`Disk`].
//!
//! One thread does all of it, in the order it was asked: a card that takes a second for an fsync
//! delays who waits for that write and nobody else. Where the card is full, writes take the room
//! of a [`Reserve`].

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Disk;
use super::reserve::{Reserve, is_full};

mod files;
mod medium;

pub use files::Files;
pub use medium::{Entry, Medium};

pub(super) use files::MAX_FILE;
use medium::Flash;

/// Stack of the thread: it walks shallow directories and copies nothing onto its stack.
const STACK: usize = 128 * 1024;

/// Pause before a reserve that gave room is looked after again: nobody says when there is room.
const AGAIN: Duration = Duration::from_mins(1);

enum Job {
    Read(PathBuf, oneshot::Sender<io::Result<Vec<u8>>>),
    Write(PathBuf, Vec<u8>, oneshot::Sender<io::Result<()>>),
    Remove(PathBuf, oneshot::Sender<io::Result<()>>),
    List(PathBuf, oneshot::Sender<io::Result<Vec<String>>>),
}

/// Files below one directory of a real file system.
#[derive(Clone, Debug)]
pub struct FlashDisk {
    jobs: mpsc::Sender<Job>,
    short: Arc<AtomicBool>,
}

impl FlashDisk {
    /// Starts the thread that owns everything below `root`, which is created where it is missing.
    pub fn open(root: &Path) -> io::Result<Self> {
        if !root.is_dir() {
            fs::create_dir_all(root)?;
            // One that cannot be synced is used all the same: it holds nothing yet.
            let _ = File::open(root.join("..")).and_then(|above| above.sync_all());
        }
        let root = root.to_path_buf();
        let (jobs, inbox) = mpsc::channel();
        let short = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&short);
        thread::Builder::new().name("disk".into()).stack_size(STACK).spawn(move || {
            let reserve = Reserve::open(&root);
            let files = Files::new(Flash { root });
            Card { files, reserve, short: told }.serve(&inbox);
        })?;
        Ok(Self { jobs, short })
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Job,
    ) -> io::Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the disk thread has ended");
        self.jobs.send(job(answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Disk for FlashDisk {
    async fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let name = checked(name)?;
        self.ask(|answer| Job::Read(name, answer)).await
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (name, bytes) = (checked(name)?, bytes.to_vec());
        self.ask(|answer| Job::Write(name, bytes, answer)).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let name = checked(name)?;
        self.ask(|answer| Job::Remove(name, answer)).await
    }

    async fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let name = checked(directory)?;
        self.ask(|answer| Job::List(name, answer)).await
    }

    fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }
}

/// Names come from validated values; this is the second lock on that door.
fn checked(name: &str) -> io::Result<PathBuf> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if plain && !name.is_empty() {
        Ok(path.to_path_buf())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "name leaves the directory"))
    }
}

/// The thread's own.
struct Card {
    files: Files<Flash>,
    reserve: Reserve,
    short: Arc<AtomicBool>,
}

impl Card {
    fn serve(&mut self, inbox: &mpsc::Receiver<Job>) {
        loop {
            let short = self.reserve.is_short();
            self.short.store(short, Ordering::Relaxed);
            let pause = if short { AGAIN } else { Duration::MAX };
            match inbox.recv_timeout(pause) {
                Ok(job) => self.carry_out(job),
                Err(RecvTimeoutError::Timeout) => self.reserve.grow(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Who asked may have gone; the work was done all the same.
    fn carry_out(&mut self, job: Job) {
        match job {
            Job::Read(name, answer) => drop(answer.send(self.files.read(&name))),
            Job::Write(name, bytes, answer) => {
                let result = self.write(&name, &bytes);
                // Before anybody asks.
                self.short.store(self.reserve.is_short(), Ordering::Relaxed);
                drop(answer.send(result));
            }
            Job::Remove(name, answer) => drop(answer.send(self.files.remove(&name))),
            Job::List(name, answer) => drop(answer.send(self.files.list(&name))),
        }
    }

    fn write(&mut self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut result = self.files.write(name, bytes);
        while result.as_ref().is_err_and(is_full) && self.reserve.give(bytes.len() as u64) {
            result = self.files.write(name, bytes);
        }
        // What is left of the room is ours again before others see it.
        self.reserve.grow();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::files::TEMPORARY;
    use super::*;
    use crate::ports::reserve::WHOLE;
    use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
    use std::ffi::CStr;
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    #[tokio::test]
    async fn what_was_written_is_read_listed_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let disk = FlashDisk::open(&root.path().join("state")).unwrap();
        assert_eq!(disk.list("spec").await.unwrap(), Vec::<String>::new());
        disk.write("spec/pod/default/web", b"one").await.unwrap();
        disk.write("spec/pod/default/web", b"two").await.unwrap();
        disk.write("session", b"1").await.unwrap();
        assert_eq!(disk.read("spec/pod/default/web").await.unwrap(), b"two");
        assert_eq!(disk.list("spec").await.unwrap(), ["spec/pod/default/web"]);
        disk.remove("spec/pod/default/web").await.unwrap();
        disk.remove("spec/pod/default/web").await.unwrap();
        let gone = disk.read("spec/pod/default/web").await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        assert!(!root.path().join("state").join(TEMPORARY).exists());
    }

    #[tokio::test]
    async fn names_that_leave_the_directory_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let disk = FlashDisk::open(root.path()).unwrap();
        for name in ["../x", "/etc/passwd", "a/../../b", "", "."] {
            assert!(disk.write(name, b"").await.is_err(), "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_failed_write_leaves_the_old_file() {
        let root = tempfile::tempdir().unwrap();
        let disk = FlashDisk::open(root.path()).unwrap();
        disk.write("ledger", b"old").await.unwrap();
        // A directory where the temporary file should be makes every write fail.
        fs::create_dir(root.path().join(TEMPORARY)).unwrap();
        assert!(disk.write("ledger", b"new").await.is_err());
        assert_eq!(disk.read("ledger").await.unwrap(), b"old");
    }

    /// A small file system in memory.
    struct Small(tempfile::TempDir);

    impl Small {
        fn new(size: &CStr) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            mount("tmpfs", place.0.path(), "tmpfs", MountFlags::empty(), size).unwrap();
            place
        }

        /// Takes all room that is left, byte by byte.
        fn fill(&self) -> PathBuf {
            let path = self.0.path().join("fill");
            let mut file = File::create(&path).unwrap();
            while file.write_all(&[1; 4096]).is_ok() {}
            let left = rustix::fs::statvfs(self.0.path()).unwrap().f_bavail;
            assert_eq!(left, 0);
            path
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            let _ = unmount(self.0.path(), UnmountFlags::DETACH);
        }
    }

    fn reserved(root: &Path) -> u64 {
        fs::metadata(root.join(".reserve")).map_or(0, |of| of.blocks() * 512)
    }

    #[tokio::test]
    async fn a_card_that_others_filled_still_takes_what_the_agent_writes() {
        let card = Small::new(c"size=8m");
        let state = card.0.path().join("state");
        let disk = FlashDisk::open(&state).unwrap();
        disk.write("ledger", &[0; 12 * 1024]).await.unwrap();
        assert!(!disk.is_short());
        assert_eq!(reserved(&state), WHOLE);
        let fill = card.fill();
        disk.write("record/1", &[1; 300]).await.unwrap();
        assert!(disk.is_short(), "somebody should know");
        let left = reserved(&state);
        assert!(left + 4 * 64 * 1024 > WHOLE, "it gives what is needed, and {left} is left");
        disk.write("ledger", &[2; 12 * 1024]).await.unwrap();
        let object = vec![3; mote_protocol::limits::MAX_OBJECT];
        disk.write("spec/configmap/default/large", &object).await.unwrap();
        assert_eq!(disk.read("spec/configmap/default/large").await.unwrap(), object);
        let more = [object.as_slice(); 2].concat();
        let error = disk.write("spec/configmap/default/more", &more).await.unwrap_err();
        assert!(is_full(&error), "{error}");
        assert_eq!(disk.read("ledger").await.unwrap(), [2; 12 * 1024]);
        fs::remove_file(fill).unwrap();
        disk.write("record/1", &[4; 300]).await.unwrap();
        assert!(!disk.is_short());
        assert_eq!(reserved(&state), WHOLE);
    }

    #[tokio::test]
    async fn a_reserve_that_somebody_removed_is_made_again() {
        let card = Small::new(c"size=8m");
        let state = card.0.path().join("state");
        let disk = FlashDisk::open(&state).unwrap();
        disk.write("session", b"1").await.unwrap();
        fs::remove_file(state.join(".reserve")).unwrap();
        let fill = card.fill();
        assert!(is_full(&disk.write("session", b"2").await.unwrap_err()), "nothing is reserved");
        assert!(disk.is_short());
        fs::remove_file(fill).unwrap();
        disk.write("session", b"3").await.unwrap();
        assert_eq!(reserved(&state), WHOLE, "and not a hole");
        assert!(!disk.is_short());
    }

    #[tokio::test]
    async fn a_card_without_room_for_a_reserve_is_used_as_it_is() {
        let card = Small::new(c"size=1m");
        let disk = FlashDisk::open(&card.0.path().join("state")).unwrap();
        for number in 0..100 {
            disk.write("session", &[number; 100]).await.unwrap();
        }
        assert!(disk.is_short());
        disk.write("spec/pod/default/web", &vec![0; 512 * 1024]).await.unwrap();
    }

    #[tokio::test]
    async fn a_card_that_becomes_read_only_is_one_that_fails() {
        let card = Small::new(c"size=8m");
        let state = card.0.path().join("state");
        fs::create_dir(&state).unwrap();
        let flags = MountFlags::RDONLY;
        mount_remount(card.0.path(), flags, c"").unwrap();
        let disk = FlashDisk::open(&state).unwrap();
        assert!(disk.write("session", b"1").await.is_err());
        assert!(!disk.is_short(), "nobody waits for room on it");
    }
}
