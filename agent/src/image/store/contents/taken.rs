//! What a tree takes of its file system.

use rustix::fs::Stat;

use crate::image::room::Amount;

/// The unit of `st_blocks`, whatever the file system's own is.
const BLOCK: u64 = 512;

/// Parts of an inode that are counted: so much of a file is each of its names.
const PARTS: u64 = 1 << 16;

/// Counts names. Each counts for its share of what it stands for: in a tree that has all names of a
/// file that makes one, and nothing needs to be remembered of them.
#[derive(Debug, Default)]
pub(super) struct Taken {
    bytes: u64,
    parts: u64,
}

impl Taken {
    pub(super) fn count(&mut self, stat: &Stat) {
        let is_directory = super::kind(stat) == super::Kind::Directory;
        // The types of these fields differ between architectures.
        #[allow(clippy::useless_conversion)]
        let names = if is_directory { 1 } else { u64::from(stat.st_nlink).max(1) };
        let bytes = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(BLOCK);
        self.bytes = self.bytes.saturating_add(bytes / names);
        self.parts = self.parts.saturating_add(PARTS / names);
    }

    pub(super) fn amount(&self) -> Amount {
        Amount { bytes: self.bytes, inodes: self.parts.div_ceil(PARTS) }
    }
}
