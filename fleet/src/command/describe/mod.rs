//! `mote describe`: all that is known of a node or an object, for a person.

mod container;
mod data;
mod node;
mod pod;
mod service;
mod volume;

use mote_protocol::event::Involved;
use mote_protocol::name::{Kind, ObjectKey, Uid};
use serde_json::Value;

use super::get::{Item, Scope, several};
use super::resource::{Resource, Selection};
use super::{Invocation, Link, Outcome, ask, events, now_s};
use crate::cli::DescribeArgs;
use crate::kubernetes::event::Told;
use crate::output::age::format_age;
use crate::output::console::Console;
use crate::output::page::Page;
use crate::output::table::Table;
use crate::view::{Fleet, kind_filters, status_filters};

/// Runs the command.
pub async fn run(
    args: &DescribeArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let selections = Selection::parse_all(&args.resources)?;
    let context = invocation.context()?;
    let scopes: Vec<_> = selections
        .iter()
        .map(|selection| Scope {
            selection,
            namespace: Some(&context.namespace).filter(|_| !args.all_namespaces),
            node: args.node.as_ref(),
            selector: args.selector.as_ref(),
        })
        .collect();
    let mut link = invocation.connect(&context).await?;
    let mut filters: Vec<_> = scopes.iter().flat_map(|scope| filters(scope, &link)).collect();
    filters.sort();
    filters.dedup();
    link.list(&filters).await?;
    let mut outcome = Outcome::Done;
    for scope in &scopes {
        for error in scope.missing(&link.fleet) {
            console.fail(&error.into())?;
            outcome = Outcome::Failed;
        }
        if several(scope, &link.fleet, console)? {
            return Ok(Outcome::Failed);
        }
    }
    let told = if args.show_events { ask_events(&scopes, &mut link).await? } else { Vec::new() };
    let pages: Vec<_> =
        scopes.iter().flat_map(|scope| pages(scope, &link.fleet, &told, now_s())).collect();
    link.session.close().await;
    if pages.is_empty() && outcome == Outcome::Done {
        console.remark("No resources found")?;
    }
    console.text(&pages.join("\n\n"))?;
    Ok(outcome)
}

/// What shows what is described.
fn filters(scope: &Scope<'_>, link: &Link) -> Vec<String> {
    let mut filters = scope.filters(link);
    if scope.selection.resource() == Resource::Nodes {
        // A node's page lists its pods, of every namespace.
        filters.extend(kind_filters(&link.name, Kind::Pod, None));
        filters.extend(status_filters(&link.name));
    }
    filters
}

fn pages(scope: &Scope<'_>, fleet: &Fleet, told: &[Told], now: i64) -> Vec<String> {
    let page = |item: &Item<'_>| match item {
        Item::Pod(view) => pod::page(view, told, now),
        Item::Data(view) => data::page(view, told, now),
        Item::Node(name, node) => node::page(fleet, name, node, told, now),
    };
    scope.items(fleet).iter().map(page).collect()
}

/// The events of the nodes that the pages are about.
async fn ask_events(scopes: &[Scope<'_>], link: &mut Link) -> anyhow::Result<Vec<Told>> {
    let now = now_s();
    let mut nodes: Vec<_> = Vec::new();
    for item in scopes.iter().flat_map(|scope| scope.items(&link.fleet)) {
        match item {
            Item::Pod(view) => nodes.extend(view.node_name().cloned()),
            Item::Data(view) => nodes.extend(view.nodes.iter().map(|(name, _)| (*name).clone())),
            Item::Node(name, _) => nodes.push(name.clone()),
        }
    }
    nodes.sort();
    nodes.dedup();
    nodes.retain(|name| link.fleet.nodes.get(name).is_some_and(|node| node.is_online(now)));
    // A page without its events is better than none.
    Ok(ask::events(link, &nodes, None, events::PATIENCE).await?.events)
}

/// Whether an event is about an object: by its uid where both are known.
fn is_about(told: &Told, key: &ObjectKey, uid: Option<Uid>) -> bool {
    match (&told.event.involved, uid) {
        (Involved::Object { uid: Some(about), .. }, Some(uid)) => *about == uid,
        (Involved::Object { kind, namespace, name, .. }, _) => {
            *kind == key.kind && *namespace == key.namespace.as_str() && *name == key.name.as_str()
        }
        (Involved::Node, _) => false,
    }
}

/// The text at a pointer, or nothing.
fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a pointer, or an empty one.
fn items<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `key=value` lines of a map, `<none>` where there are none.
fn pairs(value: &Value, pointer: &str, separator: &str) -> String {
    let map = value.pointer(pointer).and_then(Value::as_object);
    let lines = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}{separator}{}", crate::output::jsonpath::print(value)));
    or_none(lines.collect::<Vec<_>>().join("\n"))
}

/// The annotations, without the copy of the manifest that kubectl keeps among them.
fn annotations(value: &Value) -> String {
    let mut map = value.pointer("/metadata/annotations").cloned().unwrap_or_default();
    if let Value::Object(map) = &mut map {
        map.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    pairs(&map, "", ": ")
}

fn or_none(text: String) -> String {
    if text.is_empty() { "<none>".into() } else { text }
}

/// `True` and `False` as Kubernetes' pages have them.
fn truth(value: &Value, pointer: &str) -> String {
    let truth = value.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
    if truth { "True" } else { "False" }.into()
}

/// The last section: events.
fn put_events<'t>(page: &mut Page, told: impl Iterator<Item = &'t Told>, now: i64) {
    let mut told: Vec<_> = told.collect();
    if told.is_empty() {
        page.line(0, "Events:  <none>");
        return;
    }
    told.sort_by_key(|told| told.last);
    page.line(0, "Events:");
    let mut table = Table::with_headings(&["Type", "Reason", "Age", "From", "Message"]);
    table.push(["----", "------", "----", "----", "-------"].map(String::from).into());
    for told in told {
        let age = match told.event.count {
            0 | 1 => format_age(told.last, now),
            _ => events::last_seen(told, now),
        };
        table.push(vec![
            told.event_type().into(),
            told.event.reason.to_string(),
            age,
            format!("mote-agent, {}", told.node),
            told.event.message.trim().to_owned(),
        ]);
    }
    page.table(2, &table);
}
