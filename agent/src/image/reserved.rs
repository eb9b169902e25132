//! Files that grow, and leave the reserve of the disk alone.

use std::fs::File;
use std::io::{self, ErrorKind, Write};

use super::room::Room;

/// Bytes between two looks at the free space.
const LOOK: u64 = 1024 * 1024;

/// A file that takes no room of others'.
#[derive(Debug)]
pub(super) struct Reserved {
    inner: File,
    /// Bytes of its file system that stay free; none asks for none.
    reserve: u64,
    /// Bytes since the free space was looked at.
    unseen: u64,
}

impl Reserved {
    /// Fails to write where less than `reserve` bytes of the file system would stay free.
    pub(super) const fn new(inner: File, reserve: u64) -> Self {
        Self { inner, reserve, unseen: 0 }
    }

    /// Whether so many bytes more leave the reserve alone. Where free space cannot be told, writing
    /// will.
    pub(super) fn fits(&self, bytes: u64) -> io::Result<()> {
        if self.reserve == 0 {
            return Ok(());
        }
        let free = rustix::fs::fstatvfs(&self.inner).map(|stat| Room::from(stat).available);
        if free.is_ok_and(|free| free < self.reserve.saturating_add(bytes)) {
            let text = format!("less than {} bytes would stay free", self.reserve);
            return Err(io::Error::new(ErrorKind::StorageFull, text));
        }
        Ok(())
    }

    /// Makes what was written last.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.inner.sync_all()
    }
}

impl Write for Reserved {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.unseen += data.len() as u64;
        if self.unseen >= LOOK {
            self.fits(self.unseen)?;
            self.unseen = 0;
        }
        self.inner.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
