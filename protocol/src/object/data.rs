//! Objects that only hold data: `ConfigMap` and `Secret`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Meta;
use crate::extension::Extensions;
use crate::limits::{MAX_DATA_KEYS, MAX_NAME};

/// The body of an object of kind [`Kind::ConfigMap`](crate::name::Kind::ConfigMap).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMap {
    /// Labels, annotations, owners.
    pub meta: Meta,
    /// `data`: text.
    #[serde(deserialize_with = "bounded")]
    pub data: BTreeMap<String, String>,
    /// `binaryData`: anything; has no key that `data` has.
    #[serde(deserialize_with = "bounded")]
    pub binary_data: BTreeMap<String, Vec<u8>>,
    /// `immutable`: its data may not change while it lives.
    pub immutable: bool,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// The body of an object of kind [`Kind::Secret`](crate::name::Kind::Secret).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Labels, annotations, owners.
    pub meta: Meta,
    /// `type`; `Opaque` where empty.
    pub secret_type: String,
    /// `data`, with what `stringData` added.
    #[serde(deserialize_with = "bounded")]
    pub data: BTreeMap<String, Vec<u8>>,
    /// `immutable`: its data may not change while it lives.
    pub immutable: bool,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// Keys only: what a secret holds is in no log and no message.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.data.keys().collect();
        f.debug_struct("Secret")
            .field("meta", &self.meta)
            .field("secret_type", &self.secret_type)
            .field("keys", &keys)
            .field("immutable", &self.immutable)
            .finish_non_exhaustive()
    }
}

/// Why a text is no key of a `ConfigMap` or Secret. Words are those of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing, too long, or another character.
    #[error(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.', and no more \
         than 253 of them"
    )]
    Malformed,
    /// It would lead out of its volume, or hide in it.
    #[error("must not be '.' or begin with '..'")]
    Dots,
}

/// Whether a text may be a key: it becomes the name of a file.
pub fn check_key(key: &str) -> Result<(), KeyError> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if key.is_empty() || key.len() > MAX_NAME || !key.bytes().all(valid) {
        return Err(KeyError::Malformed);
    }
    if key == "." || key.starts_with("..") { Err(KeyError::Dots) } else { Ok(()) }
}

/// Reads a map entry by entry and gives up where there are more than anybody needs: an entry of
/// four bytes takes a hundred in memory.
fn bounded<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Entries<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_DATA_KEYS} keys")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some((key, value)) = map.next_entry()? {
                entries.insert(key, value);
                if entries.len() > MAX_DATA_KEYS {
                    return Err(A::Error::custom("too many keys"));
                }
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Entries(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{BodyError, Intent};
    use std::format;
    use std::string::ToString;

    #[test]
    fn keys_are_names_of_files() {
        for key in ["a", "tls.crt", "A_b-c.9", ".dockerconfigjson", "a..b"] {
            assert_eq!(check_key(key), Ok(()), "{key}");
        }
        for key in ["", "a/b", "a b", "\u{e4}", "a\0"] {
            assert_eq!(check_key(key), Err(KeyError::Malformed), "{key:?}");
        }
        for key in [".", "..", "..data", "..."] {
            assert_eq!(check_key(key), Err(KeyError::Dots), "{key}");
        }
        assert_eq!(check_key(&"a".repeat(254)), Err(KeyError::Malformed));
    }

    #[test]
    fn too_many_keys_are_refused_before_they_fill_the_memory() {
        let entries = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
        let body = |count| {
            let map = ConfigMap { data: entries(count), ..ConfigMap::default() };
            let Intent::Apply { schema, body } = map.to_intent().expect("encodes") else {
                unreachable!("an intent to apply");
            };
            ConfigMap::decode(schema, &body)
        };
        assert_eq!(body(MAX_DATA_KEYS).map(|map| map.data.len()), Ok(MAX_DATA_KEYS));
        assert!(matches!(body(MAX_DATA_KEYS + 1), Err(BodyError::Malformed(_))));
    }

    #[test]
    fn what_a_secret_holds_is_not_shown() {
        let data = [("password".to_string(), b"hunter2".to_vec())].into();
        let shown = format!("{:?}", Secret { data, ..Secret::default() });
        assert!(shown.contains("password") && !shown.contains("104"), "{shown}");
    }
}
