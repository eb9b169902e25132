//! What an API server would refuse, refused before anything is published.
//!
//! The node validates again, since what it receives can come from anybody; this side is for the
//! person at the keyboard and has the API server's words and paths.

mod container;
mod metadata;
pub mod name;
mod pod;
mod probe;
mod volume;

use mote_protocol::object::Pod;

use crate::kubernetes::findings::Findings;
use crate::kubernetes::path::Path;

/// Checks a pod.
pub fn pod(pod: &Pod, findings: &mut Findings) {
    let root = Path::root("");
    metadata::check(&pod.meta, root.field("metadata"), findings);
    pod::check(&pod.spec, root.field("spec"), findings);
}

#[cfg(test)]
mod tests;
