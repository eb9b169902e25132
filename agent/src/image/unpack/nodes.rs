//! What is made, looked at and removed by its name in one open directory. No link is followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;

use super::archive::quote;
use super::error::EntryError;
use crate::tree;

/// Overlayfs' mark for a directory that hides what lower layers have in it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Mode of directories that a layer uses and does not have.
const IMPLIED: Mode = Mode::from_raw_mode(0o755);

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, EntryError> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(EntryError::system("look up name")(errno)),
    }
}

/// Opens a name that must be a directory itself, not a link to one.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, EntryError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(EntryError::system("open directory"))
}

pub(super) fn make_directory(
    parent: BorrowedFd<'_>,
    name: &[u8],
    mode: Mode,
) -> Result<OwnedFd, EntryError> {
    let old = stat(parent, name)?;
    if old.as_ref().is_some_and(is_directory) {
        return open_directory(parent, name);
    }
    remove(parent, name)?;
    rustix::fs::mkdirat(parent, name, mode).map_err(EntryError::system("create directory"))?;
    let directory = open_directory(parent, name)?;
    if old.as_ref().is_some_and(is_whiteout) {
        set_opaque(directory.as_fd())?;
    }
    Ok(directory)
}

/// Makes a directory that some entry needs and none describes.
pub(super) fn imply_directory(
    parent: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
) -> Result<OwnedFd, EntryError> {
    match stat(parent, name)? {
        Some(old) if !is_whiteout(&old) => Err(EntryError::NotADirectory(quote(path))),
        _ => {
            let directory = make_directory(parent, name, IMPLIED)?;
            // The process' umask must not decide what containers see.
            rustix::fs::fchmod(&directory, IMPLIED).map_err(EntryError::system("set mode"))?;
            Ok(directory)
        }
    }
}

pub(super) fn make_node(
    parent: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    (major, minor): (u32, u32),
) -> Result<(), EntryError> {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(parent, name, kind, Mode::empty(), device)
        .map_err(EntryError::system("create device"))
}

/// Removes whatever has this name.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), EntryError> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(EntryError::system("replace file")(errno)),
    }
    tree::remove_at(parent, name)
        .map_err(|source| EntryError::System { action: "replace directory", source })
}

pub(super) fn set_opaque(directory: BorrowedFd<'_>) -> Result<(), EntryError> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
        .map_err(EntryError::system("mark directory opaque"))
}
