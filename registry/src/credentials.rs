//! Which name and password belong to an image: docker's files, read and matched as a kubelet does.
//!
//! A file is looked for in a list of places and the first that can be used counts. Its keys are
//! registries, with or without a path; an image may match several of them, and then each is tried,
//! the longest first. Source: `pkg/credentialprovider` of Kubernetes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::header::HeaderValue;
use serde::Deserialize;

use crate::glob;
use crate::pull_secrets::{MalformedSecret, PullSecret, PullSecrets};

/// Largest file of credentials.
const MAX_FILE: u64 = 256 * 1024;
/// Most credentials tried for one image: registries lock accounts that are tried too often.
const MAX_TRIED: usize = 8;
/// From this length on a name may be a token.
const MIN_SECRET_NAME: usize = 16;
/// The key under which docker keeps what belongs to Docker Hub.
const DOCKER_HUB: &str = "index.docker.io";

/// Docker writes padding, some tools do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credential {
    /// What its file says that it is for.
    key: String,
    user: String,
    password: String,
}

impl Credential {
    /// What HTTP's basic authentication shows (RFC 7617).
    pub(super) fn basic(&self) -> HeaderValue {
        let header = HeaderValue::from_str(&format!("Basic {}", self.encoded()));
        let mut header = header.expect("base64 is a header value");
        header.set_sensitive(true);
        header
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// What its file says that it is for: the name itself is a secret with some registries.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The forms in which a server could send it back to us.
    pub(super) fn secrets(&self) -> Vec<String> {
        let both = [self.encoded(), self.password.clone()].into_iter();
        // Short names stand in many an honest text.
        let name = Some(self.user.clone()).filter(|user| user.len() >= MIN_SECRET_NAME);
        both.chain(name).collect()
    }

    fn encoded(&self) -> String {
        BASE64.encode(format!("{}:{}", self.user, self.password))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("key", &self.key).finish_non_exhaustive()
    }
}

/// All credentials that there are, by what they are for.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    /// Normalised keys, `host[:port][/path]`.
    entries: BTreeMap<String, Vec<Credential>>,
    /// Files and entries that were passed over, for whoever wonders.
    passed_over: Vec<String>,
    /// Whose credentials are tried before these.
    before: Option<Box<Keyring>>,
}

/// The `config.json` of docker, as far as it matters here.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

impl Keyring {
    /// Reads the first of `files` that can be read. What is called `.dockercfg` has the older form.
    pub(super) fn load(files: &[PathBuf]) -> Self {
        let mut keyring = Self::default();
        for path in files {
            match read(path) {
                None => {}
                Some(Ok(entries)) => {
                    keyring.add(&path.display().to_string(), entries);
                    break;
                }
                Some(Err(problem)) => {
                    keyring.passed_over.push(format!("{}: {problem}", path.display()));
                }
            }
        }
        keyring
    }

    /// The same, and before them what a pod's `imagePullSecrets` hold. All of them must be what docker
    /// writes, also those for other registries.
    pub(super) fn after(self, secrets: &PullSecrets) -> Result<Self, MalformedSecret> {
        if secrets.0.is_empty() {
            return Ok(self);
        }
        let mut first = Self::default();
        for PullSecret { name, older, config } in &secrets.0 {
            let malformed = |problem| MalformedSecret { name: name.clone(), problem };
            let entries = parse(config, *older).map_err(malformed)?;
            if let Some(key) = entries.iter().find_map(|(key, one)| one.is_broken().then_some(key))
            {
                let problem =
                    format!("`auth` of {key:?} is not base64 of a name, `:` and a password");
                return Err(malformed(problem));
            }
            first.add(&format!("imagePullSecret {name}"), entries);
        }
        let passed_over = [first.passed_over.clone(), self.passed_over.clone()].concat();
        Ok(Self { before: Some(Box::new(first)), passed_over, ..self })
    }

