//! How much one layer may ask of a node, each bound with the reason for its number.

use std::io::{self, Read};

/// Bounds on one layer. The defaults let every image through that a small machine could run.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries of the archive. Large distributions have 100,000 files; each costs an inode, and a
    /// small card has a few hundred thousand of them.
    pub entries: u64,
    /// Bytes of a path or of a link's target, as the kernel bounds them (`PATH_MAX` with its NUL).
    pub path: usize,
    /// Directories above a file. Deep trees make removing and walking them expensive.
    pub depth: usize,
    /// Bytes of the unpacked archive.
    pub bytes: u64,
    /// How often larger than the packed layer the unpacked one may be, beyond
    /// [`Limits::FREE_RATIO_BYTES`]. Programs and text pack 2 to 10 times, empty disk images
    /// 1,000 times.
    pub ratio: u64,
    /// Bytes of extended headers (long names, attributes) of one entry, which are held in memory.
    pub headers: usize,
    /// Free bytes the file system must keep. Below it the node could not even write down why.
    pub reserve: u64,
}

impl Limits {
    /// Unpacked bytes that any layer may have whatever its ratio: small layers of zeros are common
    /// and harmless.
    pub const FREE_RATIO_BYTES: u64 = 128 * 1024 * 1024;

    /// The most bytes that a layer of `packed` bytes may unpack to.
    pub fn unpacked(&self, packed: u64) -> u64 {
        let by_ratio = packed.saturating_mul(self.ratio).saturating_add(Self::FREE_RATIO_BYTES);
        by_ratio.min(self.bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 500_000,
            path: 4095,
            depth: 128,
            bytes: 16 * 1024 * 1024 * 1024,
            ratio: 200,
            headers: 256 * 1024,
            reserve: 64 * 1024 * 1024,
        }
    }
}

/// More came out of a layer than its size allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it unpacks to more than {limit} bytes, the most for a layer of {packed} packed bytes")]
pub struct Bomb {
    /// The bound.
    pub limit: u64,
    /// The size it follows from.
    pub packed: u64,
}

/// Reads up to a bound and fails, instead of ending, when there is more.
pub struct Bounded<R> {
    inner: R,
    left: u64,
    bomb: Bomb,
}

impl<R: Read> Bounded<R> {
    /// Bounds what is read of the unpacked form of a layer that has `packed` bytes.
    pub fn new(inner: R, limits: &Limits, packed: u64) -> Self {
        let limit = limits.unpacked(packed);
        Self { inner, left: limit, bomb: Bomb { limit, packed } }
    }

    /// What is read from.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left =
            self.left.checked_sub(count as u64).ok_or_else(|| io::Error::other(self.bomb))?;
        Ok(count)
    }
}
