//! Trees of files that containers wrote: how much of the disk they take, and their removal.
//!
//! They may be of any shape, deeper than a stack or a path is long, and wider than memory. Nothing
//! here takes more of either than it says: what is beyond is not counted ([`Counted::Endless`]), but
//! everything is removed.

mod measured;
mod removal;
mod usage;
pub mod walk;

pub use measured::{Counted, Measured};
pub use removal::{remove, remove_at};
pub use usage::usage;

#[cfg(test)]
mod tests;
