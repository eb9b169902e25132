//! A pod, without the world around it: what was asked, what became of it, what it says of itself.
//!
//! Everything here is pure: no clocks, no disk, no kernel. Times come in as values, facts come in
//! as events, and the same history always ends in the same state.

pub mod backoff;
pub mod contents;
pub mod enforcement;
pub mod fault;
pub mod handler;
pub mod machine;
mod messages;
mod moment;
pub mod phase;
pub mod ports;
pub mod process;
pub mod qos;
pub mod resources;
pub mod room;
pub mod spec;
pub mod status;
pub mod storage;
#[cfg(test)]
pub(crate) mod tests;
pub mod validate;

pub use moment::{Boot, Moment, WRITTEN_S};
pub use spec::{Asked, Container, Pod, PodMeta, PodName};
