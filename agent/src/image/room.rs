//! How much room a file system has.

use std::iter::Sum;
use std::ops::Add;

use rustix::fs::StatVfs;
use serde::{Deserialize, Serialize};

/// Free inodes that are not taken, as the reserve of bytes is not: without one nobody can write down
/// what is wrong. A file system has one for each 16 KiB or so, so this is what 64 MiB have.
const RESERVE_INODES: u64 = 4096;
/// Of a small file system it is this part.
const RESERVE_PART: u64 = 16;

/// The file system of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// All of its bytes.
    pub capacity: u64,
    /// Those that are free for us.
    pub available: u64,
    /// All of its inodes; none where it makes them as they are needed (btrfs), and so has enough.
    pub inodes: u64,
    /// Those that are free for us.
    pub free_inodes: u64,
}

impl Room {
    /// Whether so many bytes can be taken so that `reserve` and some inodes stay.
    pub fn has(&self, bytes: u64, reserve: u64) -> bool {
        let kept = RESERVE_INODES.min(self.inodes / RESERVE_PART);
        let is_enough = self.inodes == 0 || self.free_inodes >= kept;
        self.available >= bytes.saturating_add(reserve) && is_enough
    }

    /// Whether so many bytes could be taken if it was empty.
    pub const fn could_have(&self, bytes: u64, reserve: u64) -> bool {
        self.capacity >= bytes.saturating_add(reserve)
    }
}

impl From<StatVfs> for Room {
    /// What is kept for root counts as taken: nothing of ours is worth it.
    fn from(found: StatVfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Self {
            capacity: bytes(found.f_blocks),
            available: bytes(found.f_bavail),
            inodes: found.f_files,
            free_inodes: found.f_favail,
        }
    }
}

/// Bytes and inodes of a file system: either may be what there is too little of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Bytes.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl Amount {
    /// More than there is.
    pub const EVERYTHING: Self = Self { bytes: u64::MAX, inodes: u64::MAX };

    /// Whether it is as much of both.
    pub const fn covers(&self, other: Self) -> bool {
        self.bytes >= other.bytes && self.inodes >= other.inodes
    }

    /// As much of each as the one that has more of it.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), inodes: self.inodes.max(other.inodes) }
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_inodes_are_both_kept_in_reserve() {
        let room = Room { capacity: 1000, available: 500, inodes: 160_000, free_inodes: 4096 };
        assert!(room.has(400, 100) && !room.has(401, 100) && !room.has(u64::MAX, 1));
        assert!(!Room { free_inodes: 4095, ..room }.has(0, 0));
        let small = Room { inodes: 1600, free_inodes: 100, ..room };
        assert!(small.has(0, 0) && !Room { free_inodes: 99, ..small }.has(0, 0));
        assert!(Room { inodes: 0, free_inodes: 0, ..room }.has(0, 0), "it has no bound");
        assert!(room.could_have(900, 100) && !room.could_have(901, 100));
        assert!(!room.could_have(u64::MAX, 100));
    }
}
