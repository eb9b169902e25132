//! What reading and validating a manifest found: errors by field, and fields that have no effect.

use std::fmt;

use super::path::Path;

/// Everything found in one document, in the order of reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Why the document cannot be used.
    pub errors: Vec<FieldError>,
    /// Fields that are read by nobody.
    pub ignored: Vec<IgnoredField>,
}

/// One field that is wrong, in the API server's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FieldError {
    /// Where it stands.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It must be there.
    Required,
    /// It has a value that it must not have.
    Invalid {
        /// The value, as JSON.
        value: String,
        /// What it must be.
        detail: String,
    },
    /// It has a value that is not one of a few words.
    Unsupported {
        /// The value, as JSON.
        value: String,
        /// The words.
        supported: Vec<&'static str>,
    },
    /// Another item of the list has the same.
    Duplicate {
        /// The value.
        value: String,
    },
    /// It names something that is not there.
    NotFound {
        /// The value.
        value: String,
    },
    /// It must not be there, or not change.
    Forbidden {
        /// Why.
        detail: String,
    },
    /// A list is too long.
    TooMany {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// It holds too many bytes.
    TooLong {
        /// The bound.
        max: usize,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Required => f.write_str("Required value"),
            Self::Invalid { value, detail } => write!(f, "Invalid value: {value}: {detail}"),
            Self::Unsupported { value, supported } => {
                write!(f, "Unsupported value: {value}: supported values: ")?;
                for (place, word) in supported.iter().enumerate() {
                    let comma = if place == 0 { "" } else { ", " };
                    write!(f, "{comma}\"{word}\"")?;
                }
                Ok(())
            }
            Self::Duplicate { value } => write!(f, "Duplicate value: {value:?}"),
            Self::NotFound { value } => write!(f, "Not found: {value:?}"),
            Self::Forbidden { detail } => write!(f, "Forbidden: {detail}"),
            Self::TooMany { len, max } => {
                write!(f, "Too many: {len}: must have at most {max} items")
            }
            Self::TooLong { max } => write!(f, "Too long: may not be more than {max} bytes"),
        }
    }
}

/// Several errors as the API server lists them: one on the line, more below each other.
pub fn listed(errors: &[FieldError]) -> String {
    if let [error] = errors {
        return error.to_string();
    }
    errors.iter().fold(String::new(), |list, error| format!("{list}\n* {error}"))
}

/// A field that is read by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredField {
    /// Where it stands.
    pub path: String,
    /// Why it has no effect.
    pub why: Ignored,
}

/// Why a field has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Kubernetes has it, mote's nodes do not act on it.
    Unsupported,
    /// Kubernetes has it, and without it the pod would mean something else: nodes refuse the pod.
    Refused {
        /// What it cannot go together with, where it is not by itself what is not supported.
        with: Option<&'static str>,
    },
    /// Nobody has it; perhaps another was meant.
    Unknown {
        /// The known field that is spelt most like it.
        nearest: Option<&'static str>,
    },
}

impl fmt::Display for IgnoredField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Ignored::Unsupported => {
                write!(f, "field \"{}\" is not supported by mote and has no effect", self.path)
            }
            Ignored::Refused { with } => {
                let with = with.map(|with| format!(" with {with}")).unwrap_or_default();
                write!(
                    f,
                    "field \"{}\" is not supported by mote{with}: nodes refuse the pod",
                    self.path
                )
            }
            Ignored::Unknown { nearest: None } => write!(f, "unknown field \"{}\"", self.path),
            Ignored::Unknown { nearest: Some(nearest) } => {
                write!(f, "unknown field \"{}\" (did you mean \"{nearest}\"?)", self.path)
            }
        }
    }
}

impl Findings {
    /// Notes an error.
    pub fn error(&mut self, at: Path<'_>, problem: Problem) {
        self.errors.push(FieldError { path: at.to_string(), problem });
    }

    /// Notes a value that must be something else.
    pub fn invalid(&mut self, at: Path<'_>, value: impl fmt::Display, detail: impl Into<String>) {
        let (value, detail) = (value.to_string(), detail.into());
        self.error(at, Problem::Invalid { value, detail });
    }

    /// Notes a text that must be something else.
    pub fn invalid_text(&mut self, at: Path<'_>, value: &str, detail: impl Into<String>) {
        self.invalid(at, format_args!("{value:?}"), detail);
    }

    /// Notes a field that is missing.
    pub fn required(&mut self, at: Path<'_>) {
        self.error(at, Problem::Required);
    }

    /// Notes a field that must not be there.
    pub fn forbidden(&mut self, at: Path<'_>, detail: impl Into<String>) {
        self.error(at, Problem::Forbidden { detail: detail.into() });
    }

    /// Notes a name of something that is not there.
    pub fn not_found(&mut self, at: Path<'_>, value: &str) {
        self.error(at, Problem::NotFound { value: value.into() });
    }

    /// Notes a value that another item has already.
    pub fn duplicate(&mut self, at: Path<'_>, value: &str) {
        self.error(at, Problem::Duplicate { value: value.into() });
    }
}
