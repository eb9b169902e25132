//! Everything about one pod, and lists of events and images.

use std::fmt::Write as _;

use mote_protocol::event::{Event, EventType, Involved};
use mote_protocol::image::size;
use mote_protocol::object::Pod;
use mote_protocol::status::{
    ContainerRole, ContainerState, ContainerStatus, PodCondition, PodStatus, Terminated,
};
use mote_protocol::text::printable;

use super::age::age;
use super::pods::{since_start, word};
use super::table::{Table, hanging};
use super::{ImageFacts, PodDescription};

/// The text; writing to a String cannot fail, so results of `write!` are of no interest here.
pub(super) fn pod(description: &PodDescription, now: i64) -> String {
    let PodDescription { facts, pod, events } = description;
    let status = &facts.status;
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{:<13}{}", format!("{name}:"), hanging(value, 13));
    };
    line("Name", &facts.name);
    line("Namespace", &facts.namespace);
    line("UID", &status.uid.map(|uid| uid.to_string()).unwrap_or_default());
    for (key, value) in pod.iter().flat_map(|pod| &pod.meta.labels) {
        line("Label", &format!("{key}={value}"));
    }
    line("Status", &word(status));
    if let Some((reason, message)) = &status.cause {
        line("Reason", &format!("{reason}: {message}"));
    }
    if let Some(refusal) = &status.refusal {
        let (number, reason) = (refusal.seen.number, &refusal.reason);
        let field = &refusal.field;
        let message = &refusal.message;
        if refusal.is_delay() {
            line("Update", &format!("revision {number} {message}"));
        } else {
            line("Refused", &format!("revision {number}: {reason} {field}: {message}"));
        }
    }
    for address in &status.addresses {
        line("IP", &address.to_string());
    }
    line("Age", &since_start(status, now));
    line("Revision", &format!("{} {}", status.accepted.number, status.accepted.hash));
    text.push_str(&conditions(status));
    text.push_str("Containers:\n");
    for container in &status.containers {
        text.push_str(&container_text(container, pod.as_ref(), status, now));
    }
    text.push_str("Events:\n");
    text.push_str(&self::events(events, now, "  "));
    text
}

fn conditions(status: &PodStatus) -> String {
    let mut table = Table::new(&["TYPE", "STATUS", "REASON"]);
    for condition in PodCondition::ALL {
        let truth = if status.conditions.is_true(condition) { "True" } else { "False" };
        let cause = status.causes.iter().find(|cause| cause.condition == condition.as_str());
        let cause = cause.map(|cause| format!("{} {}", cause.reason, cause.message));
        table.row([condition.as_str().to_owned(), truth.to_owned(), cause.unwrap_or_default()]);
    }
    let owned = |name: &str| PodCondition::ALL.iter().any(|known| known.as_str() == name);
    for cause in status.causes.iter().filter(|cause| !owned(&cause.condition)) {
        // What else is said of the pod holds, or it would not be said.
        let why = format!("{} {}", cause.reason, cause.message);
        table.row([cause.condition.to_string(), "True".to_owned(), why]);
    }
    format!("Conditions:\n{}", table.render("  "))
}

fn container_text(
    container: &ContainerStatus,
    pod: Option<&Pod>,
    status: &PodStatus,
    now: i64,
) -> String {
    let mut text = format!("  {}:\n", printable(&container.name));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "    {:<12}{}", format!("{name}:"), hanging(value, 16));
    };
    let specs = pod.map(|pod| pod.spec.init_containers.iter().chain(&pod.spec.containers));
    let spec = specs.and_then(|mut specs| specs.find(|spec| container.name == *spec.name));
    match container.role() {
        ContainerRole::App => {}
        ContainerRole::Init => line("Role", "init"),
        ContainerRole::Sidecar => line("Role", "sidecar"),
    }
    line("Image", spec.map_or("", |spec| &spec.image));
    if let Some(digest) = container.image {
        let hex = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        line("Image ID", &format!("sha256:{hex}"));
    }
    line("State", &state(&container.state, status.started, now));
    if let Some(last) = &container.last {
        line("Last state", &terminated(last));
    }
    for device in status.unhealthy_devices() {
        if device.container == container.name {
            let why = if device.replaced { "replaced: restart to use it" } else { "not there" };
            line("Device", &format!("{} Unhealthy ({why})", device.resource));
        }
    }
    line("Ready", if container.ready() { "True" } else { "False" });
    line("Restarts", &container.restarts.to_string());
    text
}

fn state(state: &ContainerState, started: i64, now: i64) -> String {
    match state {
        ContainerState::Waiting { reason, message } => format!("Waiting {reason} {message}"),
        ContainerState::Running { since } => {
            format!("Running for {}", age(now - started - i64::from(*since)))
        }
        ContainerState::Terminated(end) => terminated(end),
    }
}

fn terminated(end: &Terminated) -> String {
    let lasted = age(i64::from(end.finished) - i64::from(end.started));
    let Terminated { reason, exit_code, message, .. } = end;
    format!("Terminated {reason}, exit code {exit_code}, after {lasted} {message}")
}

/// Events, the last at the end.
pub(super) fn events(events: &[Event], now: i64, indent: &str) -> String {
    if events.is_empty() {
        return format!("{indent}<none>\n");
    }
    let mut table = Table::new(&["AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
    for event in events {
        let mut when = age(now - event.last);
        if event.count > 1 {
            let _ = write!(when, " (x{} over {})", event.count, age(now - event.first));
        }
        let kind = match event.event_type {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        let object = match &event.involved {
            Involved::Node => "node".to_owned(),
            Involved::Object { kind, namespace, name, .. } => format!("{kind}/{namespace}/{name}"),
        };
        table.row([when, kind.into(), event.reason.to_string(), object, event.message.to_string()]);
    }
    table.render(indent)
}

/// Images by name.
pub(super) fn images(images: &[ImageFacts]) -> String {
    if images.is_empty() {
        return "No images on this node.\n".to_owned();
    }
    let mut table = Table::new(&["IMAGE", "ID", "SIZE"]);
    for ImageFacts { names, id, bytes } in images {
        let unnamed = ["<none>".to_owned()];
        let names = if names.is_empty() { &unnamed[..] } else { names };
        for name in names {
            table.row([name.clone(), id.chars().take(19).collect(), size(*bytes)]);
        }
    }
    table.render("")
}
