//! Manifests: from files to pods that a node can be asked to run.
//!
//! [`source`] finds and reads the files, [`document`] splits them into objects, [`read`] turns one
//! object into a [`Manifest`], and [`validate`] refuses what an API server would refuse, in its
//! words. Whether a change is allowed is [`update`]'s business.

pub mod document;
pub mod source;
mod unhonoured;
pub mod update;
pub mod validate;

use mote_protocol::name::{NameError, Namespace, NodeName, ObjectName};
use mote_protocol::object::Pod;
use mote_protocol::pod::PodSpec;
use serde_json::Value;

use crate::kubernetes::field::{Field, Fields};
use crate::kubernetes::findings::{FieldError, Findings, IgnoredField};
use crate::kubernetes::meta::{Header, read_header};
use crate::kubernetes::path::Path;
use document::Document;

/// A pod as a manifest describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Where it was read, for messages: `web.yaml` or `pods.yaml (document 2)`.
    pub source: String,
    /// `metadata.namespace`, where it has one.
    pub namespace: Option<Namespace>,
    /// `metadata.name`.
    pub name: ObjectName,
    /// `spec.nodeName`, where it has one.
    pub node: Option<NodeName>,
    /// Everything else.
    pub pod: Pod,
    /// Fields that have no effect.
    pub ignored: Vec<IgnoredField>,
}

/// Why a document is no manifest of a pod.
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
    /// It is of a kind that mote does not run.
    #[error(
        "{source_name}: no matches for kind \"{kind}\" in version \"{version}\": mote runs v1 Pods"
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

/// Several errors as the API server lists them: one on the line, more below each other.
fn listed(errors: &[FieldError]) -> String {
    if let [error] = errors {
        return error.to_string();
    }
    errors.iter().fold(String::new(), |list, error| format!("{list}\n* {error}"))
}

/// Reads and checks one document.
pub fn read(document: &Document) -> Result<Manifest, ManifestError> {
    let value = &document.value;
    let (kind, version) = (text_of(document, "kind")?, text_of(document, "apiVersion")?);
    if (kind, version) != ("Pod", "v1") {
        return Err(ManifestError::Kind {
            source_name: document.source.clone(),
            kind: kind.into(),
            version: version.into(),
        });
    }
    let mut findings = Findings::default();
    let (header, node, spec) = read_pod(value, &mut findings);
    let name = header.name.clone();
    let pod = Pod { meta: header.meta, spec, ..Pod::default() };
    if findings.errors.is_empty() {
        validate::pod(&pod, &mut findings);
        let root = Path::root("");
        unhonoured::check(&pod.spec, value.get("spec"), root.field("spec"), &mut findings);
    }
    let names = read_names(&name, &header.namespace, node.as_deref(), &mut findings);
    match names {
        Some((name, namespace, node)) if findings.errors.is_empty() => Ok(Manifest {
            source: document.source.clone(),
            namespace,
            name,
            node,
            pod,
            ignored: findings.ignored,
        }),
        _ => Err(ManifestError::Invalid { kind: kind.into(), name, errors: findings.errors }),
    }
}

fn text_of<'d>(document: &'d Document, field: &'static str) -> Result<&'d str, ManifestError> {
    let text = document.value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| ManifestError::Untyped { source_name: document.source.clone(), field })
}

fn read_pod(value: &Value, findings: &mut Findings) -> (Header, Option<String>, PodSpec) {
    let root = Path::root("");
    let (mut header, mut node, mut spec) = (Header::default(), None, PodSpec::default());
    let Some(mut fields) = Fields::open(value, root, findings) else {
        return (header, node, spec);
    };
    fields.skip(&["apiVersion", "kind", "status"]);
    if let Some(value) = fields.value("metadata") {
        header = read_header(value, root.field("metadata"), fields.findings());
    }
    if let Some(value) = fields.value("spec") {
        let at = root.field("spec");
        if let Some(name) = value.get("nodeName").filter(|name| !name.is_null()) {
            node = String::read(name, at.field("nodeName"), fields.findings());
        }
        spec = PodSpec::read(value, at, fields.findings()).unwrap_or_default();
    }
    fields.close();
    (header, node, spec)
}

type Names = (ObjectName, Option<Namespace>, Option<NodeName>);

fn read_names(
    name: &str,
    namespace: &str,
    node: Option<&str>,
    findings: &mut Findings,
) -> Option<Names> {
    let root = Path::root("");
    let (metadata, spec) = (root.field("metadata"), root.field("spec"));
    let mut note = |at: Path<'_>, text: &str, error: &NameError| match error {
        NameError::Empty { .. } => findings.required(at),
        NameError::TooLong { max, .. } => {
            findings.invalid_text(at, text, format!("must be no more than {max} bytes"));
        }
        NameError::Malformed { .. } => {
            findings.invalid_text(at, text, validate::name::rule(error));
        }
    };
    let name = ObjectName::new(name).map_err(|error| note(metadata.field("name"), name, &error));
    let namespace = Some(namespace).filter(|text| !text.is_empty()).map(|text| {
        Namespace::new(text).map_err(|error| note(metadata.field("namespace"), text, &error))
    });
    let node = node.filter(|text| !text.is_empty()).map(|text| {
        NodeName::new(text).map_err(|error| note(spec.field("nodeName"), text, &error))
    });
    Some((name.ok()?, namespace.transpose().ok()?, node.transpose().ok()?))
}
