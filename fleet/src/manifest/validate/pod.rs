//! `spec`.

use std::net::IpAddr;

use mote_protocol::limits::MAX_CONTAINERS;
use mote_protocol::pod::{
    DnsPolicy, PodNetwork, PodSecurityContext, PodSpec, SecurityProfile, TaintEffect, Toleration,
    TolerationOperator,
};

use super::name::{LABEL, QUALIFIED, SUBDOMAIN, is_label, is_qualified, is_subdomain};
use super::{container, metadata, volume};
use crate::kubernetes::findings::{Findings, Problem};
use crate::kubernetes::path::Path;

/// Greatest user or group id, as in Kubernetes.
pub(super) const MAX_ID: u32 = i32::MAX as u32;

pub(super) fn check(spec: &PodSpec, at: Path<'_>, findings: &mut Findings) {
    let volumes = volume::check_all(&spec.volumes, at.field("volumes"), findings);
    let len = spec.containers.len() + spec.init_containers.len();
    if spec.containers.is_empty() {
        findings.required(at.field("containers"));
    } else if len > MAX_CONTAINERS {
        findings.error(at.field("containers"), Problem::TooMany { len, max: MAX_CONTAINERS });
    }
    container::check_all(spec, &volumes, at, findings);
    if spec.active_deadline_s == Some(0) {
        let detail = "must be between 1 and 2147483647, inclusive";
        findings.invalid(at.field("activeDeadlineSeconds"), 0, detail);
    }
    network(&spec.network, at, findings);
    namespaces(spec, at, findings);
    security(&spec.security_context, at.field("securityContext"), findings);
    for (place, toleration) in spec.tolerations.iter().enumerate() {
        tolerate(toleration, at.field("tolerations").index(place), findings);
    }
    names(spec, at, findings);
}

fn names(spec: &PodSpec, at: Path<'_>, findings: &mut Findings) {
    metadata::labels(&spec.node_selector, at.field("nodeSelector"), findings);
    for (place, secret) in spec.image_pull_secrets.iter().enumerate() {
        let list = at.field("imagePullSecrets");
        if secret.is_empty() {
            findings.required(list.index(place).field("name"));
        }
    }
    for (place, gate) in spec.readiness_gates.iter().enumerate() {
        if !is_qualified(gate) {
            let list = at.field("readinessGates");
            findings.invalid_text(list.index(place).field("conditionType"), gate, QUALIFIED);
        }
    }
    for (key, name) in [
        ("serviceAccountName", &spec.service_account_name),
        ("priorityClassName", &spec.priority_class_name),
    ] {
        if !name.is_empty() && !is_subdomain(name) {
            findings.invalid_text(at.field(key), name, SUBDOMAIN);
        }
    }
    if !matches!(spec.os.as_str(), "" | "linux") {
        let problem =
            Problem::Unsupported { value: format!("{:?}", spec.os), supported: vec!["linux"] };
        findings.error(at.field("os").field("name"), problem);
    }
}

fn namespaces(spec: &PodSpec, at: Path<'_>, findings: &mut Findings) {
    if spec.host_pid && spec.share_process_namespace {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        findings.invalid(at.field("shareProcessNamespace"), true, detail);
    }
    if spec.host_users != Some(false) {
        unmasked(spec, at, findings);
        return;
    }
    for (key, set) in [
        ("hostNetwork", spec.network.host_network),
        ("hostPID", spec.host_pid),
        ("hostIPC", spec.host_ipc),
    ] {
        if set {
            findings.forbidden(at.field(key), "when `hostUsers` is false");
        }
    }
}

/// `/proc` as it is for containers whose root is the host's.
fn unmasked(spec: &PodSpec, at: Path<'_>, findings: &mut Findings) {
    for (list, containers) in
        [("initContainers", &spec.init_containers), ("containers", &spec.containers)]
    {
        let list = at.field(list);
        for (place, container) in containers.iter().enumerate() {
            if container.security_context.proc_unmasked {
                let item = list.index(place);
                let context = item.field("securityContext");
                let detail = "`hostUsers` must be false to use `Unmasked`";
                findings.invalid(context.field("procMount"), "\"Unmasked\"", detail);
            }
        }
    }
}

