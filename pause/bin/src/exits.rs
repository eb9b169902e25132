//! The file of exits, for agents that were not there.

use mote_pause::wire::{EXIT_SLOTS, Exit, Reply};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{self, Errno};

/// A ring of records: the newest take the places of the oldest, so that a container that restarts
/// for years fills no memory.
pub(crate) struct Exits {
    file: OwnedFd,
    next: usize,
}

impl Exits {
    pub(crate) fn create(dir: BorrowedFd<'_>) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let flags = flags | OFlags::NOFOLLOW;
        let file = fs::openat(dir, c"exits", flags, Mode::from_raw_mode(0o600))?;
        Ok(Self { file, next: 0 })
    }

    /// Keeps an exit. It is also remembered in memory, so an error has no consequence while pause
    /// lives.
    pub(crate) fn keep(&mut self, exit: Exit) {
        let mut record = [0; Exit::SIZE];
        if Reply::Exited(exit).encode(0, &mut record).is_ok() {
            let _ = io::pwrite(&self.file, &record, (self.next * Exit::SIZE) as u64);
            self.next = (self.next + 1) % EXIT_SLOTS;
        }
    }
}
