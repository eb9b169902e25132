//! `fsGroup`: files of volumes belong to a group that every process of the pod is in.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

/// What the group may do in a directory, beside what it may with files; `setgid` hands the group
/// on to what is made in it.
const OF_DIRECTORY: u32 = 0o2110;

/// Gives all below `root`, itself included, to a group that may read and write it.
pub(super) fn give(root: &Path, group: u32) -> io::Result<()> {
    walk(root, group, 0o660)
}

/// The same where nobody writes.
pub(super) fn give_read_only(root: &Path, group: u32) -> io::Result<()> {
    walk(root, group, 0o440)
}

fn walk(path: &Path, group: u32, bits: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return std::os::unix::fs::lchown(path, None, Some(group));
    }
    chown(path, None, Some(group))?;
    let more = if metadata.is_dir() { bits | OF_DIRECTORY } else { bits };
    let mode = metadata.permissions().mode() & 0o7777 | more;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(&entry?.path(), group, bits)?;
        }
    }
    Ok(())
}
