//! Probes and hooks: the rules of the API server, and the defaults that it would fill in.

use std::collections::BTreeMap;
use std::time::Duration;

use mote_protocol::pod::{self as wire, EnvValue};
use mote_protocol::status::ContainerRole;

use super::Check;
use crate::pod::handler::{Checks, Handler, HttpGet, Port, Probe, ProbeKind};
use crate::pod::process::{self, TooLong};

/// `timeoutSeconds` where unset or 0.
const DEFAULT_TIMEOUT_S: u32 = 1;
/// `periodSeconds` where unset or 0.
const DEFAULT_PERIOD_S: u32 = 10;
/// `successThreshold` where unset or 0.
const DEFAULT_SUCCESSES: u32 = 1;
/// `failureThreshold` where unset or 0.
const DEFAULT_FAILURES: u32 = 3;

/// Most bytes of a probe's command once its variables are filled in: it is kept as long as the pod.
const MAX_COMMAND: usize = 64 * 1024;

const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";
const PORT_NAME: &str = "must be no more than 15 characters, consist of lower case letters, \
                         digits and single `-` between them, and contain at least one letter";
const HEADER_NAME: &str = "a valid HTTP header must consist of alphanumeric characters or '-' \
                           (e.g. 'X-Header-Name')";
const NOT_REGULAR: &str = "may not be set for init containers without restartPolicy=Always";

/// Notes what is wrong with the probes and hooks of the container at `path`.
pub(super) fn check(
    check: &mut Check,
    path: &str,
    role: ContainerRole,
    container: &wire::Container,
    grace_s: u32,
) {
    let regular_init = role == ContainerRole::Init;
    for (kind, key, probe) in probes(container) {
        let path = format!("{path}.{key}");
        if regular_init {
            check.require(false, path, NOT_REGULAR);
        } else {
            check_probe(check, &path, kind, probe);
            if let wire::Handler::Exec(command) = &probe.handler {
                let rule = format!("has more than {MAX_COMMAND} bytes with its variables");
                let fits = expanded(command, container).is_ok();
                check.require(fits, format!("{path}.exec.command"), rule);
            }
        }
    }
    let hooks = [("postStart", &container.post_start), ("preStop", &container.pre_stop)];
    for (key, hook) in hooks {
        let Some(hook) = hook else { continue };
        let path = format!("{path}.lifecycle.{key}");
        check.require(!regular_init, path.clone(), NOT_REGULAR);
        let known = !matches!(hook, wire::Handler::Grpc { .. });
        check.require(known, path.clone(), "must specify a handler type: no hook speaks gRPC");
        if let wire::Handler::Sleep(seconds) = hook {
            let rule = format!(
                "must be greater than 0 and at most terminationGracePeriodSeconds ({grace_s})"
            );
            let fits = (1..=grace_s).contains(seconds);
            check.require(fits, format!("{path}.sleep.seconds"), rule);
        }
        check_handler(check, &path, hook);
    }
}

fn probes(
    container: &wire::Container,
) -> impl Iterator<Item = (ProbeKind, &'static str, &wire::Probe)> {
    let all = [
        (ProbeKind::Liveness, "livenessProbe", &container.liveness_probe),
        (ProbeKind::Readiness, "readinessProbe", &container.readiness_probe),
        (ProbeKind::Startup, "startupProbe", &container.startup_probe),
    ];
    all.into_iter().filter_map(|(kind, key, probe)| Some((kind, key, probe.as_ref()?)))
}

fn check_probe(check: &mut Check, path: &str, kind: ProbeKind, probe: &wire::Probe) {
    let known = !matches!(probe.handler, wire::Handler::Sleep(_));
    check.require(known, path, "must specify a handler type: no probe sleeps");
    check_handler(check, path, &probe.handler);
    let readiness = kind == ProbeKind::Readiness;
    let single = readiness || probe.success_threshold.is_none_or(|n| n <= 1);
    check.require(single, format!("{path}.successThreshold"), "must be 1");
    let field = format!("{path}.terminationGracePeriodSeconds");
    let grace = probe.termination_grace_period_s;
    if readiness {
        check.require(grace.is_none(), field, "must not be set for readinessProbes");
    } else {
        check.require(grace != Some(0), field, "must be greater than 0");
    }
}

fn check_handler(check: &mut Check, path: &str, handler: &wire::Handler) {
    match handler {
        wire::Handler::Exec(command) => {
            let path = format!("{path}.exec.command");
            check.require(!command.is_empty(), path.clone(), "at least one is required");
            let whole = command.iter().all(|text| !text.contains('\0'));
            check.require(whole, path, "must not contain NUL");
        }
        wire::Handler::HttpGet(get) => {
            let path = format!("{path}.httpGet");
            check_port(check, &path, &get.port);
            for (place, (name, _)) in get.headers.iter().enumerate() {
                let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                let valid = !name.is_empty() && name.bytes().all(valid);
                check.require(valid, format!("{path}.httpHeaders[{place}].name"), HEADER_NAME);
            }
        }
        wire::Handler::TcpSocket { port, .. } => {
            check_port(check, &format!("{path}.tcpSocket"), port);
        }
        wire::Handler::Grpc { port, .. } => {
            check.require(*port != 0, format!("{path}.grpc.port"), PORT_RANGE);
        }
        wire::Handler::Sleep(_) => {}
    }
}

