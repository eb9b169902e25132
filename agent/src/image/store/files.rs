//! Small files that are whole or absent, whatever happens to the power.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::tree;

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}")]
pub struct StoreError {
    /// What was being done.
    action: &'static str,
    /// To what.
    path: PathBuf,
    /// What the system said.
    #[source]
    source: io::Error,
}

impl StoreError {
    /// Names what was being done when a call failed.
    pub(in crate::image) fn at(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }

    /// Whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Reads a file of at most `limit` bytes. `None` if it does not exist, is longer, or is where the card
/// cannot be read: it is not what was written there, and what it was can be fetched again.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match read_within(path, limit) {
        Ok(data) => Ok(Some(data).filter(|data| data.len() as u64 <= limit)),
        Err(error) if is_ours(&error) => Err(StoreError::at("read", path)(error)),
        Err(_) => Ok(None),
    }
}

fn read_within(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut data)?;
    Ok(data)
}

/// Why a file or directory cannot be read, unless it is just not there.
pub(super) fn unreadable(path: &Path) -> Option<io::Error> {
    let look = || {
        if path.symlink_metadata()?.is_dir() {
            return fs::read_dir(path)?.next().transpose().map(drop);
        }
        io::copy(&mut File::open(path)?, &mut io::sink()).map(drop)
    };
    look().err().filter(|error| error.kind() != io::ErrorKind::NotFound)
}

/// Whether an error says something of this process, which lacks what it takes to look, and nothing of
/// what it wanted to look at.
pub(super) fn is_ours(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR | Errno::AGAIN))
}

/// Makes an empty file that nobody else may read or write, whatever the umask is.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes a file so that it has the old or the new content after a power cut, never a part.
pub(super) fn write(path: &Path, tmp: &Path, data: &[u8]) -> Result<(), StoreError> {
    let action = "write";
    let mut file = create(tmp).map_err(StoreError::at(action, tmp))?;
    file.write_all(data).and_then(|()| file.sync_all()).map_err(StoreError::at(action, tmp))?;
    fs::rename(tmp, path).map_err(StoreError::at(action, path))?;
    sync_parent(path)
}

/// Makes the names in a file's directory last.
pub(super) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    sync_directory(path.parent().unwrap_or(path))
}

/// Makes the names in a directory last, and that others are gone.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(StoreError::at("sync", path))
}

/// The names in a directory; none if it does not exist.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let action = "list";
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::at(action, dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::at(action, dir))?;
        // Names that are no text are none of ours.
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Removes a file or a whole directory, of whatever shape, links not followed.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    tree::remove(path).map_err(StoreError::at("remove", path))
}
