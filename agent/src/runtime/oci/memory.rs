//! What containers of a pod write in memory, each kind in a file system of its own: it is theirs alone to
//! run out of, and never takes the node's.

use std::ffi::CStr;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

/// Behind `/dev/shm`: as much as docker and containerd give, and everybody in the pod may write there, as
/// into `/tmp`.
pub(super) const SHARED: &CStr = c"size=64m,mode=1777";

/// Why containers end, a page for each that has something to say, with the files of names that all of them
/// find; and what they write too much of either.
pub(super) const MESSAGES: &CStr = c"size=1m,mode=711";

/// Mounts one on a directory. What an agent that died left there goes.
pub(super) fn mount(directory: &Path, options: &CStr) -> io::Result<()> {
    unmount(directory)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("tmpfs", directory, "tmpfs", flags, Some(options))?)
}

/// Takes it away with all that is in it, if it is there.
pub(super) fn unmount(directory: &Path) -> io::Result<()> {
    match rustix::mount::unmount(directory, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        done => Ok(done?),
    }
}
