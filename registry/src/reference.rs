//! Image references: from what people write to which registry, repository and manifest.
//!
//! The grammar and the shorthands are those of the container world: no host means Docker Hub, one
//! bare word there means `library/`, neither tag nor digest means `:latest`. With a tag and a
//! digest the digest decides and the tag is dropped, because only one of them can be asked for.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

/// Docker Hub as references name it.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Docker Hub as the network names it.
const DEFAULT_ENDPOINT: &str = "registry-1.docker.io";
/// Longest registry and repository together, as registries enforce it.
const MAX_NAME: usize = 255;
/// Longest tag, by the distribution specification.
const MAX_TAG: usize = 128;

/// A parsed, completed image reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

/// Which manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Version {
    Tag(String),
    Digest(Digest),
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Registries store lower-case names only.
    #[error("repository {0:?} has upper-case letters")]
    UpperCase(String),
    /// A part between slashes breaks the grammar.
    #[error(
        "{0:?} is not lower-case letters and digits, separated by single dots, one or two \
         underscores, or dashes"
    )]
    Component(String),
    /// The part before the first slash is not a host.
    #[error("registry {0:?} is not a host name or address with an optional port")]
    Registry(String),
    /// The part after the colon breaks the grammar.
    #[error("tag {0:?} is not 1 to {MAX_TAG} letters, digits, `_`, `.` or `-`")]
    Tag(String),
    /// The part after the `@` is not a digest.
    #[error("the part after `@` is no digest")]
    Digest(#[from] DigestError),
    /// Longer than registries accept.
    #[error("registry and repository have {0} characters, more than {MAX_NAME}")]
    TooLong(usize),
}

impl Reference {
    /// The registry as the reference names it: `docker.io`, `10.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Host and optional port to connect to.
    pub fn endpoint(&self) -> &str {
        if self.registry == DEFAULT_REGISTRY { DEFAULT_ENDPOINT } else { &self.registry }
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository, without tag or digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The digest, when the reference is pinned to one.
    pub const fn digest(&self) -> Option<Digest> {
        match &self.version {
            Version::Digest(digest) => Some(*digest),
            Version::Tag(_) => None,
        }
    }

    /// Tag or digest, as the registry's URL wants it.
    pub fn version(&self) -> String {
        match &self.version {
            Version::Digest(digest) => digest.to_string(),
            Version::Tag(tag) => tag.clone(),
        }
    }

    /// The same repository, pinned to a digest.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self { version: Version::Digest(digest), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.digest().is_some() { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.registry, self.repository, self.version())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = split_tag(rest);
        let tag = tag.map(parse_tag).transpose()?;
        let (registry, path) = split_registry(name)?;
        let repository = parse_repository(path, registry == DEFAULT_REGISTRY)?;
        let length = registry.len() + 1 + repository.len();
        if length > MAX_NAME {
            return Err(ReferenceError::TooLong(length));
        }
        let version = match (digest, tag) {
            (Some(digest), _) => Version::Digest(digest),
            (None, tag) => Version::Tag(tag.unwrap_or_else(|| "latest".to_owned())),
        };
        Ok(Self { registry: registry.to_owned(), repository, version })
    }
}

/// A colon after the last slash starts a tag; one before it starts a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

fn parse_tag(tag: &str) -> Result<String, ReferenceError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let valid = tag.len() <= MAX_TAG
        && tag.starts_with(word)
        && tag.chars().all(|c| word(c) || c == '.' || c == '-');
    if valid { Ok(tag.to_owned()) } else { Err(ReferenceError::Tag(excerpt(tag))) }
}

/// The first component is a registry if it could not be a repository of Docker Hub.
fn split_registry(name: &str) -> Result<(&str, &str), ReferenceError> {
    let Some((first, rest)) = name.split_once('/') else { return Ok((DEFAULT_REGISTRY, name)) };
    let is_host = first == "localhost"
        || first.contains(['.', ':', '['])
        || first.contains(|c: char| c.is_ascii_uppercase());
    if !is_host {
        return Ok((DEFAULT_REGISTRY, name));
    }
    if !is_authority(first) {
        return Err(ReferenceError::Registry(excerpt(first)));
    }
    let registry = if first == "index.docker.io" { DEFAULT_REGISTRY } else { first };
    Ok((registry, rest))
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.starts_with('+') || port.parse::<u16>().is_err()) {
        return false;
    }
    if let Some(v6) = host.strip_prefix('[') {
        return v6.strip_suffix(']').is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    host.split('.').all(label)
}

