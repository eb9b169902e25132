//! How a file is replaced, removed and found so that no loss of power brings back what was before.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::medium::{Entry, Medium};

/// Longest file that is read: twice the longest object (one that replaces another is stored with
/// it), and a header. A longer one is damaged.
pub(in crate::ports) const MAX_FILE: u64 = 2 * mote_protocol::limits::MAX_OBJECT as u64 + 64 * 1024;

/// Deepest directory that is listed: `spec/KIND/NAMESPACE/NAME`.
const MAX_DEPTH: usize = 4;

/// Where new files are written before they take their name. One owner writes, so one name will do.
pub(super) const TEMPORARY: &str = ".new";

/// Small files on a medium, one operation at a time.
#[derive(Debug)]
pub struct Files<M> {
    medium: M,
    /// Directories whose names last as they are. Whoever wrote before may have died between a name
    /// and its sync: the kernel shows it, and the next loss of power takes it back.
    settled: BTreeSet<PathBuf>,
}

impl<M: Medium> Files<M> {
    /// What is on a medium.
    pub const fn new(medium: M) -> Self {
        Self { medium, settled: BTreeSet::new() }
    }

    /// What they are on.
    pub const fn medium(&mut self) -> &mut M {
        &mut self.medium
    }

    /// The whole file, which lasts as it is read, where the medium can do that.
    pub fn read(&mut self, name: &Path) -> io::Result<Vec<u8>> {
        // A card that cannot be written to any more is read all the same.
        let _ = self.settle(parent(name));
        let bytes = self.medium.read(name, MAX_FILE)?;
        if bytes.len() as u64 > MAX_FILE {
            let error = "file is longer than any of ours";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(bytes)
    }

    /// Replaces a file, or leaves the old one. It lasts when this returns.
    pub fn write(&mut self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let result = self.replace(name, bytes);
        if result.is_err() {
            // A part of a file takes room, and is of use to nobody.
            let _ = self.medium.remove(Path::new(TEMPORARY));
        }
        result
    }

    fn replace(&mut self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = Path::new(TEMPORARY);
        let mut file = self.medium.create(temporary)?;
        self.medium.write(&mut file, bytes)?;
        self.medium.sync(&file)?;
        drop(file);
        self.make_directories(parent(name))?;
        self.settled.remove(parent(name));
        self.medium.rename(temporary, name)?;
        self.settle(parent(name))
    }

    /// Removes a file; one that is not there is no error. It stays away when this returns.
    pub fn remove(&mut self, name: &Path) -> io::Result<()> {
        match self.medium.remove(name) {
            Ok(()) => drop(self.settled.remove(parent(name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match self.settle(parent(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            settled => settled,
        }
    }

    /// Names of all files below a directory, sorted; none where the directory is missing.
    pub fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        self.collect(directory, MAX_DEPTH, &mut names)?;
        names.sort_unstable();
        Ok(names)
    }

    fn collect(
        &mut self,
        directory: &Path,
        depth: usize,
        names: &mut Vec<String>,
    ) -> io::Result<()> {
        let entries = match self.medium.entries(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            match entry {
                Entry::Directory(path) if depth > 0 => self.collect(&path, depth - 1, names)?,
                Entry::File(path) => names.extend(path.to_str().map(str::to_owned)),
                Entry::Directory(_) | Entry::Other => {}
            }
        }
        Ok(())
    }

    /// Creates what is missing of a path; each new name lasts before it is used.
    fn make_directories(&mut self, path: &Path) -> io::Result<()> {
        let mut directory = PathBuf::new();
        for part in path.components() {
            let above = directory.clone();
            directory.push(part);
            match self.medium.make_directory(&directory) {
                Ok(()) => drop(self.settled.remove(&above)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            self.settle(&above)?;
        }
        Ok(())
    }

    /// Makes last which names are in a directory, where that is not known of it.
    fn settle(&mut self, directory: &Path) -> io::Result<()> {
        if !self.settled.contains(directory) {
            self.medium.sync_directory(directory)?;
            self.settled.insert(directory.to_path_buf());
        }
        Ok(())
    }
}

fn parent(name: &Path) -> &Path {
    name.parent().unwrap_or(Path::new(""))
}
