//! `metadata`.

use std::collections::BTreeMap;

use mote_protocol::object::Meta;
use mote_protocol::rollout;

use super::name::{LABEL_VALUE, QUALIFIED, is_label_value, is_qualified};
use crate::kubernetes::findings::Findings;
use crate::kubernetes::path::Path;

/// Most that all annotations of an object may hold, as in Kubernetes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

pub(super) fn check(meta: &Meta, at: Path<'_>, findings: &mut Findings) {
    labels(&meta.labels, at.field("labels"), findings);
    let at = at.field("annotations");
    for key in meta.annotations.keys().filter(|key| !is_qualified(&key.to_lowercase())) {
        findings.invalid_text(at, key, QUALIFIED);
    }
    let total: usize = meta.annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if total > MAX_ANNOTATIONS {
        findings.forbidden(at, format!("may not be more than {MAX_ANNOTATIONS} bytes"));
    }
}

/// What annotations of a pod ask of its changes.
pub(super) fn rollout(meta: &Meta, at: Path<'_>, findings: &mut Findings) {
    let asked = &meta.annotations;
    let faults = [rollout::rollback_after(asked).err(), rollout::delay(asked).err()];
    for fault in faults.into_iter().flatten() {
        let value = meta.annotations.get(fault.annotation).map_or("", String::as_str);
        let at = at.field("annotations");
        findings.invalid_text(at.key(fault.annotation), value, fault.error.to_string());
    }
}

pub(super) fn labels(labels: &BTreeMap<String, String>, at: Path<'_>, findings: &mut Findings) {
    for (key, value) in labels {
        if !is_qualified(key) {
            findings.invalid_text(at, key, QUALIFIED);
        }
        if !is_label_value(value) {
            findings.invalid_text(at.key(key), value, LABEL_VALUE);
        }
    }
}
