//! Files that grow, and leave the reserve of the disk alone.

use std::fs::File;
use std::io::{self, Write};

use crate::image::room::Room;

/// A file that takes no room of others'.
pub(super) struct Reserved {
    inner: File,
    reserve: u64,
    /// Bytes written since the free space was looked at.
    unchecked: usize,
}

impl Reserved {
    /// Fails to write where less than `reserve` bytes of the file system are free.
    pub(super) const fn new(inner: File, reserve: u64) -> Self {
        Self { inner, reserve, unchecked: 0 }
    }
}

impl Write for Reserved {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        const LOOK: usize = 1 << 20;
        if self.unchecked >= LOOK {
            self.unchecked = 0;
            let room = Room::from(rustix::fs::fstatvfs(&self.inner)?);
            if room.available < self.reserve {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let count = self.inner.write(data)?;
        self.unchecked += count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
