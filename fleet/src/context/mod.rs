//! Contexts: which broker, which fleet, as whom.
//!
//! They lie in one YAML file, as in kubeconfig: `--config`, else `$MOTE_CONFIG`, else
//! `~/.config/mote/config`, else `~/.mote/config`. [`file`] reads and writes it; this module makes
//! a [`Context`] of one entry, which cannot be wrong in itself any more. Every error names the
//! file and the field.

pub mod broker_url;
pub mod file;

use std::path::{Path, PathBuf};

use mote_protocol::name::{FleetName, Namespace};

pub use broker_url::BrokerUrl;
use file::{ConfigFile, Entry};

/// The namespace where nobody names one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// One context, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// Where the broker is.
    pub broker: BrokerUrl,
    /// Which fleet.
    pub fleet: FleetName,
    /// Namespace of commands that name none.
    pub namespace: Namespace,
    /// Who may vouch for the broker (PEM); the system's own authorities are not asked.
    pub ca: Option<PathBuf>,
    /// Certificate and key that say who we are (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// User name, and the file that holds the password.
    pub login: Option<(String, Option<PathBuf>)>,
}

/// Why there is no usable context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The file cannot be read or written.
    #[error("{action} {}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not of the form.
    #[error("parse {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why, with line and field.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// A field of the file is wrong.
    #[error("{}: {field}: {problem}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no file.
    #[error(
        "no configuration: {} does not exist; write it with `mote config set-context NAME \
         --broker mqtt://HOST --fleet NAME`",
        path.display()
    )]
    NoFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Nobody chose a context.
    #[error("current-context is not set in {}: use `mote config use-context NAME`", path.display())]
    NoCurrent {
        /// The file.
        path: PathBuf,
    },
    /// There is no such context.
    #[error("no context exists with the name: \"{name}\" in {}", path.display())]
    Unknown {
        /// The name.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// There is nowhere to look for a file.
    #[error(
        "neither --config, MOTE_CONFIG, XDG_CONFIG_HOME nor HOME says where the configuration is"
    )]
    NoHome,
}

/// Where the configuration is, or would be written.
pub fn locate(asked: Option<&Path>) -> Result<PathBuf, ContextError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let asked = asked.map(PathBuf::from).or_else(|| variable("MOTE_CONFIG").map(PathBuf::from));
    if let Some(path) = asked {
        return Ok(path);
    }
    let home = variable("HOME").map(PathBuf::from);
    let xdg = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = xdg.or_else(|| home.as_ref().map(|home| home.join(".config")));
    let first = base.ok_or(ContextError::NoHome)?.join("mote/config");
    let second = home.map(|home| home.join(".mote/config"));
    match second.filter(|second| !first.exists() && second.exists()) {
        Some(second) => Ok(second),
        None => Ok(first),
    }
}

/// The context by name, or the current one.
pub fn load(path: &Path, name: Option<&str>) -> Result<Context, ContextError> {
    let Some(file) = ConfigFile::read(path)? else {
        return Err(ContextError::NoFile { path: path.into() });
    };
    let name = name.or(file.current_context.as_deref()).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ContextError::NoCurrent { path: path.into() })?;
    let place = file.contexts.iter().position(|entry| entry.name == name);
    match place.and_then(|place| Some((place, file.contexts.get(place)?))) {
        Some((place, entry)) => check(entry, place, path),
        None => Err(ContextError::Unknown { name: name.into(), path: path.into() }),
    }
}

/// Makes a context of an entry; `path` is its file, and what relative paths start from.
pub fn check(entry: &Entry, place: usize, path: &Path) -> Result<Context, ContextError> {
    let wrong = |field: &str, problem: String| ContextError::Field {
        path: path.into(),
        field: format!("contexts[{place}].{field}"),
        problem,
    };
    let required = |field: &str, value: &Option<String>| {
        let missing = || wrong(field, format!("is not set for context \"{}\"", entry.name));
        value.clone().filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    let broker: BrokerUrl = required("broker", &entry.broker)?
        .parse()
        .map_err(|error: broker_url::BrokerUrlError| wrong("broker", error.to_string()))?;
    let fleet = FleetName::new(&required("fleet", &entry.fleet)?)
        .map_err(|error| wrong("fleet", error.to_string()))?;
    let namespace = Namespace::new(entry.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE))
        .map_err(|error| wrong("namespace", error.to_string()))?;
    let base = path.parent().unwrap_or(Path::new(""));
    let below = |path: &PathBuf| base.join(path);
    let ca = entry.ca.as_ref().map(below);
    if broker.tls && ca.is_none() {
        return Err(wrong("ca", "is not set, and mqtts needs it to know the broker".into()));
    }
    let identity = match (&entry.cert, &entry.key) {
        (Some(cert), Some(key)) => Some((below(cert), below(key))),
        (None, None) => None,
        (Some(_), None) => return Err(wrong("key", "is not set, but cert is".into())),
        (None, Some(_)) => return Err(wrong("cert", "is not set, but key is".into())),
    };
    if !broker.tls && (ca.is_some() || identity.is_some()) {
        return Err(wrong("broker", "must begin with mqtts:// for ca, cert and key".into()));
    }
    let login = match (&entry.username, &entry.password_file) {
        (Some(user), file) => Some((user.clone(), file.as_ref().map(below))),
        (None, None) => None,
        (None, Some(_)) => {
            return Err(wrong("username", "is not set, but password-file is".into()));
        }
    };
    Ok(Context { name: entry.name.clone(), broker, fleet, namespace, ca, identity, login })
}

#[cfg(test)]
mod tests;
