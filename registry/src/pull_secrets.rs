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

/// A Secret of a pod that docker could not have written. A pull fails by it, as a kubelet's does: without
/// it the pod would be refused for a reason that is nobody's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct MalformedSecret {
    /// The Secret's name.
    pub name: String,
    /// What is wrong with it, without what it holds.
    pub problem: String,
}

/// Names only.
impl fmt::Debug for PullSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|secret| &secret.name)).finish()
    }
}
