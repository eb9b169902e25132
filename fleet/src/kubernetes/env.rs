//! Environment variables.

use mote_protocol::pod::{EnvFrom, EnvValue, EnvVar, KeyRef, ResourceRef};
use serde_json::{Map, Value, json};

use super::field::{Field, Fields, object, put};
use super::findings::Findings;
use super::path::Path;

object!(KeyRef { "name" => name, "key" => key, "optional" => optional });

impl Field for EnvVar {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let name = fields.get("name").unwrap_or_default();
        let literal: Option<String> = fields.get("value");
        let mut source = None;
        if let Some(value) = fields.value("valueFrom") {
            if literal.as_ref().is_some_and(|literal| !literal.is_empty()) {
                let detail = "may not be specified when `value` is not empty";
                fields.findings().forbidden(at.field("valueFrom"), detail);
            }
            source = read_source(value, at.field("valueFrom"), fields.findings());
        }
        fields.close();
        let value = source.unwrap_or_else(|| EnvValue::Literal(literal.unwrap_or_default()));
        Some(Self { name, value })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "name", &self.name);
        let from = match &self.value {
            EnvValue::Literal(text) => {
                put(&mut map, "value", text);
                return Value::Object(map);
            }
            EnvValue::Field(path) => {
                json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": path } })
            }
            EnvValue::Resource(reference) => json!({ "resourceFieldRef": reference.write() }),
            EnvValue::ConfigMap(reference) => json!({ "configMapKeyRef": reference.write() }),
            EnvValue::Secret(reference) => json!({ "secretKeyRef": reference.write() }),
        };
        map.insert("valueFrom".into(), from);
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

fn read_source(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<EnvValue> {
    let mut fields = Fields::open(value, at, findings)?;
    let sources = [
        fields.value("fieldRef").and_then(|value| {
            read_field_ref(value, at.field("fieldRef"), fields.findings()).map(EnvValue::Field)
        }),
        fields.get::<ResourceRef>("resourceFieldRef").map(EnvValue::Resource),
        fields.get::<KeyRef>("configMapKeyRef").map(EnvValue::ConfigMap),
        fields.get::<KeyRef>("secretKeyRef").map(EnvValue::Secret),
    ];
    fields.unsupported(&["fileKeyRef"]);
    let mut sources = sources.into_iter().flatten();
    let source = sources.next();
    if source.is_some() && sources.next().is_some() {
        fields.findings().invalid(
            at,
            value,
            "may not have more than one field specified at a time",
        );
    } else if source.is_none() && value.as_object().is_some_and(Map::is_empty) {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        fields.findings().invalid(at, value, detail);
    }
    fields.close();
    source
}

/// Reads a `fieldRef`: its path.
pub fn read_field_ref(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<String> {
    let mut fields = Fields::open(value, at, findings)?;
    let path: Option<String> = fields.get("fieldPath");
    fields.skip(&["apiVersion"]);
    if path.is_none() {
        fields.required("fieldPath");
    }
    fields.close();
    path
}

impl Field for EnvFrom {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let prefix = fields.get("prefix").unwrap_or_default();
        let config_map = read_ref(&mut fields, "configMapRef");
        let secret = read_ref(&mut fields, "secretRef");
        let found = match (config_map, secret) {
            (Some(reference), None) => Some((false, reference)),
            (None, Some(reference)) => Some((true, reference)),
            (None, None) => {
                let detail = "must specify one of: `configMapRef` or `secretRef`";
                fields.findings().invalid(at, value, detail);
                None
            }
            (Some(_), Some(_)) => {
                let detail = "may not have more than one field specified at a time";
                fields.findings().invalid(at, value, detail);
                None
            }
        };
        fields.close();
        found.map(|(secret, (name, optional))| Self { prefix, secret, name, optional })
    }

    fn write(&self) -> Value {
        let mut reference = Map::new();
        put(&mut reference, "name", &self.name);
        put(&mut reference, "optional", &self.optional);
        let mut map = Map::new();
        put(&mut map, "prefix", &self.prefix);
        let key = if self.secret { "secretRef" } else { "configMapRef" };
        map.insert(key.into(), Value::Object(reference));
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        false
    }
}

fn read_ref(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<(String, bool)> {
    let mut found = None;
    fields.inside(key, |inside| {
        let name = inside.get("name").unwrap_or_default();
        found = Some((name, inside.get("optional").unwrap_or_default()));
    });
    found
}
