//! Amounts of resources.

use mote_protocol::pod::{Amounts, ResourceRef};
use serde_json::{Map, Value};

use super::field::{Field, Fields, put};
use super::findings::Findings;
use super::path::Path;
use super::quantity::{Quantity, format_milli, format_units};

/// Reads one quantity; a number counts as its text, as in Kubernetes.
pub fn read_quantity(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Quantity> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => {
            findings.invalid(at, value, "must be a quantity");
            return None;
        }
    };
    match Quantity::parse(&text) {
        Ok(quantity) => Some(quantity),
        Err(problem) => {
            findings.invalid_text(at, &text, problem.to_string());
            None
        }
    }
}

impl Field for Amounts {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let Value::Object(map) = value else {
            findings.invalid(at, value, "must be an object");
            return None;
        };
        let mut amounts = Self::default();
        for (name, value) in map {
            let Some(quantity) = read_quantity(value, at.key(name), findings) else { continue };
            match name.as_str() {
                "cpu" => amounts.cpu_milli = Some(quantity.milli()),
                "memory" => amounts.memory_bytes = Some(quantity.units()),
                "ephemeral-storage" => amounts.ephemeral_bytes = Some(quantity.units()),
                _ => {
                    amounts.others.insert(name.clone(), quantity.units());
                }
            }
        }
        Some(amounts)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        let mut insert = |name: &str, text: Option<String>| {
            if let Some(text) = text {
                map.insert(name.into(), text.into());
            }
        };
        insert("cpu", self.cpu_milli.map(format_milli));
        insert("memory", self.memory_bytes.map(format_units));
        insert("ephemeral-storage", self.ephemeral_bytes.map(format_units));
        for (name, units) in &self.others {
            insert(name, Some(format_units(*units)));
        }
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// `resourceFieldRef`.
impl Field for ResourceRef {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let mut object = Self::default();
        fields.set("containerName", &mut object.container);
        fields.set("resource", &mut object.resource);
        if let Some(value) = fields.value("divisor") {
            let quantity = read_quantity(value, at.field("divisor"), fields.findings());
            // The API server writes 0 where it was unset.
            object.divisor_milli = quantity.map(Quantity::milli).filter(|milli| *milli > 0);
        }
        if object.resource.is_empty() {
            fields.required("resource");
        }
        fields.close();
        Some(object)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "containerName", &self.container);
        put(&mut map, "resource", &self.resource);
        put(&mut map, "divisor", &self.divisor_milli.map(format_milli));
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}
