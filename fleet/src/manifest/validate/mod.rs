//! What an API server would refuse, refused before anything is published.
//!
//! The node validates again, since what it receives can come from anybody; this side is for the
//! person at the keyboard and has the API server's words and paths.

mod container;
mod data;
mod metadata;
pub mod name;
mod pod;
mod probe;
mod service;
mod volume;

use crate::content::Content;
use crate::kubernetes::findings::Findings;
use crate::kubernetes::path::Path;

/// Checks an object.
pub fn check(content: &Content, findings: &mut Findings) {
    let root = Path::root("");
    metadata::check(content.meta(), root.field("metadata"), findings);
    match content {
        Content::Pod(pod) => {
            metadata::rollout(&pod.meta, root.field("metadata"), findings);
            pod::check(&pod.spec, root.field("spec"), findings);
        }
        Content::ConfigMap(map) => data::config_map(map, root, findings),
        Content::Secret(secret) => data::secret(secret, root, findings),
        Content::Service(service) => service::check(service, root, findings),
    }
}

#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;
