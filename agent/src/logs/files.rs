//! The files of one log: the one that is written to, and those that were put aside.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::tail::Bytes;

/// Files that are held open at most. `mote-pause` keeps two unless it is told otherwise.
const MAX_FILES: usize = 16;

impl Bytes for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

/// Where the files of one log are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    path: PathBuf,
}

impl Files {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file that is written to.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All files, oldest first, without a gap.
    ///
    /// They are opened newest first: where one is put aside meanwhile, the next name holds a file
    /// that is open already, and that is seen. The other way round one could be missed.
    pub(super) fn open(&self) -> io::Result<Vec<File>> {
        let mut files: Vec<File> = Vec::new();
        let mut newest = None;
        for number in 0..=MAX_FILES {
            let file = match File::open(self.named(number)) {
                Ok(file) => file,
                // Being put aside: for a moment the newest is the one before.
                Err(error) if error.kind() == ErrorKind::NotFound && number == 0 => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let identity = identity(&file.metadata()?);
            if newest.replace(identity) != Some(identity) {
                files.push(file);
            }
        }
        files.reverse();
        if files.is_empty() { Err(ErrorKind::NotFound.into()) } else { Ok(files) }
    }

    /// The file that follows on one that was read to its end, if it was put aside. Where it was put
    /// aside so often that it is gone, so is what followed on it: the oldest that is left comes
    /// next.
    pub(super) fn after(&self, file: &File) -> io::Result<Option<File>> {
        let identity_of = |file: &File| file.metadata().map(|found| identity(&found));
        let current = identity_of(file)?;
        match self.path.metadata() {
            Ok(found) if identity(&found) == current => return Ok(None),
            // The next one is not there yet, or the pod is gone.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let mut next = None;
        for file in self.open()?.into_iter().rev() {
            if identity_of(&file)? == current {
                break;
            }
            next = Some(file);
        }
        Ok(next)
    }

    fn named(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        name.into()
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
