//! `ConfigMap` and Secret: what they have beside `metadata`, and what nodes say of them.

use std::collections::BTreeMap;

use base64::DecodeError;
use base64::alphabet::STANDARD;
use base64::engine::{Engine as _, GeneralPurpose, GeneralPurposeConfig};
use mote_protocol::object::{ConfigMap, Secret};
use mote_protocol::topic::Scope;
use serde_json::{Map, Value, json};

use super::field::{Fields, put};
use super::meta::put_meta;
use super::object::put_content;
use super::service::{put_chosen, serving};
use super::status::put_text;
use crate::output::age::format_moment;
use crate::view::data::{DataView, Standing};
use crate::view::problem;

/// What an error shows in place of a secret's value, as the API server does.
pub const REDACTED: &str = "\"<secret contents redacted>\"";

/// The type of a secret that does not say one; on the wire it is left out.
pub const OPAQUE: &str = "Opaque";

/// Base64 of objects. Bits that a last character has too many mean nothing, as with the API server.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Longest value that an error repeats.
const MAX_SHOWN: usize = 64;

/// Reads a `ConfigMap`'s own fields.
pub fn read_config_map(fields: &mut Fields<'_, '_>) -> ConfigMap {
    let mut map = ConfigMap {
        data: read_map(fields, "data", shown, |text| Ok(text.to_owned())),
        binary_data: read_map(fields, "binaryData", shown, decode),
        ..ConfigMap::default()
    };
    fields.set("immutable", &mut map.immutable);
    map
}

/// Writes what [`read_config_map`] reads.
pub fn put_config_map(object: &mut Map<String, Value>, map: &ConfigMap) {
    put(object, "data", &map.data);
    put_bytes(object, "binaryData", &map.binary_data);
    put(object, "immutable", &map.immutable);
}

/// Reads a Secret's own fields; a key of `stringData` replaces the same one of `data`.
pub fn read_secret(fields: &mut Fields<'_, '_>) -> Secret {
    let mut secret =
        Secret { data: read_map(fields, "data", redacted, decode), ..Secret::default() };
    let texts = read_map(fields, "stringData", redacted, |text| Ok(text.as_bytes().to_vec()));
    secret.data.extend(texts);
    fields.set("type", &mut secret.secret_type);
    if secret.secret_type == OPAQUE {
        secret.secret_type.clear();
    }
    fields.set("immutable", &mut secret.immutable);
    secret
}

/// Writes what [`read_secret`] reads.
pub fn put_secret(object: &mut Map<String, Value>, secret: &Secret) {
    put_bytes(object, "data", &secret.data);
    object.insert("type".into(), secret_type(secret).into());
    put(object, "immutable", &secret.immutable);
}

/// The type of a secret as it is shown.
pub fn secret_type(secret: &Secret) -> &str {
    Some(secret.secret_type.as_str()).filter(|word| !word.is_empty()).unwrap_or(OPAQUE)
}

/// A `ConfigMap` or Secret as the object that an API server would show, and what nodes make of it.
pub fn data_value(view: &DataView<'_>) -> Value {
    let mut object = Map::new();
    object.insert("apiVersion".into(), "v1".into());
    object.insert("kind".into(), view.key.kind.kubernetes().into());
    object.insert("metadata".into(), data_metadata(view));
    if let Some(content) = &view.content {
        put_content(&mut object, content, None);
        let statuses: Vec<_> = view.services.iter().map(|(_, status)| status).collect();
        put_chosen(&mut object, &statuses);
    }
    object.insert("status".into(), status(view));
    Value::Object(object)
}

