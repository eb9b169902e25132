//! Names that are safe in a topic, a path and a terminal, because they were checked once.
//!
//! Every name is a DNS label or subdomain (RFC 1123) in lower case. That excludes `/`, `+`, `#`,
//! NUL, control characters, `.`/`..` as a whole, and a leading `@`, which scopes use.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits::{MAX_LABEL, MAX_NAME};

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("{what} is empty")]
    Empty {
        /// What was being named.
        what: &'static str,
    },
    /// Too long.
    #[error("{what} has {len} characters, more than {max}")]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A character or a place that RFC 1123 does not allow.
    #[error(
        "{what} `{text}` must consist of lower case letters, digits and `-`{dots}, and must start and end with a letter or digit"
    )]
    Malformed {
        /// What was being named.
        what: &'static str,
        /// The text, control characters escaped, cut to a readable length.
        text: String,
        /// What the text says of dots: nothing, or that they separate such parts.
        dots: &'static str,
    },
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

fn readable(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

fn check(what: &'static str, text: &str, max: usize, dotted: bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > max {
        return Err(NameError::TooLong { what, len: text.len(), max });
    }
    let well_formed = if dotted { text.split('.').all(is_label) } else { is_label(text) };
    if well_formed {
        return Ok(());
    }
    let dots = if dotted { " (and `.` between such parts)" } else { "" };
    Err(NameError::Malformed { what, text: readable(text), dots })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, dotted: $dotted:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check($what, text, $max, $dotted)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <alloc::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::new(&text).map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// A fleet: all nodes and operators that share one tree of topics.
    FleetName, "fleet name", MAX_LABEL, dotted: false
);
name!(
    /// A node.
    NodeName, "node name", MAX_LABEL, dotted: true
);
name!(
    /// A group of nodes.
    GroupName, "group name", MAX_LABEL, dotted: false
);
name!(
    /// A namespace.
    Namespace, "namespace", MAX_LABEL, dotted: false
);
name!(
    /// The name of an object in its namespace.
    ObjectName, "name", MAX_NAME, dotted: true
);
name!(
    /// The name of a container in its pod.
    ContainerName, "container name", MAX_LABEL, dotted: false
);
name!(
    /// What tells one command, and the stream it may open, from another.
    RequestId, "request id", MAX_LABEL, dotted: false
);

/// What kind of object a topic or a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `v1 Pod`.
    Pod,
    /// `v1 ConfigMap`.
    ConfigMap,
    /// `v1 Secret`.
    Secret,
    /// `v1 Service`.
    Service,
}

impl Kind {
    /// Every kind, in the order of its number on the wire.
    pub const ALL: [Self; 4] = [Self::Pod, Self::ConfigMap, Self::Secret, Self::Service];

    /// The word in topics and paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
            Self::Service => "service",
        }
    }

    /// The kind as Kubernetes writes it.
    pub const fn kubernetes(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Service => "Service",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| UnknownKind(readable(text)))
    }
}

/// A kind this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kind `{0}` is not known to this version")]
pub struct UnknownKind(pub String);

/// The name of one object on one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub namespace: Namespace,
    /// What it is called.
    pub name: ObjectName,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// One life of an object: a name that is deleted and made again is another uid.
///
/// 16 bytes on the wire, a UUID (RFC 9562) as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid(pub [u8; 16]);

impl Uid {
    /// A version 4 UUID from 128 random bits.
    pub const fn from_random(mut bits: [u8; 16]) -> Self {
        bits[6] = bits[6] & 0x0f | 0x40;
        bits[8] = bits[8] & 0x3f | 0x80;
        Self(bits)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no uid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a uid is 32 hexadecimal digits with a dash after the 8th, 12th, 16th and 20th")]
pub struct UidError;

impl FromStr for Uid {
    type Err = UidError;
    fn from_str(text: &str) -> Result<Self, UidError> {
        let mut bytes = [0; 16];
        let mut digits = text
            .char_indices()
            .filter(|(place, character)| !(*character == '-' && matches!(place, 8 | 13 | 18 | 23)));
        let mut digit = || digits.next().and_then(|(_, character)| character.to_digit(16));
        for byte in &mut bytes {
            let (high, low) = (digit().ok_or(UidError)?, digit().ok_or(UidError)?);
            *byte = u8::try_from(high * 16 + low).map_err(|_| UidError)?;
        }
        if text.len() == 36 && digits.next().is_none() { Ok(Self(bytes)) } else { Err(UidError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn hostile_names_are_refused_and_shown_escaped() {
        for text in ["", "../x", "a/b", "a+b", "#", "a\0b", "@all", "-a", "a-", "A", "ü", ".", ".."]
        {
            assert!(ObjectName::new(text).is_err(), "{text:?}");
        }
        assert!(ObjectName::new(&"a".repeat(254)).is_err());
        let shown = ObjectName::new("a\u{1b}[2J").expect_err("control character").to_string();
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn dots_separate_labels_only_where_a_subdomain_is_meant() {
        assert!(ObjectName::new("web.v1").is_ok());
        assert!(ObjectName::new("web..v1").is_err());
        assert!(Namespace::new("web.v1").is_err());
    }

    #[test]
    fn a_uid_reads_back_and_nothing_else_does() {
        let uid = Uid::from_random([0xab; 16]);
        assert_eq!(uid.to_string().parse(), Ok(uid));
        assert_eq!(uid.to_string(), "abababab-abab-4bab-abab-abababababab");
        for text in ["", "abababab", "abababab-abab-4bab-abab-ababababababa", "zz"] {
            assert_eq!(text.parse::<Uid>(), Err(UidError));
        }
    }
}
