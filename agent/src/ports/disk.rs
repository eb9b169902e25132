//! The flash card behind [`Disk`].
//!
//! One thread does all of it, in the order it was asked: a card that takes a second for an fsync
//! delays who waits for that write and nobody else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use super::Disk;

/// Longest file that is read: twice the longest object (one that replaces another is stored with
/// it), and a header. A longer one is damaged.
const MAX_FILE: u64 = 2 * mote_protocol::limits::MAX_OBJECT as u64 + 64 * 1024;

/// Deepest directory that is listed: `spec/KIND/NAMESPACE/NAME`.
const MAX_DEPTH: usize = 4;

/// Stack of the thread: it walks shallow directories and copies nothing onto its stack.
const STACK: usize = 128 * 1024;

/// Where new files are written before they take their name. One thread writes, so one name will do.
const TEMPORARY: &str = ".new";

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
}

impl FlashDisk {
    /// Starts the thread that owns everything below `root`, which is created where it is missing.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.to_path_buf();
        let (jobs, inbox) = mpsc::channel();
        thread::Builder::new().name("disk".into()).stack_size(STACK).spawn(move || {
            for job in inbox {
                carry_out(&root, job);
            }
        })?;
        Ok(Self { jobs })
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

/// Who asked may have gone; the work was done all the same.
fn carry_out(root: &Path, job: Job) {
    match job {
        Job::Read(name, answer) => drop(answer.send(read(&root.join(name)))),
        Job::Write(name, bytes, answer) => drop(answer.send(write(root, &name, &bytes))),
        Job::Remove(name, answer) => drop(answer.send(remove(root, &name))),
        Job::List(name, answer) => drop(answer.send(list(root, &name))),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "file is longer than any of ours"));
    }
    Ok(bytes)
}

fn write(root: &Path, name: &Path, bytes: &[u8]) -> io::Result<()> {
    let (temporary, target) = (root.join(TEMPORARY), root.join(name));
    // Whoever made the directory, and with whatever mode: nobody but root reads what is in it.
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    let parent = name.parent().unwrap_or(Path::new(""));
    make_directories(root, parent)?;
    fs::rename(&temporary, &target)?;
    sync_directory(&root.join(parent))
}

/// Creates what is missing of `path` below `root`; each new entry is durable before it is used.
fn make_directories(root: &Path, path: &Path) -> io::Result<()> {
    let mut directory = root.to_path_buf();
    for part in path.components() {
        let parent = directory.clone();
        directory.push(part);
        match fs::create_dir(&directory) {
            Ok(()) => sync_directory(&parent)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn remove(root: &Path, name: &Path) -> io::Result<()> {
    match fs::remove_file(root.join(name)) {
        Ok(()) => sync_directory(&root.join(name.parent().unwrap_or(Path::new("")))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn list(root: &Path, name: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    collect(root, name, MAX_DEPTH, &mut names)?;
    names.sort_unstable();
    Ok(names)
}

fn collect(root: &Path, name: &Path, depth: usize, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(name)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (name.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() && depth > 0 {
            collect(root, &path, depth - 1, names)?;
        } else if let (true, Some(text)) = (kind.is_file(), path.to_str()) {
            names.push(text.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
