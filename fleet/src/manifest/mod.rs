//! Manifests: from files to objects that a node can be asked for.
//!
//! [`source`] finds and reads the files, [`document`] splits them into objects, [`read`] turns one
//! object into a [`Manifest`], and [`validate`] refuses what an API server would refuse, in its
//! words. Whether a change is allowed is [`update`]'s business.

pub mod document;
pub mod source;
mod unhonoured;
pub mod update;
pub mod validate;

use mote_protocol::name::{Kind, NameError, Namespace, NodeName, ObjectName};
use mote_protocol::object::Pod;
use mote_protocol::pod::PodSpec;
use serde_json::Value;

use crate::content::Content;
use crate::kubernetes::data::{read_config_map, read_secret};
use crate::kubernetes::field::{Field, Fields};
use crate::kubernetes::findings::{FieldError, Findings, IgnoredField, listed};
use crate::kubernetes::meta::{Header, read_header};
use crate::kubernetes::path::Path;
use crate::kubernetes::service::read_service;
use document::Document;

/// An object as a manifest describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Where it was read, for messages: `web.yaml` or `pods.yaml (document 2)`.
    pub source: String,
    /// `metadata.namespace`, where it has one.
    pub namespace: Option<Namespace>,
    /// `metadata.name`.
    pub name: ObjectName,
    /// `spec.nodeName` of a pod, where it has one.
    pub node: Option<NodeName>,
    /// Everything else.
    pub content: Content,
    /// Fields that have no effect.
    pub ignored: Vec<IgnoredField>,
}

/// Why a document is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It has fields that are wrong.
    #[error("The {kind} \"{name}\" is invalid: {}", listed(.errors))]
    Invalid {
        /// `kind`.
        kind: String,
        /// `metadata.name`, as far as it could be read.
        name: String,
        /// Every field that is wrong.
        errors: Vec<FieldError>,
    },
    /// It is of a kind that nodes do not know.
    #[error(
        "{source_name}: no matches for kind \"{kind}\" in version \"{version}\": mote knows Pod, \
         ConfigMap, Secret and Service of v1"
    )]
    Kind {
        /// Where it was read.
        source_name: String,
        /// `kind`.
        kind: String,
        /// `apiVersion`.
        version: String,
    },
    /// It does not say what it is.
    #[error("{source_name}: {field} is not set")]
    Untyped {
        /// Where it was read.
        source_name: String,
        /// `kind` or `apiVersion`.
        field: &'static str,
    },
}

impl Manifest {
    /// A manifest that was made and not read, once it is checked.
    pub fn of(name: ObjectName, content: Content) -> Result<Self, ManifestError> {
        let mut findings = Findings::default();
        validate::check(&content, &mut findings);
        if !findings.errors.is_empty() {
            let kind = content.kind().kubernetes().into();
            let name = name.to_string();
            return Err(ManifestError::Invalid { kind, name, errors: findings.errors });
        }
        let (source, ignored) = (format!("{}/{name}", content.kind()), findings.ignored);
        Ok(Self { source, namespace: None, name, node: None, content, ignored })
    }
}

/// Reads and checks one document.
pub fn read(document: &Document) -> Result<Manifest, ManifestError> {
    let value = &document.value;
    let kind = kind_of(document)?;
    let mut findings = Findings::default();
    let (header, node, mut content) = read_parts(kind, value, &mut findings);
    let name = header.name;
    *content.meta_mut() = header.meta;
    if findings.errors.is_empty() {
        validate::check(&content, &mut findings);
        if let Content::Pod(pod) = &content {
            let root = Path::root("");
            unhonoured::check(&pod.spec, value.get("spec"), root.field("spec"), &mut findings);
        }
    }
    let names = read_names(kind, &name, &header.namespace, node.as_deref(), &mut findings);
    match names {
        Some((name, namespace, node)) if findings.errors.is_empty() => Ok(Manifest {
            source: document.source.clone(),
            namespace,
            name,
            node,
            content,
            ignored: findings.ignored,
        }),
        _ => {
            let kind = kind.kubernetes().into();
            Err(ManifestError::Invalid { kind, name, errors: findings.errors })
        }
    }
}

