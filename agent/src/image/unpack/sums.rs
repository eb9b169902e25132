//! Checksums of what was unpacked, noted as it went by so that nothing is read twice.

use std::collections::BTreeMap;

/// Most files whose sums are held, about 1.5 MiB. Those of others are found by reading them again.
const MAX_HELD: usize = 32 * 1024;

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// Its CRC-32.
    Known(u32),
    /// It has holes, which did not go by and may be larger than any card: its sum leaves them out.
    Holes,
}

/// The sums of files by their inode, so that hard links share theirs.
#[derive(Debug, Default)]
pub struct Sums(BTreeMap<u64, Sum>);

impl Sums {
    /// Remembers what is known of a file.
    pub fn note(&mut self, inode: u64, sum: Sum) {
        // An inode that was freed may be another file's now.
        self.0.remove(&inode);
        // Files with holes are few, or refused: to read all of them would take too long.
        if self.0.len() < MAX_HELD || sum == Sum::Holes {
            self.0.insert(inode, sum);
        }
    }

    /// What is known of a file, if that was held.
    pub fn of(&self, inode: u64) -> Option<Sum> {
        self.0.get(&inode).copied()
    }
}
