//! What `--for` asks.

use std::str::FromStr;

use serde_json::Value;

use crate::output::jsonpath::{JsonPathError, Template, print};

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
    /// A path leads to something, or to a value.
    Path {
        /// The path.
        template: Box<Template>,
        /// The value as it is printed.
        value: Option<String>,
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
    /// Its path cannot be read.
    #[error(transparent)]
    Path(#[from] JsonPathError),
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
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            // The path may hold comparisons: the value begins behind its closing brace.
            let (path, value) = match rest.find('}') {
                Some(end) => rest.split_at(end + 1),
                None => rest.split_at(rest.find('=').unwrap_or(rest.len())),
            };
            let value = value.strip_prefix('=').filter(|value| !value.is_empty());
            let template = Box::new(Template::relaxed(path)?);
            return Ok(Self::Path { template, value: value.map(|v| unquoted(v).into()) });
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
            Self::Path { template, value } => {
                // A place that is not there may come to be.
                let found = template.find(object).unwrap_or_default();
                match value {
                    None => !found.is_empty(),
                    Some(value) => matches!(found[..], [one] if print(one) == *value),
                }
            }
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

/// A value without the quotes that a shell left on it.
fn unquoted(value: &str) -> &str {
    let strip = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
    strip('"').or_else(|| strip('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wanted_is_read_and_met_as_with_kubectl() {
        let pod = json!({
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        for (text, met) in [
            ("create", true),
            ("delete", false),
            ("condition=Ready", true),
            ("condition=ready=true", true),
            ("condition=Ready=False", false),
            ("condition=Other", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath=.status.phase=Running", true),
            ("jsonpath={.status.phase}=\"Running\"", true),
            ("jsonpath={.status.phase}", true),
            ("jsonpath={.status.podIP}", false),
            ("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", true),
            ("jsonpath={.status.conditions[3]}=True", false),
        ] {
            let wanted: Wanted = text.parse().expect(text);
            assert_eq!(wanted.is_met(Some(&pod)), met, "{text}");
        }
        for text in ["", "luck", "condition=", "jsonpath={.a"] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }
}
