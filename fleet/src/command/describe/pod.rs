//! A pod's page.

use mote_protocol::status::Phase;
use serde_json::Value;

use super::{annotations, container, is_about, items, or_none, pairs, put_events, text, volume};
use crate::kubernetes::event::Told;
use crate::kubernetes::status::pod_value;
use crate::output::page::Page;
use crate::output::table::Table;
use crate::view::pod::PodView;

pub(super) fn page(view: &PodView<'_>, told: &[Told], now: i64) -> String {
    let pod = pod_value(view, now);
    let mut page = Page::default();
    head(&mut page, view, &pod);
    let lists = [
        ("initContainers", "initContainerStatuses", "Init Containers"),
        ("containers", "containerStatuses", "Containers"),
    ];
    for (key, statuses, heading) in lists {
        // Where the broker lost what was asked, the node still tells what it has.
        let containers = match items(&pod, &format!("/spec/{key}")) {
            [] => items(&pod, &format!("/status/{statuses}")),
            asked => asked,
        };
        if containers.is_empty() {
            continue;
        }
        page.line(0, &format!("{heading}:"));
        for container in containers {
            container::section(&mut page, &pod, container);
        }
    }
    conditions(&mut page, &pod);
    volumes(&mut page, &pod);
    let or_default = |text: &str| if text.is_empty() { "BestEffort".into() } else { text.into() };
    page.fields(
        0,
        &[
            ("QoS Class", or_default(text(&pod, "/status/qosClass"))),
            ("Node-Selectors", pairs(&pod, "/spec/nodeSelector", "=")),
            ("Tolerations", tolerations(&pod)),
        ],
    );
    let is_about = |told: &&Told| is_about(told, view.key, view.uid());
    let here = |told: &&Told| view.node_name().is_none_or(|node| *node == told.node);
    put_events(&mut page, told.iter().filter(is_about).filter(here), now);
    page.finish()
}

fn head(page: &mut Page, view: &PodView<'_>, pod: &Value) {
    let node = match text(pod, "/status/hostIP") {
        "" => view.place(),
        address => format!("{}/{address}", view.place()),
    };
    let priority = pod.pointer("/spec/priority").map_or_else(|| "0".into(), Value::to_string);
    let mut fields = vec![
        ("Name", view.key.name.to_string()),
        ("Namespace", view.key.namespace.to_string()),
        ("UID", or_none(text(pod, "/metadata/uid").into())),
        ("Priority", priority),
        ("Node", node),
        ("Start Time", or_none(text(pod, "/status/startTime").into())),
        ("Labels", pairs(pod, "/metadata/labels", "=")),
        ("Annotations", annotations(pod)),
    ];
    let phase = text(pod, "/status/phase");
    let status = if view.is_deleted() && phase != Phase::Unknown.as_str() {
        format!("Terminating (grace period {}s)", grace(pod))
    } else {
        phase.to_owned()
    };
    fields.push(("Status", status));
    for (label, pointer) in [("Reason", "/status/reason"), ("Message", "/status/message")] {
        let found = text(pod, pointer);
        if !found.is_empty() {
            fields.push((label, found.to_owned()));
        }
    }
    let addresses: Vec<_> = items(pod, "/status/podIPs").iter().map(|ip| text(ip, "/ip")).collect();
    fields.push(("IPs", or_none(addresses.join(", "))));
    if let Some(asked_in) = view.asked_in.filter(|scope| **scope != view.scope) {
        fields.push(("Applied To", asked_in.to_string()));
    }
    if let Some(object) = view.object {
        let revision = object.revision;
        fields.push(("Revision", format!("{} ({})", revision.number, revision.hash)));
    }
    let told = view.told.map(crate::view::Told::accepted);
    let behind = view.object.filter(|object| told.is_some_and(|told| told != object.revision));
    if let (Some(_), Some(told)) = (behind, told) {
        fields.push(("Node Works On", format!("{} ({})", told.number, told.hash)));
    }
    page.fields(0, &fields);
}

fn grace(pod: &Value) -> String {
    let grace = pod.pointer("/metadata/deletionGracePeriodSeconds");
    grace.map_or_else(|| "30".into(), Value::to_string)
}

fn conditions(page: &mut Page, pod: &Value) {
    let conditions = items(pod, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    let mut table = Table::with_headings(&["Type", "Status", "Reason", "Message"]);
    for condition in conditions {
        let column = |pointer| text(condition, pointer).to_owned();
        table.push(["/type", "/status", "/reason", "/message"].map(column).into());
    }
    page.table(2, &table);
}

fn volumes(page: &mut Page, pod: &Value) {
    let volumes = items(pod, "/spec/volumes");
    if volumes.is_empty() {
        page.line(0, "Volumes:  <none>");
        return;
    }
    page.line(0, "Volumes:");
    for asked in volumes {
        page.line(2, &format!("{}:", text(asked, "/name")));
        page.fields(4, &volume::fields(asked));
    }
}

fn tolerations(pod: &Value) -> String {
    let lines = items(pod, "/spec/tolerations").iter().map(|toleration| {
        let mut line = text(toleration, "/key").to_owned();
        match (text(toleration, "/operator"), text(toleration, "/value")) {
            ("Exists", _) if line.is_empty() => line.push_str("op=Exists"),
            ("Exists", _) => line.push_str(" op=Exists"),
            (_, "") => {}
            (_, value) => line = format!("{line}={value}"),
        }
        let effect = text(toleration, "/effect");
        if !effect.is_empty() {
            line = format!("{line}:{effect}");
        }
        match toleration.pointer("/tolerationSeconds") {
            Some(seconds) => format!("{line} for {seconds}s"),
            None => line,
        }
    });
    or_none(lines.collect::<Vec<_>>().join("\n"))
}
