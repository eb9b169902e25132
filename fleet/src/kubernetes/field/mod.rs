//! One table of fields per type, read in both directions.
//!
//! [`object!`] lists which key of a Kubernetes object belongs to which field of a wire type; from
//! that one list come the reader (JSON to wire type, every problem noted by path) and the writer
//! (wire type to JSON), so they cannot disagree. What is unset is not written, and `null` reads as
//! unset, as in Kubernetes.

mod values;

use serde_json::{Map, Value};

use super::findings::{Findings, Ignored, IgnoredField, Problem};
use super::path::Path;

/// A type that stands for one field's value.
pub trait Field: Sized {
    /// Reads a value; a problem is noted and gives `None`.
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self>;

    /// The value, also where it is the same as unset.
    fn write(&self) -> Value;

    /// Whether it is the same as not being there.
    fn is_unset(&self) -> bool;
}

/// An object that is being read: every key is either asked for or reported.
pub struct Fields<'a, 'f> {
    map: &'a Map<String, Value>,
    at: Path<'a>,
    findings: &'f mut Findings,
    known: Vec<&'static str>,
}

impl<'a, 'f> Fields<'a, 'f> {
    /// Starts to read an object.
    pub fn open(value: &'a Value, at: Path<'a>, findings: &'f mut Findings) -> Option<Self> {
        let Value::Object(map) = value else {
            findings.invalid(at, value, "must be an object");
            return None;
        };
        Some(Self { map, at, findings, known: Vec::new() })
    }

    /// Where the object stands.
    pub const fn at(&self) -> Path<'a> {
        self.at
    }

    /// What was found so far.
    pub const fn findings(&mut self) -> &mut Findings {
        self.findings
    }

    /// The value of a key, unless it is unset.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The typed value of a key, unless it is unset or wrong.
    pub fn get<T: Field>(&mut self, key: &'static str) -> Option<T> {
        let value = self.value(key)?;
        T::read(value, self.at.field(key), self.findings)
    }

    /// Reads a key into `target`, which keeps its value where the key is unset.
    pub fn set<T: Field>(&mut self, key: &'static str, target: &mut T) {
        if let Some(value) = self.get(key) {
            *target = value;
        }
    }

    /// Reads an object below this one.
    pub fn inside(&mut self, key: &'static str, read: impl FnOnce(&mut Fields<'_, '_>)) {
        let Some(value) = self.value(key) else { return };
        let at = self.at.field(key);
        if let Some(mut fields) = Fields::open(value, at, self.findings) {
            read(&mut fields);
            fields.close();
        }
    }

    /// Notes a field that must be there.
    pub fn required(&mut self, key: &'static str) {
        self.findings.required(self.at.field(key));
    }

    /// Keys that say nothing to a node: written by an API server, or without meaning here.
    pub fn skip(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// Keys that Kubernetes knows and mote's nodes do not act on.
    pub fn unsupported(&mut self, keys: &[&'static str]) {
        for key in keys {
            let Some(value) = self.value(key) else { continue };
            let empty = matches!(value, Value::Array(items) if items.is_empty())
                || matches!(value, Value::Object(map) if map.is_empty())
                || matches!(value, Value::Bool(false));
            if !empty {
                let path = self.at.field(key).to_string();
                self.findings.ignored.push(IgnoredField { path, why: Ignored::Unsupported });
            }
        }
    }

    /// Keys that no node can honour, and without which the pod would be another.
    pub fn refused(&mut self, keys: &[&'static str]) {
        for key in keys {
            let empty = |value: &Value| match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => {
                    map.values().all(|value| matches!(value, Value::Object(map) if map.is_empty()))
                }
                Value::String(text) => text.is_empty(),
                _ => false,
            };
            if self.value(key).is_some_and(|value| !empty(value)) {
                let detail = "no node can do so".to_owned();
                self.findings.error(self.at.field(key), Problem::Forbidden { detail });
            }
        }
    }

    /// Ends reading: what nobody asked for is reported.
    pub fn close(self) {
        for key in self.map.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let near =
                self.known.iter().map(|known| (strsim::damerau_levenshtein(known, key), known));
            let nearest =
                near.min().filter(|(distance, _)| *distance <= 2).map(|(_, known)| *known);
            let path = self.at.field(key).to_string();
            self.findings.ignored.push(IgnoredField { path, why: Ignored::Unknown { nearest } });
        }
    }
}

