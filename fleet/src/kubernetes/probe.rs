//! Probes, hooks, and what they do.

use mote_protocol::pod::{Handler, HttpGet, Port, Probe};
use serde_json::{Map, Value, json};

use super::field::{Field, Fields, PORT_RANGE, put, read_port, unsupported_word};
use super::findings::Findings;
use super::path::Path;

/// What may stand in a probe, and in a hook.
const PROBE_ACTIONS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_ACTIONS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];

impl Field for Probe {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let handler = read_action(&mut fields, &PROBE_ACTIONS);
        let initial_delay_s = fields.get("initialDelaySeconds");
        let timeout_s = fields.get("timeoutSeconds");
        let period_s = fields.get("periodSeconds");
        let success_threshold = fields.get("successThreshold");
        let failure_threshold = fields.get("failureThreshold");
        let termination_grace_period_s = fields.get("terminationGracePeriodSeconds");
        fields.close();
        Some(Self {
            handler: handler?,
            initial_delay_s,
            timeout_s,
            period_s,
            success_threshold,
            failure_threshold,
            termination_grace_period_s,
        })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put_action(&mut map, &self.handler);
        put(&mut map, "initialDelaySeconds", &self.initial_delay_s);
        put(&mut map, "timeoutSeconds", &self.timeout_s);
        put(&mut map, "periodSeconds", &self.period_s);
        put(&mut map, "successThreshold", &self.success_threshold);
        put(&mut map, "failureThreshold", &self.failure_threshold);
        put(&mut map, "terminationGracePeriodSeconds", &self.termination_grace_period_s);
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        false
    }
}

/// A hook is its action and nothing else.
impl Field for Handler {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let handler = read_action(&mut fields, &HOOK_ACTIONS);
        fields.close();
        handler
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put_action(&mut map, self);
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        false
    }
}

fn read_action(fields: &mut Fields<'_, '_>, allowed: &[&'static str]) -> Option<Handler> {
    let at = fields.at();
    let mut handler = None;
    let mut found = 0;
    for key in allowed.iter().copied() {
        let Some(value) = fields.value(key) else { continue };
        found += 1;
        if found > 1 {
            let detail = "may not specify more than 1 handler type";
            fields.findings().forbidden(at.field(key), detail);
            continue;
        }
        let at = at.field(key);
        handler = match key {
            "exec" => read_exec(value, at, fields.findings()),
            "httpGet" => HttpGet::read(value, at, fields.findings()).map(Handler::HttpGet),
            "tcpSocket" => read_tcp(value, at, fields.findings()),
            "grpc" => read_grpc(value, at, fields.findings()),
            _ => read_sleep(value, at, fields.findings()),
        };
    }
    if found == 0 {
        let detail = format!("must specify one of {}", allowed.join(", "));
        fields.findings().invalid(at, "{}", detail);
    }
    handler
}

fn read_exec(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Handler> {
    let mut fields = Fields::open(value, at, findings)?;
    let command: Vec<String> = fields.get("command").unwrap_or_default();
    if command.is_empty() {
        fields.required("command");
    }
    fields.close();
    Some(Handler::Exec(command))
}

fn read_tcp(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Handler> {
    let mut fields = Fields::open(value, at, findings)?;
    let (host, port) = (fields.get("host").unwrap_or_default(), required_port(&mut fields));
    fields.close();
    Some(Handler::TcpSocket { host, port: port? })
}

fn read_grpc(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Handler> {
    let mut fields = Fields::open(value, at, findings)?;
    let service = fields.get("service").unwrap_or_default();
    let asked = fields.value("port").is_some();
    let port = read_port(&mut fields, "port");
    if !asked || port == Some(0) {
        fields.findings().invalid(at.field("port"), 0, PORT_RANGE);
    }
    fields.close();
    Some(Handler::Grpc { port: port?, service })
}

fn read_sleep(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Handler> {
    let mut fields = Fields::open(value, at, findings)?;
    let seconds = fields.get("seconds").unwrap_or_default();
    fields.close();
    Some(Handler::Sleep(seconds))
}

fn put_action(map: &mut Map<String, Value>, handler: &Handler) {
    let (key, value) = match handler {
        Handler::Exec(command) => ("exec", json!({ "command": command })),
        Handler::HttpGet(get) => ("httpGet", get.write()),
        Handler::TcpSocket { host, port } => {
            let mut inside = Map::new();
            put(&mut inside, "host", host);
            put(&mut inside, "port", port);
            ("tcpSocket", Value::Object(inside))
        }
        Handler::Grpc { port, service } => {
            let mut inside = Map::new();
            put(&mut inside, "port", port);
            put(&mut inside, "service", service);
            ("grpc", Value::Object(inside))
        }
        Handler::Sleep(seconds) => ("sleep", json!({ "seconds": seconds })),
    };
    map.insert(key.into(), value);
}

impl Field for HttpGet {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(value, at, findings)?;
        let (host, path) = (fields.get("host"), fields.get("path"));
        let headers = fields.get("httpHeaders").unwrap_or_default();
        let scheme = fields.value("scheme").cloned().unwrap_or_else(|| "HTTP".into());
        if !matches!(scheme.as_str(), Some("HTTP" | "HTTPS")) {
            unsupported_word(&scheme, &["HTTP", "HTTPS"], at.field("scheme"), fields.findings());
        }
        let port = required_port(&mut fields);
        fields.close();
        Some(Self {
            host: host.unwrap_or_default(),
            port: port?,
            path: path.unwrap_or_default(),
            https: scheme == "HTTPS",
            headers,
        })
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "host", &self.host);
        put(&mut map, "port", &self.port);
        put(&mut map, "path", &self.path);
        map.insert("scheme".into(), if self.https { "HTTPS" } else { "HTTP" }.into());
        put(&mut map, "httpHeaders", &self.headers);
        Value::Object(map)
    }

    fn is_unset(&self) -> bool {
        false
    }
}

fn required_port(fields: &mut Fields<'_, '_>) -> Option<Port> {
    let Some(value) = fields.value("port") else {
        fields.required("port");
        return None;
    };
    let at = fields.at();
    Port::read(value, at.field("port"), fields.findings())
}

/// A number, or the name of one of the container's ports.
impl Field for Port {
    fn read(value: &Value, at: Path<'_>, findings: &mut Findings) -> Option<Self> {
        match value {
            Value::String(name) if is_port_name(name) => return Some(Self::Name(name.clone())),
            Value::String(name) => findings.invalid_text(at, name, PORT_NAME),
            Value::Number(number) => {
                let number = number.as_u64().and_then(|number| u16::try_from(number).ok());
                if let Some(number @ 1..) = number {
                    return Some(Self::Number(number));
                }
                findings.invalid(at, value, PORT_RANGE);
            }
            _ => findings.invalid(at, value, "must be a port number or the name of a port"),
        }
        None
    }

    fn write(&self) -> Value {
        match self {
            Self::Number(number) => (*number).into(),
            Self::Name(name) => name.clone().into(),
        }
    }

    fn is_unset(&self) -> bool {
        false
    }
}

/// What an `IANA_SVC_NAME` (RFC 6335) is.
pub const PORT_NAME: &str = "must be no more than 15 characters, consist of lower case letters, \
                             digits and single `-` between them, and contain at least one letter";

/// Whether a text may name a port.
pub fn is_port_name(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}
