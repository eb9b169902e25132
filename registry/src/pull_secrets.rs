//! What a pod brings to be let in: credentials that come with a request, not from a file.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Docker configurations from `imagePullSecrets`, in the order of the pod.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullSecrets(pub Vec<PullSecret>);

/// What one of them holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullSecret {
    /// The Secret's name, for messages.
    pub name: String,
    /// Its JSON is that of `.dockercfg`, the older form.
    pub older: bool,
    /// JSON, as docker writes it.
    pub config: String,
}

/// Names only.
impl fmt::Debug for PullSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|secret| &secret.name)).finish()
    }
}
