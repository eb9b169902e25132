//! `metadata`.

use mote_protocol::object::{Meta, OwnerReference};
use serde_json::{Map, Value};

use super::field::{Fields, object, put};
use super::findings::Findings;
use super::path::Path;

object!(OwnerReference {
    "apiVersion" => api_version,
    "kind" => kind,
    "name" => name,
    "uid" => uid,
    "controller" => controller,
} skip ["blockOwnerDeletion"]);

/// What a manifest says in `metadata`, before any of it is checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `name`.
    pub name: String,
    /// `namespace`; empty where it has none.
    pub namespace: String,
    /// What is sent along with the body; `created` is not read, since nobody but the first
    /// `apply` sets it.
    pub meta: Meta,
}

/// Reads `metadata`.
pub fn read_header(value: &Value, at: Path<'_>, findings: &mut Findings) -> Header {
    let mut header = Header::default();
    let Some(mut fields) = Fields::open(value, at, findings) else { return header };
    fields.set("name", &mut header.name);
    fields.set("namespace", &mut header.namespace);
    fields.set("labels", &mut header.meta.labels);
    fields.set("annotations", &mut header.meta.annotations);
    fields.set("ownerReferences", &mut header.meta.owners);
    fields.skip(&[
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    ]);
    fields.unsupported(&["finalizers", "generateName"]);
    fields.close();
    header
}

/// Writes what [`read_header`] reads of a [`Meta`].
pub fn put_meta(map: &mut Map<String, Value>, meta: &Meta) {
    put(map, "labels", &meta.labels);
    put(map, "annotations", &meta.annotations);
    put(map, "ownerReferences", &meta.owners);
}
