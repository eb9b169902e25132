//! Containers: each by itself, and against each other.

use std::collections::BTreeSet;

use mote_protocol::pod::{Amounts, Container, EnvValue, EnvVar, PodSpec};

use super::name::{LABEL, is_label};
use super::pod::{check_id, check_profiles};
use super::{probe, volume};
use crate::kubernetes::findings::{Findings, Problem};
use crate::kubernetes::path::Path;
use crate::kubernetes::probe::{PORT_NAME, is_port_name};

/// A host port that a container takes: address, number, protocol.
type HostPort<'s> = (&'s str, u16, &'static str);

/// `terminationGracePeriodSeconds` where unset.
const DEFAULT_GRACE_S: u32 = 30;

pub(super) fn check_all(
    spec: &PodSpec,
    volumes: &BTreeSet<&str>,
    at: Path<'_>,
    findings: &mut Findings,
) {
    let mut names = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    let lists =
        [("initContainers", &spec.init_containers, true), ("containers", &spec.containers, false)];
    for (key, containers, init) in lists {
        let list = at.field(key);
        for (place, container) in containers.iter().enumerate() {
            let at = list.index(place);
            if container.name.is_empty() {
                findings.required(at.field("name"));
            } else if !is_label(&container.name) {
                findings.invalid_text(at.field("name"), &container.name, LABEL);
            } else if !names.insert(container.name.as_str()) {
                findings.duplicate(at.field("name"), &container.name);
            }
            check(container, init, volumes, at, findings);
            let grace_s = spec.termination_grace_period_s.unwrap_or(DEFAULT_GRACE_S);
            probe::check(container, init, grace_s, at, findings);
            // Regular init containers run one after another and may use the same port.
            let mut own = BTreeSet::new();
            let taken = if init && !container.restart_always { &mut own } else { &mut host_ports };
            ports(container, spec.network.host_network, taken, at.field("ports"), findings);
        }
    }
}

fn check(
    container: &Container,
    init: bool,
    volumes: &BTreeSet<&str>,
    at: Path<'_>,
    findings: &mut Findings,
) {
    if container.image.is_empty() {
        findings.required(at.field("image"));
    } else if container.image.trim() != container.image {
        let detail = "must not have leading or trailing whitespace";
        findings.invalid_text(at.field("image"), &container.image, detail);
    }
    if container.restart_always && !init {
        findings.forbidden(at.field("restartPolicy"), "may not be set for non-init containers");
    }
    environment(container, at, findings);
    amounts(container, at.field("resources"), findings);
    volume::check_mounts(&container.volume_mounts, volumes, at.field("volumeMounts"), findings);
    security(container, at.field("securityContext"), findings);
}

fn ports<'s>(
    container: &'s Container,
    host_network: bool,
    taken: &mut BTreeSet<HostPort<'s>>,
    at: Path<'_>,
    findings: &mut Findings,
) {
    let mut names = BTreeSet::new();
    for (place, port) in container.ports.iter().enumerate() {
        let at = at.index(place);
        if port.container_port == 0 {
            findings.required(at.field("containerPort"));
        }
        if !port.name.is_empty() && !is_port_name(&port.name) {
            findings.invalid_text(at.field("name"), &port.name, PORT_NAME);
        } else if !port.name.is_empty() && !names.insert(port.name.as_str()) {
            findings.duplicate(at.field("name"), &port.name);
        }
        if port.host_port == 0 {
            continue;
        }
        if host_network && port.host_port != port.container_port {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            findings.invalid(at.field("hostPort"), port.host_port, detail);
        }
        let protocol = port.protocol.as_str();
        if !taken.insert((port.host_ip.as_str(), port.host_port, protocol)) {
            let value = format!("{}/{}/{protocol}", port.host_ip, port.host_port);
            findings.duplicate(at.field("hostPort"), &value);
        }
    }
}

fn environment(container: &Container, at: Path<'_>, findings: &mut Findings) {
    let list = at.field("env");
    for (place, variable) in container.env.iter().enumerate() {
        let at = list.index(place);
        if variable.name.is_empty() {
            findings.required(at.field("name"));
        } else if !is_variable(&variable.name) {
            let detail = "a valid environment variable name must consist only of printable ASCII \
                          characters other than '='";
            findings.invalid_text(at.field("name"), &variable.name, detail);
        }
        source(variable, at.field("valueFrom"), findings);
    }
    let list = at.field("envFrom");
    for (place, from) in container.env_from.iter().enumerate() {
        if from.name.is_empty() {
            let at = list.index(place);
            let key = if from.secret { "secretRef" } else { "configMapRef" };
            findings.required(at.field(key).field("name"));
        }
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

fn source(variable: &EnvVar, at: Path<'_>, findings: &mut Findings) {
    let (key, reference) = match &variable.value {
        EnvValue::Literal(_) | EnvValue::Resource(_) => return,
        EnvValue::Field(path) => {
            let known = [
                "metadata.name",
                "metadata.namespace",
                "metadata.uid",
                "spec.nodeName",
                "spec.serviceAccountName",
                "status.hostIP",
                "status.hostIPs",
                "status.podIP",
                "status.podIPs",
            ];
            let subscript = ["metadata.labels['", "metadata.annotations['"];
            let fits = known.contains(&path.as_str())
                || subscript.iter().any(|start| path.starts_with(start) && path.ends_with("']"));
            if !fits {
                let problem =
                    Problem::Unsupported { value: format!("{path:?}"), supported: known.to_vec() };
                findings.error(at.field("fieldRef").field("fieldPath"), problem);
            }
            return;
        }
        EnvValue::ConfigMap(reference) => ("configMapKeyRef", reference),
        EnvValue::Secret(reference) => ("secretKeyRef", reference),
    };
    for (field, text) in [("name", &reference.name), ("key", &reference.key)] {
        if text.is_empty() {
            findings.required(at.field(key).field(field));
        }
    }
}

fn amounts(container: &Container, at: Path<'_>, findings: &mut Findings) {
    let (requests, limits) = (flat(&container.requests), flat(&container.limits));
    for (name, request) in requests {
        let limit = limits.iter().find(|(limited, _)| *limited == name);
        if let Some((_, limit)) = limit.filter(|(_, limit)| request > *limit) {
            let at = at.field("requests");
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            findings.invalid(at.key(name), request, detail);
        }
    }
}

fn flat(amounts: &Amounts) -> Vec<(&str, u64)> {
    let named = [
        ("cpu", amounts.cpu_milli),
        ("memory", amounts.memory_bytes),
        ("ephemeral-storage", amounts.ephemeral_bytes),
    ];
    let named = named.into_iter().filter_map(|(name, amount)| Some((name, amount?)));
    named.chain(amounts.others.iter().map(|(name, amount)| (name.as_str(), *amount))).collect()
}

fn security(container: &Container, at: Path<'_>, findings: &mut Findings) {
    let context = &container.security_context;
    check_id(context.run_as_user, at.field("runAsUser"), findings);
    check_id(context.run_as_group, at.field("runAsGroup"), findings);
    let (seccomp, armor) = (&context.seccomp_profile, &context.app_armor_profile);
    check_profiles(seccomp.as_ref(), armor.as_ref(), at, findings);
    if context.allow_privilege_escalation == Some(false) && context.privileged == Some(true) {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        findings.invalid(at, "{}", detail);
    }
}
