//! A node's page.

use mote_protocol::event::Involved;
use mote_protocol::name::NodeName;
use mote_protocol::pod::{Amounts, Container};
use serde_json::Value;

use super::{items, or_none, pairs, put_events, text};
use crate::kubernetes::event::Told;
use crate::kubernetes::node::node_value;
use crate::kubernetes::quantity::{format_milli, format_units};
use crate::output::age::{format_age, format_span};
use crate::output::page::Page;
use crate::output::table::Table;
use crate::view::Fleet;
use crate::view::node::{Node, Presence};

pub(super) fn page(fleet: &Fleet, name: &NodeName, node: &Node, told: &[Told], now: i64) -> String {
    let value = node_value(name, node, now);
    let mut page = Page::default();
    head(&mut page, &value, node, now);
    conditions(&mut page, &value);
    page.line(0, "Addresses:");
    for address in items(&value, "/status/addresses") {
        page.fields(2, &[(text(address, "/type"), text(address, "/address").to_owned())]);
    }
    for (label, pointer) in
        [("Capacity", "/status/capacity"), ("Allocatable", "/status/allocatable")]
    {
        section(&mut page, label, &value, pointer);
    }
    section(&mut page, "System Info", &value, "/status/nodeInfo");
    pods(&mut page, fleet, (name, node), now);
    let own = |told: &&Told| told.node == *name && matches!(told.event.involved, Involved::Node);
    put_events(&mut page, told.iter().filter(own), now);
    page.finish()
}

fn head(page: &mut Page, value: &Value, node: &Node, now: i64) {
    let presence = match node.presence(now) {
        Presence::Online => "yes".to_owned(),
        Presence::Silent { for_s } => {
            format!("in doubt: no heartbeat for {}", format_span(for_s))
        }
        Presence::Offline => "no: its session ended".to_owned(),
        Presence::Unborn => "no: it never came up".to_owned(),
    };
    let heard = node.heartbeat.as_ref().and_then(|beat| node.unix(beat.at));
    let heard =
        heard.map_or_else(|| "<none>".into(), |at| format!("{} ago", format_age(Some(at), now)));
    let session = node.session().map(|session| format!("{}.{}", session.start, session.connection));
    let clock = node.birth.as_ref().map_or("<unknown>", |birth| {
        if birth.clock_trusted { "set" } else { "not set since it started" }
    });
    let unschedulable = node.is_unschedulable();
    page.fields(
        0,
        &[
            ("Name", text(value, "/metadata/name").to_owned()),
            ("Roles", node.roles()),
            ("Groups", node.group_list()),
            ("Labels", pairs(value, "/metadata/labels", "=")),
            ("Taints", taints(node)),
            ("Booted", or_none(text(value, "/metadata/creationTimestamp").into())),
            ("Clock", clock.to_owned()),
            ("Unschedulable", unschedulable.to_string()),
            ("Online", presence),
            ("Session", or_none(session.unwrap_or_default())),
            ("Last Heartbeat", heard),
        ],
    );
}

/// As kubectl lists them.
fn taints(node: &Node) -> String {
    let taints = node.taints();
    or_none(taints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn conditions(page: &mut Page, value: &Value) {
    page.line(0, "Conditions:");
    let headings = ["Type", "Status", "LastTransitionTime", "Reason", "Message"];
    let mut table = Table::with_headings(&headings);
    for condition in items(value, "/status/conditions") {
        let column = |pointer| text(condition, pointer).to_owned();
        let pointers = ["/type", "/status", "/lastTransitionTime", "/reason", "/message"];
        table.push(pointers.map(column).into());
    }
    page.table(2, &table);
}

fn section(page: &mut Page, label: &str, value: &Value, pointer: &str) {
    page.line(0, &format!("{label}:"));
    let map = value.pointer(pointer).and_then(Value::as_object);
    let fields: Vec<(&str, String)> = map
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), crate::output::jsonpath::print(value)))
        .collect();
    page.fields(2, &fields);
}

/// Amounts of all that kubectl sums up.
#[derive(Clone, Copy, Default)]
struct Sums {
    cpu_milli: u64,
    memory: u64,
    storage: u64,
}

/// What pods can have of a node.
type Can = Sums;

