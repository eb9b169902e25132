//! Profiles without files.

use std::path::PathBuf;

use libcontainer::oci_spec::runtime::{Capabilities, Capability};

use super::{Filter, Local};

/// Reads a profile and compiles it; whether there is a filter.
pub fn compile(bytes: &[u8]) -> bool {
    let Ok(local) = Local::of(PathBuf::new(), bytes) else { return false };
    let capabilities = Capabilities::from([Capability::Chown, Capability::SysAdmin]);
    let Ok(filter) = Filter::local(&local, &capabilities) else { return false };
    assert!(filter.is_strict() && filter.steps.len() <= 4096, "a filter that no kernel takes");
    true
}
