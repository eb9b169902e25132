//! What went wrong, in the words that users of kubectl know.
//!
//! Most errors print as `error: ` and their chain of causes. What an API server would have
//! answered prints as its answer: `Error from server (NotFound): pods "web" not found`.

use crate::broker::BrokerError;
use crate::kubernetes::findings::{FieldError, listed};
use crate::manifest::ManifestError;

/// What an API server would have answered.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no such thing.
    #[error("Error from server (NotFound): {resource} \"{name}\" not found")]
    NotFound {
        /// The kind's word for several, such as `pods`.
        resource: &'static str,
        /// Its name.
        name: String,
    },
    /// Somebody else was faster.
    #[error(
        "Error from server (Conflict): Operation cannot be fulfilled on {resource} \"{name}\": \
         {place} has another revision by now ({other}); look at it and try again"
    )]
    Conflict {
        /// The kind's word for several.
        resource: &'static str,
        /// Its name.
        name: String,
        /// Where.
        place: String,
        /// Its hash.
        other: String,
    },
    /// A node does not want it.
    #[error("Error from server ({reason}): {place} refused {resource} \"{name}\": {problem}")]
    Refused {
        /// The kind's word for several.
        resource: &'static str,
        /// Its name.
        name: String,
        /// Where.
        place: String,
        /// The node's word.
        reason: String,
        /// Field and message.
        problem: String,
    },
    /// A node was asked, and answered so.
    #[error("Error from server ({reason}): {message}")]
    Answered {
        /// The node's word.
        reason: String,
        /// Why, for a person.
        message: String,
    },
    /// It may not be changed so.
    #[error("The {kind} \"{name}\" is invalid: {}", listed(.problems))]
    Immutable {
        /// `Pod`, `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Fields and rules.
        problems: Vec<FieldError>,
    },
}

/// An error as it is printed.
pub fn format(error: &anyhow::Error) -> String {
    if error.is::<ServerError>()
        || matches!(error.downcast_ref(), Some(ManifestError::Invalid { .. }))
    {
        return error.to_string();
    }
    match error.downcast_ref::<BrokerError>() {
        Some(BrokerError::Refused { .. }) => return error.to_string(),
        Some(broker) if broker.is_forbidden() => {
            return format!("Error from server (Forbidden): {error}");
        }
        _ => {}
    }
    let chain: Vec<_> = error.chain().map(ToString::to_string).collect();
    format!("error: {}", chain.join(": "))
}
