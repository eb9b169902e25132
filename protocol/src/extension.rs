//! Fields of the future.
//!
//! postcard is positional, so a struct that may grow ends in a list of named byte strings. A
//! reader ignores an ordinary extension it does not know and reports its name; it refuses a
//! critical one, by name: the sender says that the object means something else without it.

use alloc::string::String;
use alloc::vec::Vec;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// One field that the schema of its struct does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// The field's path below its struct, as an operator would write it.
    pub name: String,
    /// Whether a reader that does not know it must refuse the whole object.
    pub critical: bool,
    /// Its value, in the encoding that its name stands for.
    pub value: Vec<u8>,
}

/// The extensions of one struct; one byte on the wire where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extensions(pub Vec<Extension>);

/// A critical extension that this reader does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("critical field `{name}` is not known to this version")]
pub struct UnknownCritical {
    /// Its name.
    pub name: String,
}

impl Extensions {
    /// Splits what `known` does not name: an error for the first critical one, else the names of
    /// the ordinary ones, for a report.
    pub fn unknown<'a>(
        &'a self,
        known: &[&str],
    ) -> Result<impl Iterator<Item = &'a str> + use<'a>, UnknownCritical> {
        let mut ordinary = Vec::new();
        for extension in &self.0 {
            if known.contains(&extension.name.as_str()) {
                continue;
            }
            if extension.critical {
                return Err(UnknownCritical { name: extension.name.clone() });
            }
            ordinary.push(extension.name.as_str());
        }
        Ok(ordinary.into_iter())
    }

    /// The value of an extension by name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|extension| extension.name == name).map(|found| found.value.as_slice())
    }

    /// What an extension holds as postcard; none where it is not there, or cannot be read.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        postcard::from_bytes(self.get(name)?).ok()
    }

    /// Gives an extension this value as postcard, or takes it away. Numbers, strings and lists of them cannot
    /// fail to encode; what does is not there.
    pub fn write<T: Serialize>(&mut self, name: &str, value: Option<&T>) {
        self.set(name, value.and_then(|value| postcard::to_allocvec(value).ok()));
    }

    /// Gives an extension this value, or takes it away. It is an ordinary one: who does not know it
    /// passes it over.
    pub fn set(&mut self, name: &str, value: Option<Vec<u8>>) {
        self.0.retain(|extension| extension.name != name);
        let extension = |value| Extension { name: name.into(), critical: false, value };
        self.0.extend(value.map(extension));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_there_once_and_others_stay() {
        let mut extensions = Extensions::default();
        extensions.set("a", Some(alloc::vec![1]));
        extensions.set("b", Some(alloc::vec![2]));
        extensions.set("a", Some(alloc::vec![3]));
        assert_eq!((extensions.get("a"), extensions.get("b")), (Some(&[3][..]), Some(&[2][..])));
        assert_eq!(extensions.0.len(), 2);
        assert!(extensions.0.iter().all(|extension| !extension.critical));
        extensions.set("a", None);
        assert_eq!((extensions.get("a"), extensions.0.len()), (None, 1));
        extensions.write("c", Some(&("x", 7_u32)));
        assert_eq!(extensions.read("c"), Some((String::from("x"), 7_u32)));
        assert_eq!(extensions.read::<String>("b"), None, "it is none");
        extensions.write("c", None::<&u32>);
        assert_eq!((extensions.read::<u32>("c"), extensions.0.len()), (None, 1));
    }
}
