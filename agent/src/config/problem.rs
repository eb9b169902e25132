//! What is wrong with a configuration: one entry per mistake, each with its place.

use std::fmt;
use std::path::PathBuf;

/// Why a value cannot be used. The bound or the rule is in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// The file is no TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key without a default is not there.
    #[error("is required")]
    Missing,
    /// A value of another type.
    #[error("must be {expected}, not {found}")]
    Type {
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A number outside its bounds.
    #[error("{found} is outside {min} to {max}")]
    Range {
        /// The number as written.
        found: String,
        /// Smallest allowed.
        min: u64,
        /// Greatest allowed.
        max: u64,
    },
    /// More entries than can be used.
    #[error("has {found} entries, more than {max}")]
    TooMany {
        /// How many.
        found: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A key that means nothing here.
    #[error("is not a known key{}", nearest.map(|key| format!(", did you mean `{key}`?")).unwrap_or_default())]
    Unknown {
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A value that breaks a rule of its own.
    #[error("{0}")]
    Invalid(String),
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the file, counted from 1; none for what is not there or came from the environment.
    pub line: Option<usize>,
    /// The key's full name, or the variable's.
    pub key: String,
    /// What is wrong.
    pub rule: Rule,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match (&self.rule, self.key.as_str()) {
            (rule, "") => write!(f, "{rule}"),
            (rule @ (Rule::Missing | Rule::Unknown { .. }), key) => write!(f, "`{key}` {rule}"),
            (rule, key) => write!(f, "`{key}`: {rule}"),
        }
    }
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// It says things that cannot be used: all of them.
    #[error("configuration {} has {} error{}{}", path.display(), problems.len(),
        if problems.len() == 1 { "" } else { "s" }, Listed(problems))]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Everything that is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