/// Its `metadata`: the part that can be had without writing out the content.
pub fn data_metadata(view: &DataView<'_>) -> Value {
    let mut map = Map::new();
    map.insert("name".into(), view.key.name.as_str().into());
    map.insert("namespace".into(), view.key.namespace.as_str().into());
    let uid = view.object.and_then(|object| object.uid);
    put_text(&mut map, "uid", uid.map(|uid| uid.to_string()));
    put_text(&mut map, "creationTimestamp", view.created().and_then(format_moment));
    let number = view.object.map(|object| object.revision.number);
    put_text(&mut map, "resourceVersion", number.map(|number| number.to_string()));
    // A tombstone's revision is the moment it was written at, unless clocks disagree.
    let deleted = number.filter(|_| view.is_deleted()).map(|number| number / 1000);
    let deleted = deleted.and_then(|at| format_moment(i64::try_from(at).ok()?));
    put_text(&mut map, "deletionTimestamp", deleted);
    if let Some(content) = &view.content {
        put_meta(&mut map, content.meta());
    }
    Value::Object(map)
}

/// Kubernetes has no status for data, since its API server is the only one to accept any.
fn status(view: &DataView<'_>) -> Value {
    let refused = view.nodes.iter().find_map(|(node, standing)| match standing {
        Standing::Refused(refusal) => Some((node, refusal)),
        _ => None,
    });
    let mut accepted = Map::from_iter([("type".into(), "Accepted".into())]);
    let (truth, reason, message) = match (refused, view.accepted()) {
        (Some((node, refusal)), _) => {
            ("False", &*refusal.reason, format!("node {node}: {}", problem(refusal)))
        }
        (None, (have, of)) if have == of && of > 0 => ("True", "Accepted", String::new()),
        (None, (have, of)) => ("Unknown", "NotSeen", format!("{have} of {of} nodes have answered")),
    };
    put_text(&mut accepted, "status", Some(truth.into()));
    put_text(&mut accepted, "reason", Some(reason.into()));
    put_text(&mut accepted, "message", Some(message));
    let nodes = view.nodes.iter().map(|(node, standing)| {
        let (reason, message) = words(standing);
        let mut map = Map::new();
        map.insert("name".into(), node.as_str().into());
        map.insert("accepted".into(), (*standing == Standing::Accepted).into());
        put_text(&mut map, "reason", Some(reason));
        put_text(&mut map, "message", Some(message));
        if let Some((_, service)) = view.services.iter().find(|(of, _)| of == node) {
            map.insert("endpoints".into(), service.found.into());
            map.insert("readyEndpoints".into(), serving(service).into());
        }
        Value::Object(map)
    });
    let nodes: Vec<_> = nodes.collect();
    json!({ "scope": view.place(), "conditions": [accepted], "nodes": nodes })
}

/// Why a node does not have an object, as one word and for a person.
pub fn words(standing: &Standing<'_>) -> (String, String) {
    match standing {
        Standing::Accepted => (String::new(), String::new()),
        Standing::Refused(refusal) => (refusal.reason.to_string(), problem(refusal)),
        Standing::Nearer(Scope::Group(group)) => {
            ("Shadowed".into(), format!("it has what was applied to its group {group}"))
        }
        Standing::Nearer(_) => ("Shadowed".into(), "it has what was applied to it alone".into()),
        Standing::NotSeen => ("NotSeen".into(), "not seen by node".into()),
    }
}

fn put_bytes(object: &mut Map<String, Value>, key: &str, data: &BTreeMap<String, Vec<u8>>) {
    if !data.is_empty() {
        let encoded = data.iter().map(|(key, bytes)| (key.clone(), encode(bytes)));
        object.insert(key.into(), Value::Object(encoded.collect()));
    }
}

/// Bytes as they stand in an object.
fn encode(bytes: &[u8]) -> Value {
    BASE64.encode(bytes).into()
}

