//! The layers beneath the one that is unpacked: what they say of directories that it uses and does
//! not describe.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Stat, Timestamps, Uid};
use rustix::io::Errno;

use super::error::EntryError;
use super::nodes::is_directory;
use super::tree::{BENEATH, UNCHANGED, mtime_of};

/// What a layer has by a name.
enum Found {
    Directory(Stat),
    /// It hides what is beneath it.
    Something,
}

/// Gives a directory owner, mode and time of the one that it covers, as a container sees it. The
/// topmost of `lowers` comes first.
pub(super) fn resemble(
    directory: &OwnedFd,
    path: &[u8],
    lowers: &[PathBuf],
) -> Result<(), EntryError> {
    let found = lowers.iter().find_map(|lower| find(lower, path));
    let Some(Found::Directory(stat)) = found else { return Ok(()) };
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(directory, Some(owner.0), Some(owner.1))
        .map_err(EntryError::system("set owner"))?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    rustix::fs::fchmod(directory, mode).map_err(EntryError::system("set mode"))?;
    let times = Timestamps { last_access: UNCHANGED, last_modification: mtime_of(&stat) };
    rustix::fs::futimens(directory, &times).map_err(EntryError::system("set time"))
}

fn find(lower: &Path, path: &[u8]) -> Option<Found> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(lower, flags | OFlags::DIRECTORY, Mode::empty()).ok()?;
    let found = match rustix::fs::openat2(root, path, flags, Mode::empty(), BENEATH) {
        Ok(found) => rustix::fs::fstat(found).ok()?,
        Err(Errno::NOENT) => return None,
        Err(_) => return Some(Found::Something),
    };
    Some(if is_directory(&found) { Found::Directory(found) } else { Found::Something })
}
