//! A file system, as far as [`super::Files`] needs one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Files and directories below one root, an operation of the kernel each. Nothing of it lasts before it
/// was synced: the bytes of a file with the file, its name with the directory.
pub trait Medium {
    /// A file that is open for writing.
    type File;

    /// The whole file, where it has at most `limit` bytes; else `limit + 1` of them.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;
    /// A file with nothing in it, whatever was there.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Adds to a file.
    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    /// Makes last what a file holds.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// Creates one directory; `AlreadyExists` where it is there.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes last which names are in a directory; the root is the empty path.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, which may have been another's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// What is in a directory, in no order.
    fn entries(&self, path: &Path) -> io::Result<Vec<Entry>>;
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File(PathBuf),
    /// A directory.
    Directory(PathBuf),
    /// Anything else.
    Other,
}

/// A directory of the kernel's.
#[derive(Clone, Debug)]
pub(super) struct Flash {
    pub(super) root: PathBuf,
}

impl Medium for Flash {
    type File = File;

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.root.join(path))?.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        // Whoever made the directory, and with whatever mode: nobody but root reads what is in it.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(self.root.join(path))
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(self.root.join(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(self.root.join(path))?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    fn entries(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let (path, kind) = (path.join(entry.file_name()), entry.file_type()?);
            Ok(match (kind.is_dir(), kind.is_file()) {
                (true, _) => Entry::Directory(path),
                (_, true) => Entry::File(path),
                _ => Entry::Other,
            })
        };
        fs::read_dir(self.root.join(path))?.map(entry).collect()
    }
}
