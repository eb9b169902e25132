//! Where the answer to a probe leads.

use super::url::Url;
use crate::pod::handler::{HttpGet, Port};

/// Follows a `Location` header from a path of the pod.
pub fn redirect(path: &str, location: &str) -> bool {
    let get = HttpGet {
        host: String::new(),
        port: Port::Number(8080),
        path: path.to_owned(),
        https: false,
        headers: Vec::new(),
    };
    let base = Url::of(&get, 8080);
    let Some(next) = base.join(location) else { return false };
    assert!(next.target.starts_with('/') && !next.target.contains(['\r', '\n', ' ']), "{next}");
    let _ = (next.is_on(&base), next.authority());
    true
}