    fn add(&mut self, source: &str, entries: BTreeMap<String, Entry>) {
        for (key, entry) in entries {
            match entry.credential(&key) {
                Some(credential) => {
                    self.entries.entry(normalise(&key)).or_default().push(credential);
                }
                // Not what is in it: it may be half of a password.
                None => self.passed_over.push(format!(
                    "{source}: the entry for {key:?} has neither `auth` nor `username` and `password`"
                )),
            }
        }
    }

    /// Files and entries that could not be used.
    pub(super) fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The credentials for `registry/repository`, in the order in which they are to be tried.
    pub(super) fn matching(&self, image: &str) -> Vec<Credential> {
        let mut found = match &self.before {
            Some(before) => before.matching(image),
            None => Vec::new(),
        };
        found.extend(self.own(image));
        found.truncate(MAX_TRIED);
        found
    }

    fn own(&self, image: &str) -> Vec<Credential> {
        let matches = |(key, _): &(&String, &Vec<Credential>)| key_matches(key, image);
        let found: Vec<_> =
            self.entries.iter().rev().filter(matches).flat_map(|(_, c)| c).collect();
        let hub =
            || image.starts_with("docker.io/").then(|| self.entries.get(DOCKER_HUB)).flatten();
        let found = if found.is_empty() { hub().into_iter().flatten().collect() } else { found };
        found.into_iter().cloned().collect()
    }
}

impl Entry {
    /// `auth` counts where it is there.
    fn credential(self, key: &str) -> Option<Credential> {
        let key = key.to_owned();
        if self.auth.is_empty() {
            let (user, password) = (self.username, self.password);
            return (!user.is_empty()).then_some(Credential { key, user, password });
        }
        let (user, password) = self.decoded()?;
        Some(Credential { key, user, password })
    }

    /// Name and password of `auth`.
    fn decoded(&self) -> Option<(String, String)> {
        let decoded = BASE64.decode(self.auth.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        // Docker pads with zeros what it encrypted once.
        Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
    }

    /// Its `auth` is there and nobody can read it.
    fn is_broken(&self) -> bool {
        !self.auth.is_empty() && self.decoded().is_none()
    }
}

/// `None` if there is no such file.
fn read(path: &Path) -> Option<Result<BTreeMap<String, Entry>, String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    let mut text = String::new();
    match file.take(MAX_FILE + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > MAX_FILE => {
            return Some(Err(format!("it has more than {MAX_FILE} bytes")));
        }
        Ok(_) => {}
        Err(error) => return Some(Err(error.to_string())),
    }
    let bare = path.file_name().is_some_and(|name| name == ".dockercfg");
    Some(parse(&text, bare))
}

/// Reads docker's JSON; the older form is a bare map.
fn parse(text: &str, older: bool) -> Result<BTreeMap<String, Entry>, String> {
    let entries = if older {
        serde_json::from_str(text)
    } else {
        serde_json::from_str::<DockerConfig>(text).map(|config| config.auths)
    };
    // The parser's own text may quote a password.
    entries.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("it is not what docker writes (line {line}, column {column})")
    })
}

/// `host[:port][/path]` of a key, which may be a URL.
fn normalise(key: &str) -> String {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let versioned = path.starts_with("/v1/") || path.starts_with("/v2/");
    let path = if versioned { path.get(3..).unwrap_or_default() } else { path };
    let path = if path == "/" { "" } else { path };
    format!("{host}{path}")
}

/// Whether a normalised key is for an image.
fn key_matches(key: &str, image: &str) -> bool {
    let split = |text: &str| {
        let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        // The brackets of an address are no class of characters.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.filter(|host| host.contains(':')).unwrap_or(host);
        (host.to_ascii_lowercase(), port.map(str::to_owned), path.to_owned())
    };
    let (pattern, image) = (split(key), split(image));
    let labels = |host: &str| host.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (wanted, given) = (labels(&pattern.0), labels(&image.0));
    pattern.1 == image.1
        && image.2.starts_with(&pattern.2)
        && wanted.len() == given.len()
        && wanted.iter().zip(&given).all(|(wanted, given)| glob::matches(wanted, given))
}

#[cfg(test)]
mod tests;
