//! A node's page.

use mote_protocol::event::Involved;
use mote_protocol::name::NodeName;
use mote_protocol::pod::{Amounts, Container, PodSpec};
use serde_json::Value;

use super::{items, or_none, pairs, put_events, text};
use crate::kubernetes::event::Told;
use crate::kubernetes::node::{OUT_OF_DISK, node_value};
use crate::kubernetes::quantity::{format_milli, format_units};
use crate::output::age::{format_age, format_moment, format_span};
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
            ("Booted", or_none(node.unix(0).and_then(format_moment).unwrap_or_default())),
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
    // The old name of another row is for programs.
    let known = |condition: &&Value| text(condition, "/type") != OUT_OF_DISK;
    for condition in items(value, "/status/conditions").iter().filter(known) {
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

    /// Of a pod at its largest moment: what `of` says of each container, and of the overhead as much as
    /// is counted where there is anything else (`always`: also where there is not).
    fn of_pod(
        spec: &PodSpec,
        of: impl Fn(&Container, fn(&Amounts) -> Option<u64>) -> u64,
        always: bool,
    ) -> Self {
        let sum = |field: fn(&Amounts) -> Option<u64>| {
            let sum = spec.needed_at_once(|container| of(container, field));
            let overhead = field(&spec.overhead).filter(|_| always || sum > 0);
            sum.saturating_add(overhead.unwrap_or(0))
        };
        Self {
            cpu_milli: sum(|amounts| amounts.cpu_milli),
            memory: sum(|amounts| amounts.memory_bytes),
            storage: sum(|amounts| amounts.ephemeral_bytes),
        }
    }

    /// What a pod asks for: a container that does not say it asks for what it may have at most.
    fn asked(spec: &PodSpec) -> Self {
        let asked = |one: &Container, field: fn(&Amounts) -> Option<u64>| {
            field(&one.requests).or(field(&one.limits)).unwrap_or(0)
        };
        Self::of_pod(spec, asked, true)
    }

    /// What it may have at most, as far as its containers are bounded.
    fn most(spec: &PodSpec) -> Self {
        Self::of_pod(spec, |one, field| field(&one.limits).unwrap_or(0), false)
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
        let spec = pod.pod.as_ref().map(|pod| &pod.spec);
        let asked = spec.map(Sums::asked).unwrap_or_default();
        let most = spec.map(Sums::most).unwrap_or_default();
        let ended = pod.status().is_some_and(|status| status.phase.is_terminal());
        if !ended && pod.never_taken().is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_counts_as_its_largest_moment() {
        let amounts = |milli| Amounts { cpu_milli: Some(milli), ..Amounts::default() };
        let container = |requests: Amounts, limits: Amounts, restart_always| Container {
            requests,
            limits,
            restart_always,
            ..Container::default()
        };
        let none = Amounts::default;
        let mut spec = PodSpec {
            init_containers: vec![
                container(amounts(100), none(), true),
                container(amounts(700), amounts(900), false),
            ],
            containers: vec![container(none(), amounts(300), false)],
            overhead: amounts(10),
            ..PodSpec::default()
        };
        assert_eq!(Sums::asked(&spec).cpu_milli, 810, "the init container beside the sidecar");
        assert_eq!(Sums::most(&spec).cpu_milli, 910);
        spec.init_containers.pop();
        assert_eq!(Sums::asked(&spec).cpu_milli, 410, "the sidecar beside the app");
        assert_eq!(Sums::most(&spec).cpu_milli, 310);
        spec.containers.clear();
        assert_eq!(Sums::most(&spec).cpu_milli, 0, "no limit, and none by the overhead");
    }
}
