//! Trees of files that containers wrote: how much of the disk they take, and their removal.
//!
//! They may be of any shape, deeper than a stack or a path is long, and wider than memory. Nothing
//! here takes more of either than [`walk::Bounds`] says.

mod removal;
mod usage;
pub mod walk;

pub use removal::remove;
pub use usage::usage;

#[cfg(test)]
mod tests;
