//! What the node and its pods use, as operators are told it. PURE.
//!
//! ```text
//! two looks (sample) --> rates over the time between them (report) --> the wire
//!                        when the next report is due (schedule)
//! ```
//! The kernel counts; nobody looks but for a report that is due, or because somebody asks. Who looks
//! is the steward: it knows the pods.

mod report;
mod sample;
mod schedule;

pub use report::Report;
pub use sample::{ContainerSample, NodeSample, PodSample, Sample};
pub use schedule::{Reports, Schedule};