fn parse_repository(path: &str, is_default: bool) -> Result<String, ReferenceError> {
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(ReferenceError::UpperCase(excerpt(path)));
    }
    for component in path.split('/') {
        if !is_component(component) {
            return Err(ReferenceError::Component(excerpt(component)));
        }
    }
    if is_default && !path.contains('/') {
        return Ok(format!("library/{path}"));
    }
    Ok(path.to_owned())
}

/// Runs of letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separator = String::new();
    for c in text.chars() {
        if alphanumeric(c) {
            separator.clear();
            continue;
        }
        separator.push(c);
        let joins =
            matches!(separator.as_str(), "." | "_" | "__") || separator.chars().all(|c| c == '-');
        if !joins {
            return false;
        }
    }
    separator.is_empty() && text.starts_with(alphanumeric)
}

/// The start of a text that is about to be quoted in an error.
fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn shorthands_are_completed() {
        assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("grafana/loki:2"), "docker.io/grafana/loki:2");
        assert_eq!(full("index.docker.io/a/b"), "docker.io/a/b:latest");
        assert_eq!(full("localhost/a"), "localhost/a:latest");
        assert_eq!(full("10.0.0.1:5000/a/b:x"), "10.0.0.1:5000/a/b:x");
        assert_eq!(full("[::1]:5000/a"), "[::1]:5000/a:latest");
        assert_eq!(full("Host/a"), "Host/a:latest");
    }

    #[test]
    fn digest_wins_over_tag() {
        let reference: Reference = format!("ghcr.io/a/b:1@{DIGEST}").parse().unwrap();
        assert_eq!(reference.to_string(), format!("ghcr.io/a/b@{DIGEST}"));
    }

    #[test]
    fn docker_hub_is_reached_at_its_other_name() {
        assert_eq!("a".parse::<Reference>().unwrap().endpoint(), "registry-1.docker.io");
        assert_eq!("r.example/a".parse::<Reference>().unwrap().endpoint(), "r.example");
    }

    #[test]
    fn broken_references_say_what_is_broken() {
        use ReferenceError as E;
        let error = |text: &str| text.parse::<Reference>().unwrap_err();
        assert_eq!(error(""), E::Empty);
        assert!(matches!(error("Busybox"), E::UpperCase(_)));
        assert!(matches!(error("r.example/A"), E::UpperCase(_)));
        assert!(matches!(error("r.example/../a"), E::Component(_)));
        assert!(matches!(error("r.example//a"), E::Component(_)));
        assert!(matches!(error("a b"), E::Component(_)));
        assert!(matches!(error("a..b"), E::Component(_)));
        assert!(matches!(error("a___b"), E::Component(_)));
        assert!(matches!(error("-a"), E::Component(_)));
        assert!(matches!(error("a-"), E::Component(_)));
        assert!(matches!(error("a:"), E::Tag(_)));
        assert!(matches!(error("a:.x"), E::Tag(_)));
        assert!(matches!(error("a@sha256:12"), E::Digest(_)));
        assert!(matches!(error("a@md5:12"), E::Digest(_)));
        assert!(matches!(error("r.example:99999/a"), E::Registry(_)));
        assert!(matches!(error("evil.com\r\nX: y/a"), E::Registry(_)));
        assert!(matches!(error(&format!("r.example/{}", "a".repeat(300))), E::TooLong(_)));
    }

    proptest! {
        #[test]
        fn full_form_parses_to_itself(
            registry in prop::option::of("[a-z]{1,8}\\.[a-z]{1,8}(:[1-9][0-9]{0,3})?"),
            // A dot in the first component would make it a registry.
            path in "[a-z0-9]{1,5}([_-][a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,6}(\\.[a-z0-9]{1,3})?){0,2}",
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        ) {
            let mut text = registry.map(|r| r + "/").unwrap_or_default() + &path;
            if let Some(tag) = tag {
                text = text + ":" + &tag;
            }
            let reference: Reference = text.parse().unwrap();
            prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }

        #[test]
        fn nothing_makes_the_parser_panic_or_leave_its_alphabet(text in ".{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let full = reference.to_string();
                prop_assert!(full.chars().all(|c| c.is_ascii_graphic()));
                prop_assert!(!full.split('/').any(|part| part == ".." || part.is_empty()));
            }
        }
    }
}
