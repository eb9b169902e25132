//! Whole objects: `Pod` and `List`.

use mote_protocol::name::Namespace;
use serde_json::{Map, Value, json};

use super::field::Field as _;
use super::meta::put_meta;
use crate::context::DEFAULT_NAMESPACE;
use crate::manifest::Manifest;

/// A manifest as an object.
pub fn manifest_value(manifest: &Manifest, namespace: Option<&Namespace>) -> Value {
    let namespace = manifest.namespace.as_ref().or(namespace);
    let mut metadata = Map::new();
    metadata.insert("name".into(), manifest.name.as_str().into());
    let namespace = namespace.map_or(DEFAULT_NAMESPACE, Namespace::as_str);
    metadata.insert("namespace".into(), namespace.into());
    put_meta(&mut metadata, &manifest.pod.meta);
    let mut spec = manifest.pod.spec.write();
    if let (Some(node), Value::Object(spec)) = (&manifest.node, &mut spec) {
        spec.insert("nodeName".into(), node.as_str().into());
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec })
}

/// Objects as a list.
pub fn list(items: &[Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" }, "items": items })
}
