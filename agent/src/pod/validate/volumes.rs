//! Volumes, their mounts, and variables that come from elsewhere: the rules of the API server.

use std::collections::BTreeSet;

use mote_protocol::name::{ContainerName, ObjectName};
use mote_protocol::pod::{
    self as wire, DownwardItem, DownwardValue, EnvValue, KeyToPath, MountPropagation,
    ProjectedSource, Projection, ResourceRef, VolumeSource,
};

use super::Check;
use crate::pod::contents::fields::{FieldPath, parse_resource};

/// Greatest mode of a file made from a key.
const MAX_MODE: u16 = 0o777;

/// Longest path of a file in a volume, and longest part of one (`AtomicWriter` of Kubernetes).
const MAX_PATH: usize = 4096;
const MAX_PART: usize = 255;

/// Longest path that the kernel looks up.
const MAX_TARGET: usize = 4095;

/// More than any pod has of each: lists decide how much work a start is.
const MAX_VOLUMES: usize = 128;
const MAX_SOURCES: usize = 64;
const MAX_ITEMS: usize = 1024;

fn at_most(check: &mut Check, field: String, count: usize, max: usize) {
    check.require(count <= max, field, format!("{count} are more than {max}"));
}

/// Notes what is wrong with the volumes of a pod, and with what mounts them.
pub(super) fn check(check: &mut Check, spec: &wire::PodSpec) {
    at_most(check, "spec.volumes".into(), spec.volumes.len(), MAX_VOLUMES);
    let mut names = BTreeSet::new();
    for (place, volume) in spec.volumes.iter().enumerate() {
        let path = format!("spec.volumes[{place}]");
        // The name becomes that of a directory.
        if let Err(error) = ContainerName::new(&volume.name) {
            check.require(false, format!("{path}.name"), error.to_string());
        }
        let message = format!("`{}` is the name of another volume", volume.name);
        check.require(names.insert(volume.name.as_str()), format!("{path}.name"), message);
        source(check, &path, &volume.source);
        for item in crate::pod::contents::downward(&volume.source) {
            refers_to_container(check, &path, &item.value, spec);
        }
    }
    let lists = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
    for (list, containers) in lists {
        for (place, container) in containers.iter().enumerate() {
            let path = format!("spec.{list}[{place}]");
            mounts(check, &path, container, &names);
            environment(check, &path, container, spec);
        }
    }
}

fn source(check: &mut Check, path: &str, source: &VolumeSource) {
    match source {
        VolumeSource::EmptyDir { .. } | VolumeSource::Image { .. } => {}
        VolumeSource::HostPath { path: host, .. } => {
            let field = format!("{path}.hostPath.path");
            let whole = host.starts_with('/') && !host.contains('\0') && host.len() <= MAX_TARGET;
            check.require(whole, field.clone(), "must be an absolute path");
            let plain = host.split('/').all(|part| part != "..");
            check.require(plain, field, "must not contain '..'");
        }
        VolumeSource::ConfigMap(one) => project(check, &format!("{path}.configMap"), one),
        VolumeSource::Secret(one) => project(check, &format!("{path}.secret"), one),
        VolumeSource::DownwardApi { items, default_mode } => {
            let path = format!("{path}.downwardAPI");
            mode(check, &format!("{path}.defaultMode"), *default_mode);
            downward(check, &path, items);
        }
        VolumeSource::Projected { sources, default_mode } => {
            let path = format!("{path}.projected");
            mode(check, &format!("{path}.defaultMode"), *default_mode);
            at_most(check, format!("{path}.sources"), sources.len(), MAX_SOURCES);
            for (place, source) in sources.iter().enumerate() {
                let path = format!("{path}.sources[{place}]");
                match source {
                    ProjectedSource::ConfigMap(one) => {
                        project(check, &format!("{path}.configMap"), one);
                    }
                    ProjectedSource::Secret(one) => project(check, &format!("{path}.secret"), one),
                    ProjectedSource::DownwardApi(items) => {
                        downward(check, &format!("{path}.downwardAPI"), items);
                    }
                }
            }
        }
    }
}

fn project(check: &mut Check, path: &str, one: &Projection) {
    object(check, &format!("{path}.name"), &one.name);
    mode(check, &format!("{path}.defaultMode"), one.default_mode);
    at_most(check, format!("{path}.items"), one.items.len(), MAX_ITEMS);
    for (place, KeyToPath { path: file, mode: own, .. }) in one.items.iter().enumerate() {
        let path = format!("{path}.items[{place}]");
        file_path(check, &format!("{path}.path"), file);
        mode(check, &format!("{path}.mode"), *own);
    }
}