fn check_port(check: &mut Check, path: &str, port: &wire::Port) {
    let path = format!("{path}.port");
    match port {
        wire::Port::Number(number) => check.require(*number != 0, path, PORT_RANGE),
        wire::Port::Name(name) if name.bytes().all(|byte| byte.is_ascii_digit()) => {
            check.require(number_in(name).is_some(), path, PORT_RANGE);
        }
        wire::Port::Name(name) => check.require(is_port_name(name), path, PORT_NAME),
    }
}

/// What an `IANA_SVC_NAME` (RFC 6335) is.
fn is_port_name(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=15).contains(&text.len())
        && text.bytes().all(valid)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !(text.starts_with('-') || text.ends_with('-') || text.contains("--"))
}

/// A port written as digits in a text.
fn number_in(text: &str) -> Option<u16> {
    text.parse().ok().filter(|number| *number != 0)
}

/// The probes and hooks of a container that was checked; none where it has none.
pub(super) fn build(container: &wire::Container) -> Option<Box<Checks>> {
    let probe = |probe: &Option<wire::Probe>| probe.as_ref().map(|p| build_probe(container, p));
    let hook = |hook: &Option<wire::Handler>| hook.as_ref().map(|h| build_handler(container, h));
    let checks = Checks {
        startup: probe(&container.startup_probe),
        liveness: probe(&container.liveness_probe),
        readiness: probe(&container.readiness_probe),
        post_start: hook(&container.post_start),
        pre_stop: hook(&container.pre_stop),
    };
    (checks != Checks::default()).then(|| Box::new(checks))
}

fn build_probe(container: &wire::Container, probe: &wire::Probe) -> Probe {
    // As in Kubernetes, 0 is the same as unset.
    let or = |value: Option<u32>, default| value.filter(|value| *value != 0).unwrap_or(default);
    let seconds = |value: u32| Duration::from_secs(value.into());
    let mut handler = build_handler(container, &probe.handler);
    if let Handler::Exec(command) = &mut handler
        && let Ok(expanded) = expanded(command, container)
    {
        *command = expanded;
    }
    Probe {
        handler,
        initial_delay: seconds(probe.initial_delay_s.unwrap_or(0)),
        timeout: seconds(or(probe.timeout_s, DEFAULT_TIMEOUT_S)),
        period: seconds(or(probe.period_s, DEFAULT_PERIOD_S)),
        success_threshold: or(probe.success_threshold, DEFAULT_SUCCESSES),
        failure_threshold: or(probe.failure_threshold, DEFAULT_FAILURES),
        grace_s: probe.termination_grace_period_s,
    }
}

/// Puts the values of literal variables, as they are written, in place of `$(NAME)`. Hooks keep
/// their commands as they are: so does the kubelet.
fn expanded(command: &[String], container: &wire::Container) -> Result<Vec<String>, TooLong> {
    let mut variables = BTreeMap::new();
    for variable in &container.env {
        if let EnvValue::Literal(value) = &variable.value {
            variables.insert(variable.name.as_str(), value.as_str());
        }
    }
    let mut room = MAX_COMMAND;
    let expand = |text: &String| {
        let text = process::expand(text, room, |name| variables.get(name).copied())?;
        room = room.saturating_sub(text.len());
        Ok(text)
    };
    command.iter().map(expand).collect()
}

fn build_handler(container: &wire::Container, handler: &wire::Handler) -> Handler {
    match handler {
        wire::Handler::Exec(command) => Handler::Exec(command.clone()),
        wire::Handler::HttpGet(get) => Handler::Http(HttpGet {
            host: get.host.clone(),
            port: resolve(container, &get.port),
            path: if get.path.is_empty() { "/".to_owned() } else { get.path.clone() },
            https: get.https,
            headers: get.headers.clone(),
        }),
        wire::Handler::TcpSocket { host, port } => {
            Handler::Tcp { host: host.clone(), port: resolve(container, port) }
        }
        wire::Handler::Grpc { port, service } => {
            Handler::Grpc { port: *port, service: service.clone() }
        }
        wire::Handler::Sleep(seconds) => Handler::Sleep(Duration::from_secs((*seconds).into())),
    }
}

/// A name among the container's ports, else digits that stand for themselves.
fn resolve(container: &wire::Container, port: &wire::Port) -> Port {
    let name = match port {
        wire::Port::Number(number) => return Port::Number(*number),
        wire::Port::Name(name) => name,
    };
    let named = container.ports.iter().find(|port| port.name == *name);
    let number = named.map_or_else(|| number_in(name), |port| Some(port.container_port));
    match number {
        Some(number @ 1..) => Port::Number(number),
        _ => Port::Unknown(name.clone()),
    }
}

#[cfg(test)]
mod tests;