impl Sums {
    fn of(node: &Node) -> Self {
        let Some(status) = &node.status else { return Self::default() };
        let all = &status.allocatable;
        Self {
            cpu_milli: all.cpu_milli.into(),
            memory: all.memory_kib.saturating_mul(1024),
            storage: all.ephemeral_kib.saturating_mul(1024),
        }
    }

    fn with(self, amounts: &Amounts) -> Self {
        self.and(&Self {
            cpu_milli: amounts.cpu_milli.unwrap_or(0),
            memory: amounts.memory_bytes.unwrap_or(0),
            storage: amounts.ephemeral_bytes.unwrap_or(0),
        })
    }

    /// What a container asks for: where it says nothing, what it may have at most.
    fn asked(self, container: &Container) -> Self {
        let Container { requests, limits, .. } = container;
        self.with(&Amounts {
            cpu_milli: requests.cpu_milli.or(limits.cpu_milli),
            memory_bytes: requests.memory_bytes.or(limits.memory_bytes),
            ephemeral_bytes: requests.ephemeral_bytes.or(limits.ephemeral_bytes),
            ..Amounts::default()
        })
    }

    const fn and(self, other: &Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory: self.memory.saturating_add(other.memory),
            storage: self.storage.saturating_add(other.storage),
        }
    }
}

/// An amount, and how much that is of what pods can have.
fn share(amount: String, of: u64, all: u64) -> String {
    let percent = u128::from(of) * 100 / u128::from(all.max(1));
    if all == 0 { amount } else { format!("{amount} ({percent}%)") }
}

/// What all pods that have not ended ask for together.
fn allocated(page: &mut Page, can: &Can, requests: &Sums, limits: &Sums) {
    page.line(0, "Allocated resources:");
    page.line(2, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    let mut table = Table::with_headings(&["Resource", "Requests", "Limits"]);
    let cpu = |sums: &Sums| share(format_milli(sums.cpu_milli), sums.cpu_milli, can.cpu_milli);
    let memory = |sums: &Sums| share(format_units(sums.memory), sums.memory, can.memory);
    let storage = |sums: &Sums| share(format_units(sums.storage), sums.storage, can.storage);
    table.push(vec!["cpu".into(), cpu(requests), cpu(limits)]);
    table.push(vec!["memory".into(), memory(requests), memory(limits)]);
    table.push(vec!["ephemeral-storage".into(), storage(requests), storage(limits)]);
    page.table(2, &table);
}

fn pods(page: &mut Page, fleet: &Fleet, (name, node): (&NodeName, &Node), now: i64) {
    let all = fleet.pods(None);
    let here: Vec<_> = all.iter().filter(|pod| pod.node_name() == Some(name)).collect();
    page.line(0, &format!("Pods:  ({} in total)", here.len()));
    let headings = [
        "Namespace",
        "Name",
        "Status",
        "CPU Requests",
        "CPU Limits",
        "Memory Requests",
        "Memory Limits",
        "Age",
    ];
    let mut table = Table::with_headings(&headings);
    let can = Can::of(node);
    let (mut requests, mut limits) = (Sums::default(), Sums::default());
    for pod in here {
        let containers = pod.pod.iter().flat_map(|pod| &pod.spec.containers);
        let asked = containers.clone().fold(Sums::default(), Sums::asked);
        let most = containers.fold(Sums::default(), |sums, one| sums.with(&one.limits));
        let ended = pod.status().is_some_and(|status| status.phase.is_terminal());
        if !ended {
            (requests, limits) = (requests.and(&asked), limits.and(&most));
        }
        table.push(vec![
            pod.key.namespace.to_string(),
            pod.key.name.to_string(),
            pod.summary(now).status,
            share(format_milli(asked.cpu_milli), asked.cpu_milli, can.cpu_milli),
            share(format_milli(most.cpu_milli), most.cpu_milli, can.cpu_milli),
            share(format_units(asked.memory), asked.memory, can.memory),
            share(format_units(most.memory), most.memory, can.memory),
            format_age(pod.created(), now),
        ]);
    }
    page.table(2, &table);
    allocated(page, &can, &requests, &limits);
    if let Some((holds, shown)) = fleet.missing_objects(name) {
        page.line(
            2,
            &format!(
                "the node holds {holds} objects and the broker shows {shown}: not all is listed"
            ),
        );
    }
}
