//! A small card: a file system of its own, in memory, that fills up or becomes read-only.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

/// What fills it.
const FILLER: &str = "filler";

/// A card, gone with the value.
#[derive(Debug)]
pub struct Card {
    path: PathBuf,
    size: CString,
}

impl Card {
    /// One of so many bytes (`64m`) at `path`.
    pub fn new(path: &Path, size: &str) -> Result<Self> {
        fs::create_dir_all(path)?;
        let size = CString::new(format!("size={size}"))?;
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), Some(size.as_c_str()))
            .context("mount a small file system")?;
        Ok(Self { path: path.to_owned(), size })
    }

    /// Takes all the room there is.
    pub fn fill(&self) -> Result<()> {
        let mut filler = File::create(self.path.join(FILLER))?;
        let mut piece = vec![1; 1 << 20];
        while !piece.is_empty() {
            match filler.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    piece.truncate(piece.len() / 2);
                }
                Err(error) => return Err(error).context("fill the card"),
            }
        }
        Ok(())
    }

    /// Gives the room back.
    pub fn make_room(&self) -> Result<()> {
        fs::remove_file(self.path.join(FILLER)).context("make room on the card")
    }

    /// From now on nobody can write to it, whatever it is mounted as.
    pub fn make_read_only(&self) -> Result<()> {
        self.remount(MountFlags::RDONLY)
    }

    /// From now on it is as before.
    pub fn make_writable(&self) -> Result<()> {
        self.remount(MountFlags::empty())
    }

    fn remount(&self, flags: MountFlags) -> Result<()> {
        mount_remount(&self.path, flags, self.size.as_c_str()).context("remount the card")
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // Whatever still holds it, its name is free.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_fills_up_and_becomes_read_only_and_is_as_before() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let card = Card::new(&directory.path().join("card"), "1m")?;
        let file = directory.path().join("card/file");
        let refused = |kind| fs::write(&file, "x").is_err_and(|error| error.kind() == kind);
        card.fill()?;
        assert!(refused(ErrorKind::StorageFull));
        card.make_room()?;
        fs::write(&file, "x")?;
        card.make_read_only()?;
        assert!(refused(ErrorKind::ReadOnlyFilesystem));
        card.make_writable()?;
        fs::write(&file, "x")?;
        Ok(())
    }
}
