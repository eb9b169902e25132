//! How a change of a pod is made: when its window opens and its lock is free, and on trial, until the
//! pod is ready.
//!
//! Decides only: the store keeps on flash what these values say, the steward asks them whenever
//! something happened, and does what they say.

mod delay;
mod trial;

pub use delay::{Decision, Delayed, Obstacle, Occasion};
pub use trial::{Count, Failure, Trial, Verdict};
