//! Pods as a table, by the rules of kubectl's columns.

use mote_protocol::printed::Printed;
use mote_protocol::status::{ContainerRole, ContainerStatus, PodStatus};

use super::PodFacts;
use super::age::age;
use super::table::Table;

/// The table; `wide` adds addresses and uid.
pub(super) fn render(pods: &[PodFacts], wide: bool, now: i64) -> String {
    if pods.is_empty() {
        return "No pods on this node.\n".to_owned();
    }
    let mut head = vec!["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"];
    if wide {
        head.extend(["IP", "UID"]);
    }
    let mut table = Table::new(&head);
    for PodFacts { namespace, name, status } in pods {
        let mut row = vec![namespace.clone(), name.clone(), ready(status), word(status)];
        row.push(restarts(status, now));
        row.push(since_start(status, now));
        if wide {
            let addresses: Vec<_> = status.addresses.iter().map(ToString::to_string).collect();
            row.push(or_none(addresses.join(",")));
            row.push(or_none(status.uid.map(|uid| uid.to_string()).unwrap_or_default()));
        }
        table.row(row);
    }
    table.render("")
}

/// How long a pod has run here; one that was refused never began.
pub(super) fn since_start(status: &PodStatus, now: i64) -> String {
    if status.uid.is_none() { "<unknown>".to_owned() } else { age(now - status.started) }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".to_owned() } else { text }
}

/// Containers that stay, sidecars included.
fn lasting(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.containers.iter().filter(|container| container.role() != ContainerRole::Init)
}

fn ready(status: &PodStatus) -> String {
    format!("{}/{}", printed(status).ready, lasting(status).count())
}

/// How many, and how long ago the last was.
fn restarts(status: &PodStatus, now: i64) -> String {
    let Printed { restarts, last_restart, .. } = printed(status);
    match last_restart {
        Some(at) if restarts > 0 => {
            format!("{restarts} ({} ago)", age(now - status.started - i64::from(at)))
        }
        _ => restarts.to_string(),
    }
}

/// One word for the state of a pod: what keeps it from running, else its phase.
pub(super) fn word(status: &PodStatus) -> String {
    match &status.refusal {
        _ if status.deleting.is_some() => "Terminating".to_owned(),
        Some(refusal) if status.uid.is_none() => format!("Refused:{}", refusal.reason),
        _ => printed(status).word,
    }
}

fn printed(status: &PodStatus) -> Printed {
    let init = status.containers.iter().filter(|one| one.role() != ContainerRole::App).count();
    Printed::of(status, init)
}
