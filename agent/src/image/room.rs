//! How much room a file system has.

use rustix::fs::StatVfs;

/// The file system of the store, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub capacity: u64,
    /// What is free for us.
    pub available: u64,
}

impl From<StatVfs> for Room {
    /// What is kept for root counts as taken: nothing of ours is worth it.
    fn from(found: StatVfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Self { capacity: bytes(found.f_blocks), available: bytes(found.f_bavail) }
    }
}