fn downward(check: &mut Check, path: &str, items: &[DownwardItem]) {
    at_most(check, format!("{path}.items"), items.len(), MAX_ITEMS);
    for (place, item) in items.iter().enumerate() {
        let path = format!("{path}.items[{place}]");
        file_path(check, &format!("{path}.path"), &item.path);
        mode(check, &format!("{path}.mode"), item.mode);
        match &item.value {
            DownwardValue::Field(field) => {
                let known = FieldPath::parse(field).is_some_and(FieldPath::fits_a_file);
                let rule = format!("`{field}` is no field that a volume can tell");
                check.require(known, format!("{path}.fieldRef.fieldPath"), rule);
            }
            DownwardValue::Resource(reference) => {
                let path = format!("{path}.resourceFieldRef");
                let named = !reference.container.is_empty();
                check.require(named, format!("{path}.containerName"), "is required in a volume");
                resource(check, &path, reference);
            }
        }
    }
}

fn resource(check: &mut Check, path: &str, reference: &ResourceRef) {
    let known = parse_resource(&reference.resource).is_some();
    let rule = format!("`{}` is no resource that can be told", reference.resource);
    check.require(known, format!("{path}.resource"), rule);
}

fn refers_to_container(check: &mut Check, path: &str, value: &DownwardValue, spec: &wire::PodSpec) {
    if let DownwardValue::Resource(reference) = value {
        let rule = format!("the pod has no container `{}`", reference.container);
        let known = reference.container.is_empty() || has_container(spec, &reference.container);
        check.require(known, format!("{path}.resourceFieldRef.containerName"), rule);
    }
}

fn has_container(spec: &wire::PodSpec, name: &str) -> bool {
    spec.init_containers.iter().chain(&spec.containers).any(|container| container.name == name)
}

/// The name of a `ConfigMap` or Secret.
fn object(check: &mut Check, path: &str, name: &str) {
    if let Err(error) = ObjectName::new(name) {
        check.require(false, path, error.to_string());
    }
}

fn mode(check: &mut Check, path: &str, mode: Option<u16>) {
    let valid = mode.is_none_or(|mode| mode <= MAX_MODE);
    check.require(valid, path, "must be a number between 0 and 0777 (octal), both inclusive");
}

/// Where a file of a volume goes: below it, and not where the volume keeps its own.
fn file_path(check: &mut Check, path: &str, file: &str) {
    let parts = || file.split('/');
    let below = !file.starts_with('/') && parts().all(|part| part != "..");
    let named = parts().any(|part| !matches!(part, "" | "."));
    let rule = "must be a relative path that does not contain or start with '..'";
    check.require(below && named && !file.starts_with(".."), path, rule);
    // `./..data` is the volume's own too.
    let first = parts().find(|part| !matches!(*part, "" | "."));
    check.require(first.is_none_or(|part| !part.starts_with("..")), path, rule);
    let short = file.len() <= MAX_PATH && parts().all(|part| part.len() <= MAX_PART);
    check.require(short && !file.contains('\0'), path, "is too long, or contains NUL");
}

fn mounts(check: &mut Check, path: &str, container: &wire::Container, volumes: &BTreeSet<&str>) {
    let mut targets = BTreeSet::new();
    for (place, mount) in container.volume_mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{place}]");
        let known = volumes.contains(mount.name.as_str());
        let rule = format!("the pod has no volume `{}`", mount.name);
        check.require(known, format!("{path}.name"), rule);
        let target = &mount.mount_path;
        let field = format!("{path}.mountPath");
        let whole = target.len() <= MAX_TARGET && !target.contains(['\0', ':']);
        check.require(!target.is_empty() && whole, field.clone(), "must be a path without ':'");
        let root = target.split('/').all(|part| matches!(part, "" | "."));
        check.require(target.is_empty() || !root, field.clone(), "must not be the root itself");
        check.require(targets.insert(target), field, "must be unique");
        for (key, sub) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            let below = !sub.starts_with('/') && sub.split('/').all(|part| part != "..");
            let short = sub.len() <= MAX_TARGET && !sub.contains('\0');
            let rule = "must be a relative path that does not contain '..'";
            check.require(below && short, format!("{path}.{key}"), rule);
        }
        let both = !mount.sub_path.is_empty() && !mount.sub_path_expr.is_empty();
        let rule = "subPathExpr and subPath are mutually exclusive";
        check.require(!both, format!("{path}.subPathExpr"), rule);
        let privileged = container.security_context.privileged == Some(true);
        let two_way = mount.propagation == MountPropagation::Bidirectional;
        let rule = "Bidirectional mount propagation is available only to privileged containers";
        check.require(privileged || !two_way, format!("{path}.mountPropagation"), rule);
    }
}