/// The kind of a document, where nodes know it.
fn kind_of(document: &Document) -> Result<Kind, ManifestError> {
    let (kind, version) = (text_of(document, "kind")?, text_of(document, "apiVersion")?);
    let known = Kind::ALL.into_iter().find(|known| known.kubernetes() == kind && version == "v1");
    known.ok_or_else(|| ManifestError::Kind {
        source_name: document.source.clone(),
        kind: kind.into(),
        version: version.into(),
    })
}

fn text_of<'d>(document: &'d Document, field: &'static str) -> Result<&'d str, ManifestError> {
    let text = document.value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| ManifestError::Untyped { source_name: document.source.clone(), field })
}

/// Reads all fields of a document: `metadata`, the node that it names, and what its kind has.
fn read_parts(
    kind: Kind,
    value: &Value,
    findings: &mut Findings,
) -> (Header, Option<String>, Content) {
    let root = Path::root("");
    let (mut header, mut node) = (Header::default(), None);
    let Some(mut fields) = Fields::open(value, root, findings) else {
        return (header, node, Content::Pod(Box::default()));
    };
    fields.skip(&["apiVersion", "kind", "status"]);
    if let Some(value) = fields.value("metadata") {
        header = read_header(value, root.field("metadata"), fields.findings());
    }
    let content = match kind {
        Kind::Pod => {
            let (named, spec) = read_spec(&mut fields);
            node = named;
            Content::Pod(Box::new(Pod { spec, ..Pod::default() }))
        }
        Kind::ConfigMap => Content::ConfigMap(read_config_map(&mut fields)),
        Kind::Secret => Content::Secret(read_secret(&mut fields)),
        Kind::Service => Content::Service(Box::new(read_service(&mut fields))),
    };
    fields.close();
    (header, node, content)
}

fn read_spec(fields: &mut Fields<'_, '_>) -> (Option<String>, PodSpec) {
    let root = fields.at();
    let Some(value) = fields.value("spec") else { return (None, PodSpec::default()) };
    let at = root.field("spec");
    let named = value.get("nodeName").filter(|name| !name.is_null());
    let node = named.and_then(|name| String::read(name, at.field("nodeName"), fields.findings()));
    (node, PodSpec::read(value, at, fields.findings()).unwrap_or_default())
}

type Names = (ObjectName, Option<Namespace>, Option<NodeName>);

fn read_names(
    kind: Kind,
    name: &str,
    namespace: &str,
    node: Option<&str>,
    findings: &mut Findings,
) -> Option<Names> {
    let root = Path::root("");
    let (metadata, spec) = (root.field("metadata"), root.field("spec"));
    // A service's name is that of a host.
    let is_host = kind == Kind::Service && !name.is_empty();
    let fault = is_host.then(|| validate::name::host_label_fault(name)).flatten();
    if let Some(rule) = fault {
        findings.invalid_text(metadata.field("name"), name, rule);
    }
    let mut note = |at: Path<'_>, text: &str, error: &NameError| match error {
        NameError::Empty { .. } => findings.required(at),
        NameError::TooLong { max, .. } => {
            findings.invalid_text(at, text, format!("must be no more than {max} bytes"));
        }
        NameError::Malformed { .. } => {
            findings.invalid_text(at, text, validate::name::rule(error));
        }
    };
    let name = match fault {
        Some(_) => Err(()),
        None => ObjectName::new(name).map_err(|error| note(metadata.field("name"), name, &error)),
    };
    let namespace = Some(namespace).filter(|text| !text.is_empty()).map(|text| {
        Namespace::new(text).map_err(|error| note(metadata.field("namespace"), text, &error))
    });
    let node = node.filter(|text| !text.is_empty()).map(|text| {
        NodeName::new(text).map_err(|error| note(spec.field("nodeName"), text, &error))
    });
    Some((name.ok()?, namespace.transpose().ok()?, node.transpose().ok()?))
}
