//! Finds and reads a profile below the node's directory of profiles.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

use crate::sys::file;

/// Longest profile: twenty times docker's own.
const MAX_FILE: u64 = 256 * 1024;

/// Reads the file `name` below `directory`. Links may lead anywhere below it, and nowhere else.
pub(super) fn read(directory: &Path, name: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat2(CWD, directory, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(directory, name, file::READ, Mode::empty(), beneath) {
        Err(Errno::XDEV) => {
            return Err(io::Error::other("it leads out of the directory of profiles"));
        }
        file => File::from(file?),
    };
    file::read(file, MAX_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_profile_is_read_from_below_the_directory_alone() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("seccomp");
        fs::create_dir_all(root.join("profiles")).unwrap();
        fs::write(root.join("profiles/a.json"), "a").unwrap();
        fs::write(directory.path().join("secret"), "b").unwrap();
        symlink("profiles/a.json", root.join("inside")).unwrap();
        symlink("../secret", root.join("outside")).unwrap();
        symlink("/etc/passwd", root.join("absolute")).unwrap();
        assert_eq!(read(&root, "profiles/a.json").unwrap(), b"a");
        assert_eq!(read(&root, "inside").unwrap(), b"a");
        for name in ["outside", "absolute", "../secret", "/etc/passwd", "profiles", "none", ""] {
            assert!(read(&root, name).is_err(), "{name}");
        }
        let fifo = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, root.join("fifo"), rustix::fs::FileType::Fifo, fifo, 0).unwrap();
        assert!(read(&root, "fifo").is_err());
        File::create(root.join("long")).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(read(&root, "long").unwrap_err().to_string().contains("exceeds"));
        assert!(read(&directory.path().join("nowhere"), "a").is_err());
    }
}