fn environment(check: &mut Check, path: &str, container: &wire::Container, spec: &wire::PodSpec) {
    at_most(check, format!("{path}.envFrom"), container.env_from.len(), MAX_SOURCES);
    for (place, from) in container.env_from.iter().enumerate() {
        let path = format!("{path}.envFrom[{place}]");
        let key = if from.secret { "secretRef" } else { "configMapRef" };
        object(check, &format!("{path}.{key}.name"), &from.name);
        let valid = from.prefix.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
        let rule = "must consist of printable ASCII characters other than `=`";
        check.require(valid, format!("{path}.prefix"), rule);
    }
    for (place, variable) in container.env.iter().enumerate() {
        let path = format!("{path}.env[{place}].valueFrom");
        match &variable.value {
            EnvValue::Literal(_) => {}
            EnvValue::Field(field) => {
                let known = FieldPath::parse(field).is_some_and(FieldPath::fits_a_variable);
                let rule = format!("`{field}` is no field that a variable can tell");
                check.require(known, format!("{path}.fieldRef.fieldPath"), rule);
            }
            EnvValue::Resource(reference) => {
                let path = format!("{path}.resourceFieldRef");
                resource(check, &path, reference);
                let name = &reference.container;
                let rule = format!("the pod has no container `{name}`");
                let known = name.is_empty() || has_container(spec, name);
                check.require(known, format!("{path}.containerName"), rule);
            }
            EnvValue::ConfigMap(reference) => {
                object(check, &format!("{path}.configMapKeyRef.name"), &reference.name);
            }
            EnvValue::Secret(reference) => {
                object(check, &format!("{path}.secretKeyRef.name"), &reference.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::faults;
    use mote_protocol::pod::*;

    fn with(source: VolumeSource, change: impl FnOnce(&mut PodSpec)) -> Vec<String> {
        faults(|pod| {
            pod.spec.volumes = vec![Volume { name: "v".into(), source }];
            let mount = VolumeMount {
                name: "v".into(),
                mount_path: "/data".into(),
                ..VolumeMount::default()
            };
            pod.spec.containers[0].volume_mounts = vec![mount];
            change(&mut pod.spec);
        })
    }

    fn empty() -> VolumeSource {
        VolumeSource::EmptyDir { memory: false, size_limit: None }
    }

    fn mount(change: impl FnOnce(&mut VolumeMount)) -> Vec<String> {
        with(empty(), |spec| change(&mut spec.containers[0].volume_mounts[0]))
    }

    #[test]
    fn a_volume_is_mounted_where_it_may_be() {
        assert_eq!(mount(|_| ()), [""; 0]);
        let at = |field: &str| vec![format!("spec.containers[0].volumeMounts[0].{field}")];
        assert_eq!(mount(|m| m.name = "none".into()), at("name"));
        for target in ["", "/", "//.", "/a:b", "/a\0"] {
            assert_eq!(mount(|m| m.mount_path = target.into()), at("mountPath"), "{target:?}");
        }
        for path in ["/abs", "a/../b", "..", "a\0b"] {
            assert_eq!(mount(|m| m.sub_path = path.into()), at("subPath"), "{path:?}");
            assert_eq!(mount(|m| m.sub_path_expr = path.into()), at("subPathExpr"), "{path:?}");
        }
        let both = |m: &mut VolumeMount| {
            m.sub_path = "a".into();
            m.sub_path_expr = "b".into();
        };
        assert_eq!(mount(both), at("subPathExpr"));
        let two_way = |m: &mut VolumeMount| m.propagation = MountPropagation::Bidirectional;
        assert_eq!(mount(two_way), at("mountPropagation"));
        let twice = with(empty(), |spec| {
            let again = spec.containers[0].volume_mounts[0].clone();
            spec.containers[0].volume_mounts.push(again);
        });
        assert_eq!(twice, ["spec.containers[0].volumeMounts[1].mountPath"]);
    }

    #[test]
    fn names_that_become_files_are_checked() {
        let named = |name: &str| {
            with(empty(), |spec| {
                spec.volumes[0].name = name.into();
                spec.containers[0].volume_mounts[0].name = name.into();
            })
        };
        for name in ["", "..", "a/b", "A", "a.b"] {
            assert_eq!(named(name), ["spec.volumes[0].name"], "{name:?}");
        }
        let path = |path: &str| {
            let items = vec![KeyToPath { key: "k".into(), path: path.into(), mode: None }];
            let one = Projection { name: "c".into(), items, ..Projection::default() };
            with(VolumeSource::ConfigMap(one), |_| ())
        };
        assert_eq!(path("etc/a..b"), [""; 0]);
        for wrong in ["", ".", "/etc/x", "../x", "a/../b", "..data", "./..data", "a\0"] {
            let faults = path(wrong);
            let field = "spec.volumes[0].configMap.items[0].path";
            assert!(!faults.is_empty() && faults.iter().all(|one| one == field), "{wrong:?}");
        }
        let host = |path: &str| {
            let source = VolumeSource::HostPath { path: path.into(), kind: HostPathType::Unset };
            with(source, |_| ())
        };
        assert_eq!(host("/var/log"), [""; 0]);
        for wrong in ["", "var", "/var/../etc", "/a\0"] {
            assert_eq!(host(wrong), ["spec.volumes[0].hostPath.path"], "{wrong:?}");
        }
    }

    #[test]
    fn sources_name_objects_and_fields_that_can_exist() {
        let secret = |name: &str, default_mode| {
            let one = Projection { name: name.into(), default_mode, ..Projection::default() };
            with(VolumeSource::Secret(one), |_| ())
        };
        assert_eq!(secret("login", Some(0o777)), [""; 0]);
        assert_eq!(secret("../x", None), ["spec.volumes[0].secret.name"]);
        assert_eq!(secret("x", Some(0o1777)), ["spec.volumes[0].secret.defaultMode"]);
        let told = |value| {
            let items = vec![DownwardItem { path: "x".into(), value, mode: None }];
            let source = VolumeSource::DownwardApi { items, default_mode: None };
            with(source, |_| ())
        };
        let resource = |container: &str, resource: &str| {
            let (container, resource) = (container.into(), resource.into());
            told(DownwardValue::Resource(ResourceRef { container, resource, divisor_milli: None }))
        };
        assert_eq!(told(DownwardValue::Field("metadata.labels".into())), [""; 0]);
        assert_eq!(resource("app", "limits.cpu"), [""; 0]);
        let at = |field: &str| vec![format!("spec.volumes[0].downwardAPI.items[0].{field}")];
        let field = told(DownwardValue::Field("status.hostIP".into()));
        assert_eq!(field, at("fieldRef.fieldPath"));
        assert_eq!(resource("", "limits.cpu"), at("resourceFieldRef.containerName"));
        assert_eq!(resource("app", "limits.gpu"), at("resourceFieldRef.resource"));
        let none = resource("none", "limits.cpu");
        assert_eq!(none, ["spec.volumes[0].resourceFieldRef.containerName"]);
    }

    #[test]
    fn variables_come_from_what_can_exist() {
        let env = |value| {
            faults(|pod| {
                pod.spec.containers[0].env = vec![EnvVar { name: "A".into(), value }];
            })
        };
        let at = |field: &str| vec![format!("spec.containers[0].env[0].valueFrom.{field}")];
        assert_eq!(env(EnvValue::Field("spec.nodeName".into())), [""; 0]);
        let whole = env(EnvValue::Field("metadata.labels".into()));
        assert_eq!(whole, at("fieldRef.fieldPath"));
        let key = |name: &str| KeyRef { name: name.into(), key: "k".into(), optional: false };
        assert_eq!(env(EnvValue::Secret(key("login"))), [""; 0]);
        assert_eq!(env(EnvValue::Secret(key("a/b"))), at("secretKeyRef.name"));
        assert_eq!(env(EnvValue::ConfigMap(key(""))), at("configMapKeyRef.name"));
        let other = |container: &str| {
            env(EnvValue::Resource(ResourceRef {
                container: container.into(),
                resource: "requests.memory".into(),
                divisor_milli: None,
            }))
        };
        assert_eq!(other("app"), [""; 0]);
        assert_eq!(other("none"), at("resourceFieldRef.containerName"));
        let from = |name: &str, prefix: &str| {
            let from =
                EnvFrom { prefix: prefix.into(), secret: true, name: name.into(), optional: false };
            faults(|pod| pod.spec.containers[0].env_from = vec![from])
        };
        assert_eq!(from("login", "P_"), [""; 0]);
        assert_eq!(from("", ""), ["spec.containers[0].envFrom[0].secretRef.name"]);
        assert_eq!(from("login", "a="), ["spec.containers[0].envFrom[0].prefix"]);
    }
}
