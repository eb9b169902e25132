//! Volumes and their mounts.

use std::collections::BTreeSet;

use mote_protocol::pod::{
    DownwardItem, KeyToPath, ProjectedSource, Projection, Volume, VolumeMount, VolumeSource,
};

use super::name::{LABEL, is_below, is_label};
use crate::kubernetes::findings::Findings;
use crate::kubernetes::path::Path;

/// Greatest mode of a file made from a key.
const MAX_MODE: u16 = 0o777;

/// Checks the volumes and gives their names.
pub(super) fn check_all<'s>(
    volumes: &'s [Volume],
    at: Path<'_>,
    findings: &mut Findings,
) -> BTreeSet<&'s str> {
    let mut names = BTreeSet::new();
    for (place, volume) in volumes.iter().enumerate() {
        let at = at.index(place);
        if volume.name.is_empty() {
            findings.required(at.field("name"));
        } else if !is_label(&volume.name) {
            findings.invalid_text(at.field("name"), &volume.name, LABEL);
        }
        if !names.insert(volume.name.as_str()) && !volume.name.is_empty() {
            findings.duplicate(at.field("name"), &volume.name);
        }
        check(&volume.source, at, findings);
    }
    names
}

fn check(source: &VolumeSource, at: Path<'_>, findings: &mut Findings) {
    match source {
        VolumeSource::EmptyDir { .. } | VolumeSource::Image { .. } => {}
        VolumeSource::HostPath { path, .. } => {
            if path.split('/').any(|part| part == "..") {
                let at = at.field("hostPath");
                findings.invalid_text(at.field("path"), path, "must not contain '..'");
            }
        }
        VolumeSource::ConfigMap(projection) => {
            project(projection, "name", at.field("configMap"), findings);
        }
        VolumeSource::Secret(projection) => {
            project(projection, "secretName", at.field("secret"), findings);
        }
        VolumeSource::DownwardApi { items, default_mode } => {
            let at = at.field("downwardAPI");
            mode(*default_mode, at.field("defaultMode"), findings);
            downward(items, at.field("items"), findings);
        }
        VolumeSource::Projected { sources, default_mode } => {
            let at = at.field("projected");
            mode(*default_mode, at.field("defaultMode"), findings);
            let list = at.field("sources");
            for (place, source) in sources.iter().enumerate() {
                let at = list.index(place);
                match source {
                    ProjectedSource::ConfigMap(projection) => {
                        project(projection, "name", at.field("configMap"), findings);
                    }
                    ProjectedSource::Secret(projection) => {
                        project(projection, "name", at.field("secret"), findings);
                    }
                    ProjectedSource::DownwardApi(items) => {
                        downward(items, at.field("downwardAPI").field("items"), findings);
                    }
                }
            }
        }
    }
}

fn project(projection: &Projection, name: &'static str, at: Path<'_>, findings: &mut Findings) {
    if projection.name.is_empty() {
        findings.required(at.field(name));
    }
    mode(projection.default_mode, at.field("defaultMode"), findings);
    let list = at.field("items");
    for (place, KeyToPath { key, path, mode: own }) in projection.items.iter().enumerate() {
        let at = list.index(place);
        if key.is_empty() {
            findings.required(at.field("key"));
        }
        target(path, at.field("path"), findings);
        mode(*own, at.field("mode"), findings);
    }
}

fn downward(items: &[DownwardItem], at: Path<'_>, findings: &mut Findings) {
    for (place, item) in items.iter().enumerate() {
        let at = at.index(place);
        target(&item.path, at.field("path"), findings);
        mode(item.mode, at.field("mode"), findings);
    }
}

/// Where a file goes: below its volume.
fn target(path: &str, at: Path<'_>, findings: &mut Findings) {
    if path.is_empty() {
        findings.required(at);
    } else if !is_below(path) || path.starts_with("..") {
        let detail = "must be a relative path that does not contain or start with '..'";
        findings.invalid_text(at, path, detail);
    }
}

fn mode(mode: Option<u16>, at: Path<'_>, findings: &mut Findings) {
    if let Some(mode) = mode.filter(|mode| *mode > MAX_MODE) {
        let detail = "must be a number between 0 and 0777 (octal), both inclusive";
        findings.invalid(at, mode, detail);
    }
}

pub(super) fn check_mounts(
    mounts: &[VolumeMount],
    volumes: &BTreeSet<&str>,
    at: Path<'_>,
    findings: &mut Findings,
) {
    let mut targets = BTreeSet::new();
    for (place, mount) in mounts.iter().enumerate() {
        let at = at.index(place);
        if mount.name.is_empty() {
            findings.required(at.field("name"));
        } else if !volumes.contains(mount.name.as_str()) {
            findings.not_found(at.field("name"), &mount.name);
        }
        if mount.mount_path.is_empty() {
            findings.required(at.field("mountPath"));
        } else if !targets.insert(mount.mount_path.as_str()) {
            findings.invalid_text(at.field("mountPath"), &mount.mount_path, "must be unique");
        }
        for (key, path) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if !is_below(path) {
                let detail = "must be a relative path that does not contain '..'";
                findings.invalid_text(at.field(key), path, detail);
            }
        }
        if !mount.sub_path.is_empty() && !mount.sub_path_expr.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            findings.invalid_text(at.field("subPathExpr"), &mount.sub_path_expr, detail);
        }
    }
}