fn network(network: &PodNetwork, at: Path<'_>, findings: &mut Findings) {
    for (key, name) in [("hostname", &network.hostname), ("subdomain", &network.subdomain)] {
        if !name.is_empty() && !is_label(name) {
            findings.invalid_text(at.field(key), name, LABEL);
        }
    }
    for (place, alias) in network.host_aliases.iter().enumerate() {
        let list = at.field("hostAliases");
        let at = list.index(place);
        address(&alias.ip, at.field("ip"), findings);
        for (place, name) in alias.hostnames.iter().enumerate() {
            if !is_subdomain(name) {
                findings.invalid_text(at.field("hostnames").index(place), name, SUBDOMAIN);
            }
        }
    }
    dns(network, at.field("dnsConfig"), findings);
}

fn dns(network: &PodNetwork, at: Path<'_>, findings: &mut Findings) {
    // The bounds of the resolver (resolv.conf(5)) and of Kubernetes.
    const MAX_SERVERS: usize = 3;
    const MAX_SEARCHES: usize = 32;
    let config = &network.dns_config;
    let servers = at.field("nameservers");
    if network.dns_policy == DnsPolicy::None && config.nameservers.is_empty() {
        findings.required(servers);
    }
    for (key, len, max) in [
        ("nameservers", config.nameservers.len(), MAX_SERVERS),
        ("searches", config.searches.len(), MAX_SEARCHES),
    ] {
        if len > max {
            findings.error(at.field(key), Problem::TooMany { len, max });
        }
    }
    for (place, server) in config.nameservers.iter().enumerate() {
        address(server, servers.index(place), findings);
    }
    for (place, (name, _)) in config.options.iter().enumerate() {
        if name.is_empty() {
            findings.required(at.field("options").index(place).field("name"));
        }
    }
}

fn address(text: &str, at: Path<'_>, findings: &mut Findings) {
    if text.parse::<IpAddr>().is_err() {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        findings.invalid_text(at, text, detail);
    }
}

fn security(context: &PodSecurityContext, at: Path<'_>, findings: &mut Findings) {
    let mut ids: Vec<_> = vec![
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
        ("fsGroup", context.fs_group),
    ];
    ids.extend(context.supplemental_groups.iter().map(|id| ("supplementalGroups", Some(*id))));
    for (key, id) in ids {
        check_id(id, at.field(key), findings);
    }
    let (seccomp, armor) = (&context.seccomp_profile, &context.app_armor_profile);
    check_profiles(seccomp.as_ref(), armor.as_ref(), at, findings);
    let list = at.field("sysctls");
    for (place, (name, _)) in context.sysctls.iter().enumerate() {
        let at = list.index(place);
        if name.is_empty() {
            findings.required(at.field("name"));
        } else if context.sysctls.iter().take(place).any(|(earlier, _)| earlier == name) {
            findings.duplicate(at.field("name"), name);
        }
    }
}

pub(super) fn check_id(id: Option<u32>, at: Path<'_>, findings: &mut Findings) {
    if let Some(id) = id.filter(|id| *id > MAX_ID) {
        findings.invalid(at, id, format!("must be between 0 and {MAX_ID}, inclusive"));
    }
}

pub(super) fn check_profiles(
    seccomp: Option<&SecurityProfile>,
    armor: Option<&SecurityProfile>,
    at: Path<'_>,
    findings: &mut Findings,
) {
    for (key, profile, fault) in [
        ("seccompProfile", seccomp, seccomp.and_then(SecurityProfile::seccomp_fault)),
        ("appArmorProfile", armor, armor.and_then(SecurityProfile::app_armor_fault)),
    ] {
        if let (Some(SecurityProfile::Localhost(name)), Some(fault)) = (profile, fault) {
            findings.invalid_text(at.field(key).field("localhostProfile"), name, fault);
        }
    }
}

fn tolerate(toleration: &Toleration, at: Path<'_>, findings: &mut Findings) {
    if !toleration.key.is_empty() && !is_qualified(&toleration.key) {
        findings.invalid_text(at.field("key"), &toleration.key, QUALIFIED);
    }
    let exists = toleration.operator == TolerationOperator::Exists;
    if toleration.key.is_empty() && !exists {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values \
                      and all keys\"";
        findings.invalid_text(at.field("operator"), "Equal", detail);
    }
    if exists && !toleration.value.is_empty() {
        let detail = "value must be empty when `operator` is 'Exists'";
        findings.invalid_text(at.field("value"), &toleration.value, detail);
    }
    if toleration.seconds.is_some() && toleration.effect != Some(TaintEffect::NoExecute) {
        let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        findings.invalid_text(at.field("effect"), "", detail);
    }
}
