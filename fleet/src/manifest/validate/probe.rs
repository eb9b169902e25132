//! Probes and hooks.

use mote_protocol::pod::{Container, Handler, Port, Probe};

use crate::kubernetes::findings::Findings;
use crate::kubernetes::path::Path;

pub(super) fn check(
    container: &Container,
    init: bool,
    grace_s: u32,
    at: Path<'_>,
    findings: &mut Findings,
) {
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    let hooks = [("postStart", &container.post_start), ("preStop", &container.pre_stop)];
    if init && !container.restart_always {
        let detail = "may not be set for init containers without restartPolicy=Always";
        for (key, _) in probes.iter().filter(|(_, probe)| probe.is_some()) {
            findings.forbidden(at.field(key), detail);
        }
        if hooks.iter().any(|(_, hook)| hook.is_some()) {
            findings.forbidden(at.field("lifecycle"), detail);
        }
        return;
    }
    for (key, probe) in probes {
        if let Some(probe) = probe {
            check_probe(probe, key, container, at.field(key), findings);
        }
    }
    let lifecycle = at.field("lifecycle");
    for (key, hook) in hooks {
        if let Some(hook) = hook {
            check_handler(hook, container, lifecycle.field(key), findings);
            check_sleep(hook, grace_s, lifecycle.field(key), findings);
        }
    }
}

fn check_probe(
    probe: &Probe,
    key: &str,
    container: &Container,
    at: Path<'_>,
    findings: &mut Findings,
) {
    check_handler(&probe.handler, container, at, findings);
    let readiness = key == "readinessProbe";
    if let Some(threshold) = probe.success_threshold.filter(|n| !readiness && *n > 1) {
        findings.invalid(at.field("successThreshold"), threshold, "must be 1");
    }
    let grace = at.field("terminationGracePeriodSeconds");
    match probe.termination_grace_period_s {
        Some(seconds) if readiness => {
            findings.invalid(grace, seconds, "must not be set for readinessProbes");
        }
        Some(0) => findings.invalid(grace, 0, "must be greater than 0"),
        _ => {}
    }
}

fn check_handler(handler: &Handler, container: &Container, at: Path<'_>, findings: &mut Findings) {
    match handler {
        Handler::HttpGet(get) => {
            check_port(&get.port, container, at.field("httpGet"), findings);
            check_headers(&get.headers, at.field("httpGet"), findings);
        }
        Handler::TcpSocket { port, .. } => {
            check_port(port, container, at.field("tcpSocket"), findings);
        }
        Handler::Exec(_) | Handler::Grpc { .. } | Handler::Sleep(_) => {}
    }
}

/// A port by name must be one of the container's ports, as a node would look it up.
fn check_port(port: &Port, container: &Container, at: Path<'_>, findings: &mut Findings) {
    let Port::Name(name) = port else { return };
    if !container.ports.iter().any(|known| known.name == *name) {
        findings.not_found(at.field("port"), name);
    }
}

fn check_headers(headers: &[(String, String)], at: Path<'_>, findings: &mut Findings) {
    let list = at.field("httpHeaders");
    for (place, (name, _)) in headers.iter().enumerate() {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() {
            findings.required(list.index(place).field("name"));
        } else if !name.bytes().all(valid) {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' \
                          (e.g. 'X-Header-Name')";
            findings.invalid_text(list.index(place).field("name"), name, detail);
        }
    }
}

fn check_sleep(hook: &Handler, grace_s: u32, at: Path<'_>, findings: &mut Findings) {
    let Handler::Sleep(seconds) = hook else { return };
    if !(1..=grace_s).contains(seconds) {
        let detail =
            format!("must be greater than 0 and at most terminationGracePeriodSeconds ({grace_s})");
        findings.invalid(at.field("sleep").field("seconds"), seconds, detail);
    }
}
