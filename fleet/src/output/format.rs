//! `-o`: the form of a result.

use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use super::jsonpath::{JsonPathError, Template};
use super::yaml;

/// The form of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// The objects as JSON.
    Json,
    /// The objects as YAML.
    Yaml,
    /// `kind/name`, one on a line.
    Name,
    /// What a template asks for.
    JsonPath(Box<Template>),
}

/// Why a text is no form.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FormatError {
    /// Nobody knows it.
    #[error(
        "unable to match a printer suitable for the output format \"{0}\", allowed formats are: \
         json,jsonpath,jsonpath-file,name,wide,yaml"
    )]
    Unknown(String),
    /// A template was not given.
    #[error("template format specified but no template given")]
    NoTemplate,
    /// A template cannot be read from its file.
    #[error("error reading --template {path}")]
    TemplateFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// A template cannot be read or filled.
    #[error(transparent)]
    Template(#[from] JsonPathError),
}

impl FromStr for OutputFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        if let Some(template) = text.strip_prefix("jsonpath=") {
            return Ok(Self::JsonPath(Box::new(template.parse()?)));
        }
        if let Some(path) = text.strip_prefix("jsonpath-file=") {
            let template = std::fs::read_to_string(path).map_err(|source| {
                FormatError::TemplateFile { path: path.into(), source: Arc::new(source) }
            })?;
            return Ok(Self::JsonPath(Box::new(template.parse()?)));
        }
        Ok(match text {
            "jsonpath" | "jsonpath-file" => return Err(FormatError::NoTemplate),
            "wide" => Self::Wide,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "name" => Self::Name,
            _ => return Err(FormatError::Unknown(text.into())),
        })
    }
}

impl OutputFormat {
    /// An object in this form; the tables are made elsewhere.
    pub fn format(&self, value: &Value) -> Result<String, FormatError> {
        Ok(match self {
            Self::Yaml => yaml(value),
            Self::JsonPath(template) => template.fill(value)?,
            Self::Json | Self::Table | Self::Wide | Self::Name => json(value),
        })
    }
}

/// A JSON document as kubectl prints it: four spaces, a line feed at its end.
pub fn json(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    let written = serde::Serialize::serialize(value, &mut serializer);
    written.expect("a JSON value is JSON, and a vector takes it");
    let mut text = String::from_utf8(bytes).expect("JSON is text");
    text.push('\n');
    text
}

/// A YAML document.
pub fn yaml(value: &Value) -> String {
    yaml::format(value)
}
