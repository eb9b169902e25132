//! `hostPath`: something of the host, which must be there, or is made.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use mote_protocol::pod::HostPathType;

use super::VolumeError;

/// Makes what is to be made, and checks what is there.
pub(super) fn prepare(path: &Path, kind: HostPathType) -> Result<(), VolumeError> {
    match kind {
        // The kubelet leaves it to the container runtime, which makes a directory (CRI of containerd).
        HostPathType::Unset => {
            if look(path)?.is_none() {
                make_directory(path)?;
            }
            Ok(())
        }
        HostPathType::DirectoryOrCreate => {
            if look(path)?.is_none() {
                make_directory(path)?;
            }
            expect(path, "directory", Metadata::is_dir)
        }
        HostPathType::FileOrCreate => {
            if look(path)?.is_none() {
                make_file(path).map_err(VolumeError::io(format!("create {}", path.display())))?;
            }
            expect(path, "file", Metadata::is_file)
        }
        HostPathType::Directory => expect(path, "directory", Metadata::is_dir),
        HostPathType::File => expect(path, "file", Metadata::is_file),
        HostPathType::Socket => expect(path, "socket file", |found| found.file_type().is_socket()),
        HostPathType::CharDevice => {
            expect(path, "character device", |found| found.file_type().is_char_device())
        }
        HostPathType::BlockDevice => {
            expect(path, "block device", |found| found.file_type().is_block_device())
        }
    }
}

fn look(path: &Path) -> Result<Option<Metadata>, VolumeError> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(VolumeError::io(format!("look at {}", path.display()))(error)),
    }
}

fn expect(
    path: &Path,
    expected: &'static str,
    is: impl Fn(&Metadata) -> bool,
) -> Result<(), VolumeError> {
    if look(path)?.as_ref().is_some_and(is) {
        return Ok(());
    }
    Err(VolumeError::HostPath { path: path.to_owned(), expected })
}

fn make_directory(path: &Path) -> Result<(), VolumeError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(VolumeError::io(format!("create {}", path.display())))
}

fn make_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn what_must_be_there_is_told_in_the_kubelets_words() {
        use HostPathType::*;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "").unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let holds = |kind, name: &str| prepare(&at(name), kind).is_ok();
        let kinds = [Directory, File, Socket];
        for (place, name) in ["dir", "file", "socket"].into_iter().enumerate() {
            for (other, kind) in kinds.into_iter().enumerate() {
                assert_eq!(holds(kind, name), place == other, "{name} {kind:?}");
            }
            assert!(holds(Unset, name));
        }
        assert!(prepare(Path::new("/dev/null"), CharDevice).is_ok());
        let error = prepare(Path::new("/dev/null"), BlockDevice).unwrap_err().to_string();
        assert_eq!(error, "hostPath type check failed: /dev/null is not a block device");
        let error = prepare(&at("none"), Directory).unwrap_err().to_string();
        let text =
            format!("hostPath type check failed: {} is not a directory", at("none").display());
        assert_eq!(error, text);
    }

    #[test]
    fn what_may_be_made_is_made() {
        use HostPathType::*;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        prepare(&at("a/b"), DirectoryOrCreate).unwrap();
        prepare(&at("c/d"), Unset).unwrap();
        prepare(&at("a/f"), FileOrCreate).unwrap();
        assert!(at("a/b").is_dir() && at("c/d").is_dir() && at("a/f").is_file());
        assert!(prepare(&at("none/f"), FileOrCreate).is_err(), "its directory must be there");
        assert!(prepare(&at("a/f"), DirectoryOrCreate).is_err());
    }
}
