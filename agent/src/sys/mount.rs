//! Mounts that no path leads to.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

/// `MOUNT_ATTR_RDONLY` of `mount_setattr(2)`.
const READ_ONLY: u64 = 1;

/// `struct mount_attr` of `mount_setattr(2)`; not in `libc` for every target.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Opens `path` through a private mount of its own that is read-only.
///
/// Whoever gets hold of the file through this descriptor, also through `/proc/PID/exe` of a
/// process executed from it, cannot open it for writing: the mount refuses, not the file's mode.
/// The mount is attached nowhere, so it is in nobody's mountinfo and gone with its last user.
pub fn open_read_only(path: &Path) -> io::Result<OwnedFd> {
    let tree =
        open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    set_read_only(tree.as_fd())?;
    Ok(tree)
}

fn set_read_only(mount: impl AsFd) -> io::Result<()> {
    let attributes =
        MountAttributes { set: READ_ONLY, clear: 0, propagation: 0, user_namespace: 0 };
    // SAFETY: the path is an empty C string, the attributes are a live structure of the size told,
    // and the kernel only reads both.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
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