/// Writes a field into an object, unless it is unset.
pub fn put<T: Field>(map: &mut Map<String, Value>, key: &str, field: &T) {
    if !field.is_unset() {
        map.insert(key.into(), field.write());
    }
}

/// Writes an object below an object, unless it is empty.
pub fn put_inside(map: &mut Map<String, Value>, key: &str, inner: Map<String, Value>) {
    if !inner.is_empty() {
        map.insert(key.into(), Value::Object(inner));
    }
}

/// Reads a list of objects that hold one text each (`imagePullSecrets: [{name: x}]`).
pub fn read_each(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    inner: &'static str,
) -> Vec<String> {
    let Some(value) = fields.value(key) else { return Vec::new() };
    let at = fields.at();
    let at = at.field(key);
    let Value::Array(items) = value else {
        fields.findings().invalid(at, value, "must be a list");
        return Vec::new();
    };
    let mut texts = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let Some(mut object) = Fields::open(item, at.index(place), fields.findings()) else {
            continue;
        };
        texts.push(object.get(inner).unwrap_or_default());
        object.close();
    }
    texts
}

/// Writes what [`read_each`] reads.
pub fn put_each(map: &mut Map<String, Value>, key: &str, inner: &str, texts: &[String]) {
    let object =
        |text: &String| Value::Object(Map::from_iter([(inner.into(), text.clone().into())]));
    if !texts.is_empty() {
        map.insert(key.into(), texts.iter().map(object).collect());
    }
}

/// Reads a truth that is written as one of two words, of which the first stands for no.
pub fn read_flag(fields: &mut Fields<'_, '_>, key: &'static str, words: [&'static str; 2]) -> bool {
    let Some(value) = fields.value(key) else { return false };
    let at = fields.at();
    let found = words.iter().position(|word| value == *word);
    if found.is_none() {
        unsupported_word(value, &words, at.field(key), fields.findings());
    }
    found == Some(1)
}

/// Reads a word of which nodes know those that ask for what they do anyway.
pub fn read_only_word(fields: &mut Fields<'_, '_>, key: &'static str, words: &[&'static str]) {
    let known = |value: &Value| words.iter().any(|word| *value == *word);
    let Some(value) = fields.value(key).filter(|value| !known(value)) else { return };
    let at = fields.at();
    unsupported_word(value, words, at.field(key), fields.findings());
}

