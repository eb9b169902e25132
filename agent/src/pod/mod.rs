//! A pod, without the world around it: what was asked, what became of it, what it says of itself.
//!
//! Everything here is pure: no clocks, no disk, no kernel. Times come in as values, facts come in
//! as events, and the same history always ends in the same state.

mod moment;

pub use moment::Moment;
