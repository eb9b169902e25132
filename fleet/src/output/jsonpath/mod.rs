//! kubectl's dialect of `JSONPath`: a template of text and of expressions in braces.
//!
//! ```text
//! {.items[0].metadata.name}                    fields, items by place (-1 is the last)
//! {.items[*].metadata['labels','name']}        all items, several fields
//! {.items[0:2]} {..image}                      slices, fields at any depth
//! {.items[?(@.status.phase=="Running")].kind}  items by a comparison, or by what they have
//! {range .items[*]}{.kind}{"\n"}{end}          a part that is repeated
//! {.metadata.labels.example\.com/name}         a field whose name has a dot
//! ```
//! As with kubectl, a field that is not there prints nothing, a place that is not there is an
//! error, several results are separated by spaces, and objects print as JSON.

mod evaluate;
mod parse;

use std::str::FromStr;

use serde_json::Value;

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Printed as it is.
    Text(String),
    /// What a path leads to.
    Path(Path),
    /// The parts, once for everything that a path leads to.
    Range(Path, Vec<Self>),
}

/// A way from one value to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Path {
    /// It starts at the whole document, not at the current value.
    from_root: bool,
    steps: Vec<Step>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A field of an object.
    Field(String),
    /// Everything in an object or a list.
    Wildcard,
    /// Everything below, at any depth, and the value itself.
    Descend,
    /// An item of a list.
    Index(i64),
    /// Items of a list: from, to, step.
    Slice(Option<i64>, Option<i64>, i64),
    /// What each of several ways leads to.
    Union(Vec<Vec<Self>>),
    /// The items of a list that satisfy a comparison.
    Filter(Operand, Option<(Comparison, Operand)>),
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Path(Path),
    Literal(Value),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why a template cannot be read, or not be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonPathError {
    /// It is not of the form.
    #[error("error parsing jsonpath {template}: {problem}")]
    Parse {
        /// The template.
        template: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The value does not have what it asks for.
    #[error("error executing jsonpath \"{template}\": {problem}")]
    Evaluate {
        /// The template.
        template: String,
        /// What it does not have.
        problem: String,
    },
}

impl FromStr for Template {
    type Err = JsonPathError;

    fn from_str(text: &str) -> Result<Self, JsonPathError> {
        match parse::template(text) {
            Ok(parts) => Ok(Self { text: text.into(), parts }),
            Err(problem) => {
                let problem = problem.to_string();
                Err(JsonPathError::Parse { template: text.into(), problem })
            }
        }
    }
}

impl Template {
    /// Reads a single expression whose braces and leading dot may be missing, as `wait` takes it.
    pub fn relaxed(text: &str) -> Result<Self, JsonPathError> {
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let dot = if inner.starts_with(['.', '$', '@', '[']) { "" } else { "." };
        format!("{{{dot}{inner}}}").parse()
    }

    /// Fills the template from a value.
    pub fn fill(&self, value: &Value) -> Result<String, JsonPathError> {
        let mut text = String::new();
        let filled = evaluate::fill(&self.parts, value, value, &mut text);
        filled.map(|()| text).map_err(|problem| self.failed(&problem))
    }

    /// Everything that the template's paths lead to.
    pub fn find<'v>(&self, value: &'v Value) -> Result<Vec<&'v Value>, JsonPathError> {
        let mut found = Vec::new();
        for part in &self.parts {
            if let Part::Path(path) = part {
                let values = evaluate::follow(path, value, value);
                found.extend(values.map_err(|problem| self.failed(&problem))?);
            }
        }
        Ok(found)
    }

    fn failed(&self, problem: &evaluate::Problem) -> JsonPathError {
        JsonPathError::Evaluate { template: self.text.clone(), problem: problem.to_string() }
    }
}

/// A value as it is printed: texts as they are, the rest as JSON.
pub fn print(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
