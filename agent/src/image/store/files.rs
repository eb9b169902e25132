//! Small files that are whole or absent, whatever happens to the power.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// Reads a file of at most `limit` bytes. `None` if it does not exist or is longer: either way it
/// is not what was written there.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let action = "read";
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::at(action, path)(error)),
    };
    let mut data = Vec::new();
    let count =
        file.take(limit + 1).read_to_end(&mut data).map_err(StoreError::at(action, path))?;
    Ok((count as u64 <= limit).then_some(data))
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

/// Removes a file or a whole directory, links not followed.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let is_directory = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let result = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::at("remove", path)(error))
        }
        _ => Ok(()),
    }
}
