//! The shared memory of a pod, behind `/dev/shm`: a file system of its own, so that what its containers
//! write there is theirs alone to run out of.

use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

/// As much as docker and containerd give, and everybody in the pod may write there, as into `/tmp`.
const OPTIONS: &std::ffi::CStr = c"size=64m,mode=1777";

/// Mounts it on a directory. What an agent that died left there goes.
pub(super) fn mount(directory: &Path) -> io::Result<()> {
    unmount(directory)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("shm", directory, "tmpfs", flags, Some(OPTIONS))?)
}

/// Takes it away with all that is in it, if it is there.
pub(super) fn unmount(directory: &Path) -> io::Result<()> {
    match rustix::mount::unmount(directory, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}
