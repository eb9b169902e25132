//! Checksums of what was unpacked, noted as it went by so that nothing is read twice.

use std::collections::BTreeMap;

/// Most files whose sums are held, about 1.5 MiB. Those of others are found by reading them again.
const MAX_HELD: usize = 32 * 1024;

/// The CRC-32 of files by their inode, so that hard links share theirs.
#[derive(Debug, Default)]
pub struct Sums(BTreeMap<u64, u32>);

impl Sums {
    pub(super) fn note(&mut self, inode: u64, sum: u32) {
        // An inode that was freed may be another file's now.
        self.0.remove(&inode);
        if self.0.len() < MAX_HELD {
            self.0.insert(inode, sum);
        }
    }

    pub(super) fn forget(&mut self, inode: u64) {
        self.0.remove(&inode);
    }

    /// The sum of a file, if it was held.
    pub fn of(&self, inode: u64) -> Option<u32> {
        self.0.get(&inode).copied()
    }
}
