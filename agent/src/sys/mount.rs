//! Mounts that no path leads to.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr;

use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, OpenTreeFlags, open_tree};

/// `struct mount_attr` of `mount_setattr(2)`; not in `libc` for every target.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// What to change of a mount.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Attributes that it gets.
    pub set: MountAttrFlags,
    /// Attributes that it loses.
    pub clear: MountAttrFlags,
    /// How it relates to copies of itself; unchanged where unset.
    pub propagation: Option<MountPropagationFlags>,
}

impl Default for Change {
    fn default() -> Self {
        let none = MountAttrFlags::empty();
        Self { set: none, clear: none, propagation: None }
    }
}

/// Opens `path` through a private mount of its own that is read-only.
///
/// Whoever gets hold of the file through this descriptor, also through `/proc/PID/exe` of a
/// process executed from it, cannot open it for writing: the mount refuses, not the file's mode.
/// The mount is attached nowhere, so it is in nobody's mountinfo and gone with its last user.
pub fn open_read_only(path: &Path) -> io::Result<OwnedFd> {
    let tree =
        open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    change(&tree, Change { set: MountAttrFlags::MOUNT_ATTR_RDONLY, ..Change::default() }, false)?;
    Ok(tree)
}

/// A mount of what a descriptor (also one of `O_PATH`) stands for, with all that is mounted below
/// it, attached nowhere.
pub fn clone_of(file: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(file, "", flags)?)
}

/// Changes a mount, and those below it where that is asked.
pub fn change(mount: impl AsFd, change: Change, recursive: bool) -> io::Result<()> {
    let attributes = MountAttributes {
        set: u64::from(change.set.bits()),
        clear: u64::from(change.clear.bits()),
        propagation: change.propagation.map_or(0, |flags| u64::from(flags.bits())),
        user_namespace: 0,
    };
    set_attributes(mount.as_fd(), &attributes, recursive)
}

/// Shows the files of a mount that is attached nowhere as those of the users of a namespace: what
/// belongs to user 0 on disk belongs to the namespace's user 0 (`MOUNT_ATTR_IDMAP`, Linux 5.12).
///
/// [`io::ErrorKind::InvalidInput`] where its file system does not know how.
pub fn show_to_users(mount: impl AsFd, namespace: impl AsFd) -> io::Result<()> {
    let user_namespace = u64::from(namespace.as_fd().as_raw_fd().unsigned_abs());
    let set = u64::from(MountAttrFlags::MOUNT_ATTR_IDMAP.bits());
    let attributes = MountAttributes { set, clear: 0, propagation: 0, user_namespace };
    set_attributes(mount.as_fd(), &attributes, false)
}

fn set_attributes(
    mount: BorrowedFd<'_>,
    attributes: &MountAttributes,
    recursive: bool,
) -> io::Result<()> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, the attributes are a live structure of the size told,
    // and the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_read_only_clone_cannot_be_reopened_for_writing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("binary");
        fs::write(&file, "original").unwrap();
        let clone = open_read_only(&file).expect("detached mounts, as root");
        let through = format!("/proc/self/fd/{}", clone.as_raw_fd());
        assert_eq!(fs::read_to_string(&through).unwrap(), "original");
        let refused = fs::OpenOptions::new().write(true).open(&through).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem);
        fs::write(&file, "by its owner").expect("the file itself stays writable");
    }
}
