//! Whole objects: those of manifests, and `List`.

use mote_protocol::name::{Namespace, NodeName};
use serde_json::{Map, Value, json};

use super::data::{put_config_map, put_secret};
use super::field::Field as _;
use super::meta::put_meta;
use super::service::put_service;
use crate::content::Content;
use crate::context::DEFAULT_NAMESPACE;
use crate::manifest::Manifest;

/// A manifest as an object.
pub fn manifest_value(manifest: &Manifest, namespace: Option<&Namespace>) -> Value {
    let namespace = manifest.namespace.as_ref().or(namespace);
    let mut metadata = Map::new();
    metadata.insert("name".into(), manifest.name.as_str().into());
    let namespace = namespace.map_or(DEFAULT_NAMESPACE, Namespace::as_str);
    metadata.insert("namespace".into(), namespace.into());
    put_meta(&mut metadata, manifest.content.meta());
    let mut object = Map::new();
    object.insert("apiVersion".into(), "v1".into());
    object.insert("kind".into(), manifest.content.kind().kubernetes().into());
    object.insert("metadata".into(), metadata.into());
    put_content(&mut object, &manifest.content, manifest.node.as_ref());
    Value::Object(object)
}

/// Writes what an object has beside `metadata`.
pub fn put_content(object: &mut Map<String, Value>, content: &Content, node: Option<&NodeName>) {
    match content {
        Content::Pod(pod) => {
            let mut spec = pod.spec.write();
            if let (Some(node), Value::Object(spec)) = (node, &mut spec) {
                spec.insert("nodeName".into(), node.as_str().into());
            }
            object.insert("spec".into(), spec);
        }
        Content::ConfigMap(map) => put_config_map(object, map),
        Content::Secret(secret) => put_secret(object, secret),
        Content::Service(service) => put_service(object, service),
    }
}

/// Objects as a list.
pub fn list(items: &[Value]) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" }, "items": items })
}
