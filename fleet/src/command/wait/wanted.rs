//! What `--for` asks.

use std::str::FromStr;

use serde_json::Value;

/// What is wanted of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is there.
    Created,
    /// It is gone.
    Deleted,
    /// A condition has a status.
    Condition {
        /// Its type.
        name: String,
        /// The status, `True` where it was not said.
        status: String,
    },
}

/// Why `--for` asks nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum WantedError {
    /// It has another form.
    #[error(
        "unrecognized condition: \"{0}\": use create, delete, condition=NAME[=VALUE] or \
         jsonpath='{{EXPRESSION}}'[=VALUE]"
    )]
    Unknown(String),
}

impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, WantedError> {
        match text {
            "create" => return Ok(Self::Created),
            "delete" => return Ok(Self::Deleted),
            _ => {}
        }
        if let Some(condition) = text.strip_prefix("condition=") {
            let (name, status) = condition.split_once('=').unwrap_or((condition, "True"));
            if !name.is_empty() {
                return Ok(Self::Condition { name: name.into(), status: status.into() });
            }
        }
        Err(WantedError::Unknown(text.into()))
    }
}

impl Wanted {
    /// Whether an object, or its absence, is what is wanted.
    pub(super) fn is_met(&self, object: Option<&Value>) -> bool {
        let Some(object) = object else { return *self == Self::Deleted };
        match self {
            Self::Created => true,
            Self::Deleted => false,
            Self::Condition { name, status } => {
                let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
                let mut conditions = conditions.into_iter().flatten();
                let text = |condition: &Value, key: &str, text: &str| {
                    let found = condition.get(key).and_then(Value::as_str);
                    found.is_some_and(|found| found.eq_ignore_ascii_case(text))
                };
                conditions.any(|condition| {
                    text(condition, "type", name) && text(condition, "status", status)
                })
            }
        }
    }
}
