//! A container's section of a pod's page.

use serde_json::Value;

use super::{items, or_none, pairs, text, truth};
use crate::output::jsonpath::print;
use crate::output::page::Page;

pub(super) fn section(page: &mut Page, pod: &Value, asked: &Value) {
    let name = text(asked, "/name");
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let all = lists.iter().flat_map(|list| items(pod, list));
    let told = all.into_iter().find(|status| text(status, "/name") == name);
    page.line(2, &format!("{name}:"));
    let mut fields = Vec::new();
    let status = |pointer: &str| told.map_or("", |told| text(told, pointer)).to_owned();
    fields.push(("Container ID", status("/containerID")));
    fields.push(("Image", text(asked, "/image").to_owned()));
    fields.push(("Image ID", status("/imageID")));
    fields.push(("Ports", ports(asked)));
    for (label, pointer) in [("Command", "/command"), ("Args", "/args")] {
        let words: Vec<_> = items(asked, pointer).iter().map(print).collect();
        if !words.is_empty() {
            fields.push((label, words.join("\n")));
        }
    }
    if let Some(told) = told {
        fields.push(("State", state(told.get("state"))));
        let last = state(told.get("lastState"));
        if !last.is_empty() {
            fields.push(("Last State", last));
        }
        let devices = items(told, "/allocatedResourcesStatus");
        if !devices.is_empty() {
            fields.push(("Devices", devices.iter().map(device).collect::<Vec<_>>().join("\n")));
        }
        fields.push(("Ready", truth(told, "/ready")));
        let restarts = told.pointer("/restartCount").map_or_else(String::new, Value::to_string);
        fields.push(("Restart Count", restarts));
    }
    for (label, pointer) in [("Limits", "/resources/limits"), ("Requests", "/resources/requests")] {
        if asked.pointer(pointer).is_some() {
            fields.push((label, pairs(asked, pointer, ": ")));
        }
    }
    for (label, key) in [
        ("Liveness", "livenessProbe"),
        ("Readiness", "readinessProbe"),
        ("Startup", "startupProbe"),
    ] {
        if let Some(found) = asked.get(key) {
            fields.push((label, probe(found)));
        }
    }
    fields.push(("Environment Variables from", env_from(asked)));
    fields.push(("Environment", environment(asked)));
    fields.push(("Mounts", mounts(asked)));
    fields.retain(|(label, value)| *label != "Environment Variables from" || value != "<none>");
    page.fields(4, &fields);
}

/// A device that its node does not call well.
fn device(status: &Value) -> String {
    let (name, health) = (text(status, "/name"), text(status, "/resources/0/health"));
    format!("{name}: {health} ({})", text(status, "/resources/0/message"))
}

fn ports(asked: &Value) -> String {
    let one = |port: &Value| {
        let number = port.get("containerPort").map_or_else(String::new, Value::to_string);
        let name = match text(port, "/name") {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        let host = port.get("hostPort").map(|host| format!(", host port {host}"));
        format!("{number}/{}{name}{}", text(port, "/protocol"), host.unwrap_or_default())
    };
    or_none(items(asked, "/ports").iter().map(one).collect::<Vec<_>>().join("\n"))
}

/// A state and what there is to say of it, below each other.
fn state(state: Option<&Value>) -> String {
    let Some((name, detail)) = state.and_then(Value::as_object).and_then(|map| map.iter().next())
    else {
        return String::new();
    };
    let mut lines = vec![match name.as_str() {
        "waiting" => "Waiting".to_owned(),
        "running" => "Running".to_owned(),
        _ => "Terminated".to_owned(),
    }];
    for (key, label) in [
        ("reason", "Reason"),
        ("message", "Message"),
        ("exitCode", "Exit Code"),
        ("startedAt", "Started"),
        ("finishedAt", "Finished"),
    ] {
        if let Some(value) = detail.get(key) {
            lines.push(format!("{label}: {}", print(value).trim_end()));
        }
    }
    lines.join("\n")
}

fn probe(probe: &Value) -> String {
    let port = |value: &Value| value.get("port").map_or_else(String::new, print);
    let what = if let Some(exec) = probe.get("exec") {
        let words: Vec<_> = items(exec, "/command").iter().map(print).collect();
        format!("exec [{}]", words.join(" "))
    } else if let Some(get) = probe.get("httpGet") {
        let scheme = text(get, "/scheme").to_ascii_lowercase();
        format!("http-get {scheme}://{}:{}{}", text(get, "/host"), port(get), text(get, "/path"))
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{}", text(tcp, "/host"), port(tcp))
    } else {
        let grpc = probe.get("grpc").cloned().unwrap_or_default();
        format!("grpc <pod>:{} {}", port(&grpc), text(&grpc, "/service"))
    };
    let number =
        |key: &str, default: u64| probe.get(key).and_then(Value::as_u64).unwrap_or(default);
    format!(
        "{what} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3),
    )
}

fn env_from(asked: &Value) -> String {
    let one = |from: &Value| {
        let (kind, key) = match from.get("secretRef") {
            Some(_) => ("Secret", "/secretRef"),
            None => ("ConfigMap", "/configMapRef"),
        };
        let optional = truth(from, &format!("{key}/optional"));
        format!("{}  {kind}  Optional: {optional}", text(from, &format!("{key}/name")))
    };
    or_none(items(asked, "/envFrom").iter().map(one).collect::<Vec<_>>().join("\n"))
}

/// Variables; of those that come from a Secret or a `ConfigMap` only where from.
fn environment(asked: &Value) -> String {
    let one = |variable: &Value| {
        let name = text(variable, "/name");
        let source = variable.get("valueFrom").and_then(Value::as_object);
        let Some((key, from)) = source.and_then(|source| source.iter().next()) else {
            return format!("{name}:  {}", text(variable, "/value"));
        };
        let from = match key.as_str() {
            "fieldRef" => format!("(v1:{})", text(from, "/fieldPath")),
            "resourceFieldRef" => format!("({})", text(from, "/resource")),
            "secretKeyRef" => {
                format!(
                    "<set to the key '{}' in secret '{}'>",
                    text(from, "/key"),
                    text(from, "/name")
                )
            }
            _ => format!(
                "<set to the key '{}' of config map '{}'>",
                text(from, "/key"),
                text(from, "/name")
            ),
        };
        format!("{name}:  {from}")
    };
    or_none(items(asked, "/env").iter().map(one).collect::<Vec<_>>().join("\n"))
}

fn mounts(asked: &Value) -> String {
    let one = |mount: &Value| {
        let mode = if truth(mount, "/readOnly") == "True" { "ro" } else { "rw" };
        let path = match text(mount, "/subPath") {
            "" => String::new(),
            path => format!(",path=\"{path}\""),
        };
        format!("{} from {} ({mode}{path})", text(mount, "/mountPath"), text(mount, "/name"))
    };
    or_none(items(asked, "/volumeMounts").iter().map(one).collect::<Vec<_>>().join("\n"))
}
