//! A node's page.

use mote_protocol::event::Involved;
use mote_protocol::name::NodeName;
use serde_json::Value;

use super::{items, or_none, pairs, put_events, text};
use crate::kubernetes::event::Told;
use crate::kubernetes::node::node_value;
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
    pods(&mut page, fleet, name, now);
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
    let unschedulable = node.status.as_ref().is_some_and(|status| status.unschedulable);
    page.fields(
        0,
        &[
            ("Name", text(value, "/metadata/name").to_owned()),
            ("Roles", node.roles()),
            ("Groups", node.group_list()),
            ("Labels", pairs(value, "/metadata/labels", "=")),
            ("Booted", or_none(text(value, "/metadata/creationTimestamp").into())),
            ("Clock", clock.to_owned()),
            ("Unschedulable", unschedulable.to_string()),
            ("Online", presence),
            ("Session", or_none(session.unwrap_or_default())),
            ("Last Heartbeat", heard),
        ],
    );
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

fn pods(page: &mut Page, fleet: &Fleet, name: &NodeName, now: i64) {
    let all = fleet.pods(None);
    let here: Vec<_> = all.iter().filter(|pod| pod.node_name() == Some(name)).collect();
    page.line(0, &format!("Pods:  ({} in total)", here.len()));
    let headings = ["Namespace", "Name", "Status", "CPU Requests", "Memory Requests", "Age"];
    let mut table = Table::with_headings(&headings);
    for pod in here {
        let asked = pod.pod.iter().flat_map(|pod| &pod.spec.containers);
        let (cpu, memory) = asked.fold((0, 0), |(cpu, memory), container| {
            let requests = &container.requests;
            (cpu + requests.cpu_milli.unwrap_or(0), memory + requests.memory_bytes.unwrap_or(0))
        });
        table.push(vec![
            pod.key.namespace.to_string(),
            pod.key.name.to_string(),
            pod.summary(now).status,
            crate::kubernetes::quantity::format_milli(cpu),
            crate::kubernetes::quantity::format_units(memory),
            format_age(pod.created(), now),
        ]);
    }
    page.table(2, &table);
    if let Some((holds, shown)) = fleet.missing_objects(name) {
        page.line(
            2,
            &format!(
                "the node holds {holds} objects and the broker shows {shown}: not all is listed"
            ),
        );
    }
}
