//! The configuration file: contexts by name, and which of them is current.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ContextError;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ConfigFile {
    /// The context that is used where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_context: Option<String>,
    /// All contexts.
    pub contexts: Vec<Entry>,
}

/// One context as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// `mqtt://host[:port]` or `mqtts://host[:port]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// The fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// Namespace of commands that name none; `default` where unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Certificates that may vouch for the broker (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Our name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The file whose first line is our password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

impl ConfigFile {
    /// Reads the file; `None` where there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, ContextError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(ContextError::File { action: "read", path: path.into(), source });
            }
        };
        if text.trim().is_empty() {
            return Ok(Some(Self::default()));
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let file = serde_saphyr::from_str_with_options(&text, options);
        file.map(Some)
            .map_err(|source| ContextError::Parse { path: path.into(), source: Box::new(source) })
    }

    /// Replaces the file as a whole, so that nobody ever reads half of it.
    pub fn write(&self, path: &Path) -> Result<(), ContextError> {
        let failed = |source| ContextError::File { action: "write", path: path.into(), source };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let replace = || {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(self.to_yaml().as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, path)
        };
        replace().map_err(|source| {
            let _ = fs::remove_file(&new);
            failed(source)
        })
    }

    /// The file as text.
    pub fn to_yaml(&self) -> String {
        serde_json::to_value(self)
            .map(|value| crate::output::yaml::format(&value))
            .unwrap_or_default()
    }

    /// A context by name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.contexts.iter().find(|entry| entry.name == name)
    }
}
