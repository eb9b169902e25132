//! The program `mote-pause`, embedded in the agent and extracted once per node.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use super::SandboxError;

/// Built by `build.rs` for the architecture of this agent.
const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mote-pause"));

/// Nobody writes it, not even its owner: running programs are replaced by new names only.
const MODE: u32 = 0o500;

/// The extracted program. One file for all pods, so that they share its pages in memory.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// Puts the program into `dir` unless this very program is there.
    ///
    /// Its name holds the beginning of its digest: agents of different versions do not meet. What
    /// lies there under its name is compared, not trusted.
    pub fn extract(dir: &Path) -> Result<Self, SandboxError> {
        let path = dir.join(format!("mote-pause-{}", short_digest()));
        match extract(&path) {
            Ok(()) => Ok(Self { path }),
            Err(source) => Err(SandboxError::Extract { path, source }),
        }
    }

    /// Puts it back where it was, in a directory that may be gone as well.
    pub fn restore(&self) -> Result<(), SandboxError> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        let restored = made.and_then(|()| extract(&self.path));
        restored.map_err(|source| SandboxError::Extract { path: self.path.clone(), source })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn short_digest() -> String {
    let digest = digest(&SHA256, BYTES);
    let start = digest.as_ref().first_chunk().expect("a SHA-256 digest has 32 bytes");
    format!("{:016x}", u64::from_be_bytes(*start))
}

fn extract(path: &Path) -> io::Result<()> {
    if is_extracted(path)? {
        return Ok(());
    }
    // A name of this process's own; what a crashed one left under it is of no use.
    let mut part = OsString::from(path);
    part.push(format!(".{}", std::process::id()));
    let part = PathBuf::from(part);
    let written = write(&part).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}

fn write(part: &Path) -> io::Result<()> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(part)?;
    file.write_all(BYTES)
}

/// Whether a regular file with these bytes and this mode is there.
fn is_extracted(path: &Path) -> io::Result<bool> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let expected = u64::try_from(BYTES.len()).unwrap_or(u64::MAX);
    let same = found.is_file() && found.len() == expected && found.mode() & 0o7777 == MODE;
    Ok(same && fs::read(path)? == BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_extracted_once_and_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::extract(dir.path()).unwrap();
        let first = fs::metadata(program.path()).unwrap();
        assert_eq!((first.mode() & 0o7777, first.len()), (MODE, BYTES.len() as u64));

        let again = Program::extract(dir.path()).unwrap();
        assert_eq!(fs::metadata(again.path()).unwrap().ino(), first.ino(), "left alone");

        let mut forged = BYTES.to_vec();
        forged[BYTES.len() / 2] ^= 1;
        fs::remove_file(program.path()).unwrap();
        fs::write(program.path(), forged).unwrap();
        Program::extract(dir.path()).unwrap();
        assert_eq!(fs::read(program.path()).unwrap(), BYTES);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no part is left");
    }

    #[test]
    fn it_comes_back_where_its_directory_was_removed() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let program = Program::extract(&bin).unwrap();
        fs::remove_dir_all(&bin).unwrap();
        program.restore().unwrap();
        assert_eq!(fs::read(program.path()).unwrap(), BYTES);
        assert_eq!(fs::metadata(bin).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Program::extract(Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("`/nonexistent/mote-pause-"), "{error}");
    }
}
