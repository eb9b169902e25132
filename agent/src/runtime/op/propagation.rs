//! Whether what is mounted in a directory of the host can be told to others.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags, statx};

/// Refuses a directory that is on a mount which tells nobody of what is mounted in it: what a container
/// mounts there would never be seen by the host. In containerd's words.
pub(super) fn ensure_shared(directory: impl AsFd, path: &Path) -> io::Result<()> {
    let found = statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let Some((point, shared)) = mount(&mounts, found.stx_mnt_id) else { return Ok(()) };
    if shared {
        return Ok(());
    }
    let path = path.display();
    let cause = format!("path \"{path}\" is mounted on \"{point}\" but it is not a shared mount");
    Err(io::Error::new(io::ErrorKind::InvalidInput, cause))
}

/// Where a mount is, and whether it is shared (proc(5), `/proc/PID/mountinfo`).
fn mount(mounts: &str, id: u64) -> Option<(&str, bool)> {
    let id = id.to_string();
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&*id))?;
    let mut fields = line.split(' ').skip(4);
    let point = fields.next()?;
    // Options of the mount, then fields of no fixed number, then a dash.
    let shared = fields.skip(1).take_while(|field| *field != "-");
    Some((point, shared.into_iter().any(|field| field.starts_with("shared:"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_mount_says_so() {
        let mounts = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
                      27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw,shared:9\n\
                      28 27 0:5 / /dev rw master:2 - devtmpfs dev rw,shared:9\n\
                      29 27 0:6 / /run rw shared:3 master:2 - tmpfs tmpfs rw\n";
        assert_eq!(mount(mounts, 22), Some(("/proc", false)));
        assert_eq!(mount(mounts, 27), Some(("/", true)));
        assert_eq!(mount(mounts, 28), Some(("/dev", false)));
        assert_eq!(mount(mounts, 29), Some(("/run", true)));
        assert_eq!(mount(mounts, 2), None);
    }
}
