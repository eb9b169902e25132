//! Fields that are texts, truths, numbers, lists and maps.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Field, Fields, put};
use crate::kubernetes::findings::Findings;
use crate::kubernetes::path::Path;

impl Field for String {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        match value {
            Value::String(text) => return Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => {
                findings.invalid(
                    at,
                    value,
                    format!("must be a string: write \"{value}\" in quotes"),
                );
            }
            _ => findings.invalid(at, value, "must be a string"),
        }
        None
    }

    fn write(&self) -> Value {
        self.clone().into()
    }

    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

impl Field for bool {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        if let Value::Bool(truth) = value {
            return Some(*truth);
        }
        findings.invalid(at, value, "must be true or false");
        None
    }

    fn write(&self) -> Value {
        (*self).into()
    }

    fn is_unset(&self) -> bool {
        !self
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Field for $type {
            fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
                let number = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
                let Some(number) = number else {
                    findings.invalid(at, value, "must be an integer");
                    return None;
                };
                let fits = Self::try_from(number).ok();
                if fits.is_none() {
                    let (min, max) = (Self::MIN, Self::MAX);
                    findings.invalid(at, value, format!("must be between {min} and {max}, inclusive"));
                }
                fits
            }

            fn write(&self) -> Value {
                (*self).into()
            }

            fn is_unset(&self) -> bool {
                *self == 0
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, i32, i64);

impl<T: Field> Field for Option<T> {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        T::read(value, at, findings).map(Some)
    }

    fn write(&self) -> Value {
        self.as_ref().map_or(Value::Null, Field::write)
    }

    fn is_unset(&self) -> bool {
        self.is_none()
    }
}

impl<T: Field> Field for Vec<T> {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let Value::Array(items) = value else {
            findings.invalid(at, value, "must be a list");
            return None;
        };
        let read = |(place, item)| T::read(item, at.index(place), findings);
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    fn write(&self) -> Value {
        self.iter().map(Field::write).collect()
    }

    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let Value::Object(map) = value else {
            findings.invalid(at, value, "must be an object");
            return None;
        };
        let read = |(key, item): (&String, &Value)| {
            Some((key.clone(), T::read(item, at.key(key), findings)?))
        };
        Some(map.iter().filter_map(read).collect())
    }

    fn write(&self) -> Value {
        Value::Object(self.iter().map(|(key, item)| (key.clone(), item.write())).collect())
    }

    fn is_unset(&self) -> bool {
        self.is_empty()
    }
}

/// `{name, value}`, as in `sysctls` and `httpHeaders`.
impl Field for (String, String) {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let (name, value) = <(String, Option<String>)>::read(value, at, findings)?;
        Some((name, value.unwrap_or_default()))
    }

    fn write(&self) -> Value {
        serde_json::json!({ "name": self.0, "value": self.1 })
    }

    fn is_unset(&self) -> bool {
        self.0.is_empty() && self.1.is_empty()
    }
}

/// `{name, value}` where the value may be unset, as in `dnsConfig.options`.
impl Field for (String, Option<String>) {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let pair = (fields.get("name").unwrap_or_default(), fields.get("value"));
        fields.close();
        Some(pair)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "name", &self.0);
        put(&mut map, "value", &self.1);
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        self.0.is_empty() && self.1.is_none()
    }
}
