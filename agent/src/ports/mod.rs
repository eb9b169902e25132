//! Everything nondeterministic enters the node here: disk, clocks, locks and randomness.
//!
//! Each port has one real implementation (beside its trait) and one that the simulator drives. The
//! ports with modules of their own are [`crate::runtime::Runtime`], [`crate::image::Images`] and
//! [`crate::link::Link`].

use std::future::Future;
use std::io;
use std::time::SystemTime;

use mote_protocol::rollout::LockName;

use crate::runtime::BootTime;

pub mod disk;
mod locks;
mod machine;
mod reserve;
mod turn;

pub use disk::FlashDisk;
pub use locks::{LockFiles, LockWatch};
pub use machine::{KernelClock, KernelRandom, KernelWallClock};
pub(crate) use turn::in_turn;

/// Small files that survive a power cut, under one directory.
///
/// Names are relative paths of our own making (`spec/pod/default/web`), never foreign text that
/// was not validated. A write is durable when it returns: temporary file, fsync, rename, fsync of
/// the directory. What is asked first is done first, also where nobody waits for it.
pub trait Disk {
    /// The whole file; `NotFound` where there is none.
    fn read(&self, name: &str) -> impl Future<Output = io::Result<Vec<u8>>>;
    /// Replaces the file, or leaves the old one: never a mixture.
    fn write(&self, name: &str, bytes: &[u8]) -> impl Future<Output = io::Result<()>>;
    /// Removes the file; one that is not there is no error.
    fn remove(&self, name: &str) -> impl Future<Output = io::Result<()>>;
    /// Names of all files below a directory, sorted; none where the directory is missing.
    fn list(&self, directory: &str) -> impl Future<Output = io::Result<Vec<String>>>;
    /// Whether the card is so full that writes take the room which was reserved for them.
    fn is_short(&self) -> bool;
}

/// Time that only goes forward. Waiting is `tokio::time`, so that tests pause it.
pub trait Clock {
    /// Now, on the clock of [`BootTime`].
    fn now(&self) -> BootTime;
}

/// The time of day, which may be wrong and may jump.
pub trait WallClock {
    /// Now, as far as this machine knows.
    fn now(&self) -> SystemTime;
    /// Somebody (NTP, PTP) keeps it right.
    fn is_kept(&self) -> bool;
}

/// Locks of this node: while one is held, changes that ask for it wait.
pub trait Locks {
    /// Whether somebody holds it now; also where nobody can tell.
    fn is_held(&self, name: &LockName) -> bool;
}

/// Randomness for jitter and for names: not for keys.
pub trait Random {
    /// The next 64 random bits.
    fn next(&self) -> u64;
}
