//! Whether what is mounted in a directory of the host can be told to containers, and by them.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use mote_protocol::pod::MountPropagation;
use rustix::fs::{AtFlags, StatxFlags, statx};

use crate::sys::mountinfo;

/// Refuses a directory that is on a mount which tells nobody, or hears of nothing: what is mounted there
/// later would be seen on one side alone, without a word. In containerd's words.
pub(super) fn ensure(
    propagation: MountPropagation,
    directory: impl AsFd,
    path: &Path,
) -> io::Result<()> {
    let id = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id;
    let mounts = mountinfo::read()?;
    // Without a line it is out of this process's sight, and nobody can say.
    let Some(mount) = mountinfo::parse(&mounts).find(|mount| mount.id == id) else {
        return Ok(());
    };
    let wanted = match propagation {
        MountPropagation::Bidirectional if !mount.shared => "shared",
        MountPropagation::HostToContainer if !mount.shared && !mount.slave => "shared or slave",
        _ => return Ok(()),
    };
    let (path, point) = (path.display(), mount.point.display());
    let cause = format!("path \"{path}\" is mounted on \"{point}\" but it is not a {wanted} mount");
    Err(io::Error::new(io::ErrorKind::InvalidInput, cause))
}
