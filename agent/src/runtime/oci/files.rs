//! Files of a pod that all of its containers find: `/etc/hosts` and the like.
//!
//! They lie beside the termination messages, in a file system of the pod's own, since a container may
//! write to them: as much as that holds. Each start writes them anew, in place, so that the containers
//! that run see it as well.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, fchown};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::users::Users;

/// Writes one. In a pod that has users of its own it is its root's.
pub(super) fn write(path: &Path, text: &str, users: Option<Users>) -> io::Result<()> {
    // A container may hold a lease on it, for which an opening that waits would wait.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mode = Mode::from_raw_mode(0o644);
    let file = File::from(rustix::fs::open(path, flags | OFlags::CLOEXEC, mode)?);
    // In one go over what is there, which is the same as a rule: whoever reads meanwhile, in a container
    // that runs, never finds it empty. Where the memory is used up, what it holds must go first.
    match file.write_all_at(text.as_bytes(), 0) {
        Err(full) if full.kind() == ErrorKind::StorageFull => {
            file.set_len(0)?;
            file.write_all_at(text.as_bytes(), 0)?;
        }
        written => written?,
    }
    file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    // Whatever the umask is.
    rustix::fs::fchmod(&file, mode)?;
    let root = users.map(Users::root);
    fchown(&file, root, root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_file_is_written_in_place_for_its_pods_root() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        write(&path, "a longer text\n", None).unwrap();
        let first = std::fs::metadata(&path).unwrap();
        let users = Users::first_free([]);
        write(&path, "short\n", users).unwrap();
        let then = std::fs::metadata(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short\n");
        assert_eq!((first.ino(), first.uid(), first.mode() & 0o777), (then.ino(), 0, 0o644));
        assert_eq!(Some(then.uid()), users.map(Users::root));
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).unwrap();
        write(&directory.path().join("link"), "", None).unwrap_err();
    }
}