/// What the number of a port is.
pub const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// Reads the number of a port; 0, which stands for none, is left to who knows whether there must be one.
pub fn read_port(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<u16> {
    let value = fields.value(key)?;
    let at = fields.at();
    if !value.is_i64() && !value.is_u64() {
        return u16::read(value, at.field(key), fields.findings());
    }
    let port = value.as_u64().and_then(|number| u16::try_from(number).ok());
    if port.is_none() {
        fields.findings().invalid(at.field(key), value, PORT_RANGE);
    }
    port
}

/// Writes what [`read_flag`] reads.
pub fn put_flag(map: &mut Map<String, Value>, key: &str, [_, yes]: [&str; 2], flag: bool) {
    if flag {
        map.insert(key.into(), yes.into());
    }
}

/// Defines reader and writer of a type with a default.
///
/// `"key" => field` stands for any [`Field`]; `each "name"` for a list of objects with one text
/// each; `flag ["No", "Yes"]` for a truth that is written as one of two words; `as port` for the number of a port;
/// `groups` for objects that are flat on the wire;
/// `only` for words that must be what nodes do anyway; `unsupported` for what is reported, and `refused`
/// for what would make another pod of it.
macro_rules! object {
    (
        $type:ty {
            $($key:literal => $($field:ident).+ $(each $inner:literal)? $(flag $words:tt)? $(as $form:ident)?),* $(,)?
        }
        $(groups { $($group:literal { $($gkey:literal => $gfield:ident),* $(,)? } $(unsupported [$($gunsupported:literal),*])?)* })?
        $(skip [$($skipped:literal),* $(,)?])?
        $(only { $($okey:literal: [$($only:literal),+]),* $(,)? })?
        $(unsupported [$($unsupported:literal),* $(,)?])?
        $(refused [$($refused:literal),* $(,)?])?
    ) => {
        impl $crate::kubernetes::field::Field for $type {
            fn read(
                value: &serde_json::Value,
                at: $crate::kubernetes::path::Path<'_>,
                findings: &mut $crate::kubernetes::findings::Findings,
            ) -> Option<Self> {
                let mut fields = $crate::kubernetes::field::Fields::open(value, at, findings)?;
                let mut object = Self::default();
                $(object!(@read fields, $key, object.$($field).+ $(, each $inner)? $(, flag $words)? $(, as $form)?);)*
                $($(fields.inside($group, |inside| {
                    $(inside.set($gkey, &mut object.$gfield);)*
                    $(inside.unsupported(&[$($gunsupported),*]);)?
                });)*)?
                $(fields.skip(&[$($skipped),*]);)?
                $($($crate::kubernetes::field::read_only_word(&mut fields, $okey, &[$($only),+]);)*)?
                $(fields.unsupported(&[$($unsupported),*]);)?
                $(fields.refused(&[$($refused),*]);)?
                fields.close();
                Some(object)
            }

            fn write(&self) -> serde_json::Value {
                let mut map = serde_json::Map::new();
                $(object!(@write map, $key, self.$($field).+ $(, each $inner)? $(, flag $words)? $(, as $form)?);)*
                $($({
                    let mut inside = serde_json::Map::new();
                    $($crate::kubernetes::field::put(&mut inside, $gkey, &self.$gfield);)*
                    $crate::kubernetes::field::put_inside(&mut map, $group, inside);
                })*)?
                serde_json::Value::Object(map)
            }

            fn is_unset(&self) -> bool {
                *self == Self::default()
            }
        }
    };
    (@read $fields:ident, $key:literal, $target:expr) => { $fields.set($key, &mut $target) };
    (@read $fields:ident, $key:literal, $target:expr, each $inner:literal) => {
        $target = $crate::kubernetes::field::read_each(&mut $fields, $key, $inner)
    };
    (@read $fields:ident, $key:literal, $target:expr, flag $words:tt) => {
        $target = $crate::kubernetes::field::read_flag(&mut $fields, $key, $words)
    };
    (@read $fields:ident, $key:literal, $target:expr, as port) => {
        if let Some(port) = $crate::kubernetes::field::read_port(&mut $fields, $key) {
            $target = port;
        }
    };
    (@write $map:ident, $key:literal, $source:expr, as port) => {
        $crate::kubernetes::field::put(&mut $map, $key, &$source)
    };
    (@write $map:ident, $key:literal, $source:expr) => {
        $crate::kubernetes::field::put(&mut $map, $key, &$source)
    };
    (@write $map:ident, $key:literal, $source:expr, each $inner:literal) => {
        $crate::kubernetes::field::put_each(&mut $map, $key, $inner, &$source)
    };
    (@write $map:ident, $key:literal, $source:expr, flag $words:tt) => {
        $crate::kubernetes::field::put_flag(&mut $map, $key, $words, $source)
    };
}
pub(crate) use object;

/// Defines reader and writer of an enum of words. `shown` ones are written also where they are the
/// default, as an API server does.
macro_rules! words {
    ($type:ty, shown: $shown:expr, { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $crate::kubernetes::field::Field for $type {
            fn read(
                value: &serde_json::Value,
                at: $crate::kubernetes::path::Path<'_>,
                findings: &mut $crate::kubernetes::findings::Findings,
            ) -> Option<Self> {
                match value.as_str() {
                    $(Some($word) => Some(Self::$variant),)*
                    _ => {
                        $crate::kubernetes::field::unsupported_word(value, &[$($word),*], at, findings);
                        None
                    }
                }
            }

            fn write(&self) -> serde_json::Value {
                match self { $(Self::$variant => $word.into(),)* }
            }

            fn is_unset(&self) -> bool {
                let shown: fn(&Self) -> bool = $shown;
                !shown(self)
            }
        }
    };
}
pub(crate) use words;

/// Notes a text that is not one of a few words.
pub fn unsupported_word(
    value: &Value,
    words: &[&'static str],
    at: Path<'_>,
    findings: &mut Findings,
) {
    let supported = words.iter().copied().filter(|word| !word.is_empty()).collect();
    findings.error(at, Problem::Unsupported { value: value.to_string(), supported });
}
