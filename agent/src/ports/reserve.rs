//! Room on the card that is kept for what the agent must write.
//!
//! Others may fill the card: a pod, a log, a download. Then this file gives way, as far as is
//! needed, and takes back what is left as soon as there is room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::disk::MAX_FILE;

/// What it grows and shrinks by.
const STEP: u64 = 64 * 1024;

/// The longest file of ours, and a few short ones.
pub(super) const WHOLE: u64 = (MAX_FILE / STEP + 2) * STEP;

const NAME: &str = ".reserve";

/// A file that holds nothing.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: u64,
    /// It cannot be made on this card, for another reason than that it is full.
    hopeless: bool,
}

/// Whether something failed for want of room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

impl Reserve {
    /// What an earlier agent reserved, and what can be had beside it.
    pub(super) fn open(root: &Path) -> Self {
        let path = root.join(NAME);
        // One with holes came by a copy, and reserves nothing.
        let real =
            fs::metadata(&path).ok().filter(|of| of.is_file() && of.blocks() * 512 >= of.len());
        let held = real.map_or(0, |of| of.len());
        let mut reserve = Self { path, held: held.min(WHOLE), hopeless: false };
        reserve.grow();
        reserve
    }

    /// Whether room is missing that may come.
    pub(super) const fn is_short(&self) -> bool {
        self.held < WHOLE && !self.hopeless
    }

    /// Gives up room for a file of so many bytes; false where there is none to give.
    pub(super) fn give(&mut self, bytes: u64) -> bool {
        if self.held == 0 {
            return false;
        }
        let left = self.held.saturating_sub(bytes + STEP) / STEP * STEP;
        let given = if left == 0 { fs::remove_file(&self.path) } else { self.shrink(left) };
        // Where it cannot be made shorter somebody took it away.
        self.held = if given.is_ok() { left } else { 0 };
        given.is_ok()
    }

    /// Room is to be had by others once it is durable that it is not ours.
    fn shrink(&self, left: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(left)?;
        file.sync_all()
    }

    /// Takes back what there is room for.
    pub(super) fn grow(&mut self) {
        if self.held >= WHOLE {
            return;
        }
        self.hopeless = match self.take() {
            Ok(()) => false,
            Err(error) => !is_full(&error),
        };
    }

    fn take(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        // Somebody may have taken it away, or a part of it.
        self.held = self.held.min(file.metadata()?.len());
        // At once where there is room, as nearly always; else as much as there is.
        if self.allocate(&mut file, WHOLE).is_ok() {
            return Ok(());
        }
        while self.held < WHOLE {
            self.allocate(&mut file, self.held + STEP)?;
        }
        Ok(())
    }

    fn allocate(&mut self, file: &mut File, to: u64) -> io::Result<()> {
        file.set_len(self.held)?;
        let result = match fallocate(&*file, FallocateFlags::empty(), self.held, to - self.held) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(file, to),
            result => result.map_err(io::Error::from),
        };
        match result {
            Ok(()) => self.held = to,
            // Part of it may be there.
            Err(_) => file.set_len(self.held)?,
        }
        result
    }

    /// For file systems that know no other way (FAT).
    fn fill(&self, file: &mut File, to: u64) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.held))?;
        let zeros = vec![0; usize::try_from(STEP).unwrap_or_default()];
        for _ in 0..(to - self.held) / STEP {
            file.write_all(&zeros)?;
        }
        file.sync_data()
    }
}