/// Reads a map of texts; `show` is what an error may repeat of a value. A key without a value has
/// an empty one, as with the API server.
fn read_map<T>(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    show: fn(&Value) -> String,
    read: fn(&str) -> Result<T, String>,
) -> BTreeMap<String, T> {
    let mut entries = BTreeMap::new();
    let Some(value) = fields.value(key) else { return entries };
    let root = fields.at();
    let at = root.field(key);
    let Value::Object(map) = value else {
        fields.findings().invalid(at, show(value), "must be an object");
        return entries;
    };
    for (name, value) in map {
        let entry = match value {
            Value::String(text) => read(text),
            Value::Null => read(""),
            Value::Number(_) | Value::Bool(_) => Err("must be a string: write it in quotes".into()),
            Value::Array(_) | Value::Object(_) => Err("must be a string".into()),
        };
        match entry {
            Ok(entry) => drop(entries.insert(name.clone(), entry)),
            Err(detail) => fields.findings().invalid(at.key(name), show(value), detail),
        }
    }
    entries
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn redacted(_: &Value) -> String {
    REDACTED.into()
}

/// Reads base64; line ends in it mean nothing, as in every block of YAML that holds some.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let is_kept = |byte: &u8| !matches!(byte, b'\r' | b'\n');
    let kept: Vec<u8> = text.bytes().filter(is_kept).collect();
    BASE64.decode(&kept).map_err(|error| {
        let place = match error {
            DecodeError::InvalidByte(place, _) => place,
            DecodeError::InvalidLastSymbol { offset, .. } => offset,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => kept.len(),
        };
        // Counted with the line ends, which the reader of the message sees.
        let places = text.bytes().enumerate().filter(|(_, byte)| is_kept(byte));
        let place = places.map(|(place, _)| place).nth(place).unwrap_or(text.len());
        format!("illegal base64 data at input byte {place}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::findings::Findings;
    use crate::kubernetes::path::Path;

    fn secret(value: &Value) -> (Secret, Vec<String>) {
        let mut findings = Findings::default();
        let mut fields = Fields::open(value, Path::root(""), &mut findings).expect("an object");
        let secret = read_secret(&mut fields);
        fields.close();
        (secret, findings.errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn string_data_wins_over_data_and_opaque_is_the_default() {
        let (read, errors) = secret(&json!({
            "type": "Opaque",
            "data": { "a": "b2xk", "b": "Ynl0\nZXM=\n", "empty": null },
            "stringData": { "a": "new" },
        }));
        assert_eq!(errors, Vec::<String>::new());
        let of = |key: &str| read.data.get(key).map(Vec::as_slice);
        assert_eq!(of("a"), Some(&b"new"[..]));
        assert_eq!(of("b"), Some(&b"bytes"[..]));
        assert_eq!(of("empty"), Some(&b""[..]));
        assert_eq!((read.secret_type.as_str(), secret_type(&read)), ("", "Opaque"));
    }

    #[test]
    fn no_error_repeats_what_a_secret_holds() {
        let (_, errors) = secret(&json!({
            "data": { "a": "hunter2!", "b": "YQ" },
            "stringData": { "c": 4711, "d": ["hunter3"] },
        }));
        let redacted = |key: &str, detail: &str| {
            format!("{key}: Invalid value: \"<secret contents redacted>\": {detail}")
        };
        assert_eq!(
            errors,
            [
                redacted("data[a]", "illegal base64 data at input byte 7"),
                redacted("data[b]", "illegal base64 data at input byte 2"),
                redacted("stringData[c]", "must be a string: write it in quotes"),
                redacted("stringData[d]", "must be a string"),
            ]
        );
    }

    #[test]
    fn the_place_of_bad_base64_counts_line_ends_too() {
        assert_eq!(decode("YWJj\nYWJj\n"), Ok(b"abcabc".to_vec()));
        let error = decode("YWJj\nY!Jj\n").expect_err("a foreign character");
        assert_eq!(error, "illegal base64 data at input byte 6");
    }

    #[test]
    fn an_error_shows_no_more_of_a_value_than_its_beginning() {
        let value = Value::from("\u{fc}".repeat(100));
        assert_eq!(shown(&value).chars().count(), MAX_SHOWN + 3);
        assert_eq!(shown(&json!(5)), "5");
    }
}
