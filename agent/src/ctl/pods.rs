//! Pods as a table, by the rules of kubectl's columns.

use mote_protocol::status::{
    ContainerRole, ContainerState, ContainerStatus, Phase, PodCondition, PodStatus,
};

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
    let ready = lasting(status).filter(|container| container.ready()).count();
    format!("{ready}/{}", lasting(status).count())
}

/// How many, and how long ago the last was.
fn restarts(status: &PodStatus, now: i64) -> String {
    let count: u32 = status.containers.iter().map(|container| container.restarts).sum();
    let ends = status.containers.iter().filter_map(|container| container.last.as_ref());
    match ends.map(|end| end.finished).max() {
        Some(finished) if count > 0 => {
            format!("{count} ({} ago)", age(now - status.started - i64::from(finished)))
        }
        _ => count.to_string(),
    }
}

/// One word for the state of a pod: what keeps it from running, else its phase.
pub(super) fn word(status: &PodStatus) -> String {
    if status.deleting.is_some() {
        return "Terminating".to_owned();
    }
    if status.uid.is_none()
        && let Some(refusal) = &status.refusal
    {
        return format!("Refused:{}", refusal.reason);
    }
    if let Some((reason, _)) = &status.cause {
        return reason.to_string();
    }
    if status.phase == Phase::Pending
        && !status.conditions.is_true(PodCondition::Initialized)
        && let Some(word) = initializing(status)
    {
        return word;
    }
    let app = lasting(status).filter(|container| container.role() == ContainerRole::App);
    let reasons = app.filter_map(|container| reason(&container.state));
    // The last that has something to say, as kubectl's loop from the end.
    match (reasons.last(), status.phase) {
        (Some(reason), phase) if reason != "Completed" || phase != Phase::Running => reason,
        (_, phase) => phase.as_str().to_owned(),
    }
}

/// `Init:1/3`, or what keeps the init container of now from ending.
fn initializing(status: &PodStatus) -> Option<String> {
    let init: Vec<_> = status
        .containers
        .iter()
        .filter(|container| container.role() != ContainerRole::App)
        .collect();
    let done = |container: &&ContainerStatus| match &container.state {
        ContainerState::Terminated(end) => end.exit_code == 0,
        ContainerState::Running { .. } => {
            container.role() == ContainerRole::Sidecar && container.started()
        }
        ContainerState::Waiting { .. } => false,
    };
    let place = init.iter().position(|container| !done(container))?;
    let current = init.get(place)?;
    let stuck = reason(&current.state).filter(|reason| reason != "PodInitializing");
    Some(match stuck {
        Some(reason) => format!("Init:{reason}"),
        None => format!("Init:{place}/{}", init.len()),
    })
}

fn reason(state: &ContainerState) -> Option<String> {
    match state {
        ContainerState::Waiting { reason, .. } if !reason.is_empty() => Some(reason.to_string()),
        ContainerState::Terminated(end) if !end.reason.is_empty() => Some(end.reason.to_string()),
        ContainerState::Terminated(end) => Some(format!("ExitCode:{}", end.exit_code)),
        ContainerState::Waiting { .. } | ContainerState::Running { .. } => None,
    }
}
