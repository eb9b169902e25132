//! `mote describe`: all that is known of a node or a pod, for a person.

mod container;
mod node;
mod pod;
mod volume;

use serde_json::Value;

use super::get::{Scope, several};
use super::resource::{Resource, Selection};
use super::{Invocation, Link, Outcome, ask, events, now_s};
use crate::cli::DescribeArgs;
use crate::kubernetes::event::Told;
use crate::output::age::format_age;
use crate::output::console::Console;
use crate::output::page::Page;
use crate::output::table::Table;
use crate::view::{Fleet, node_filters, pod_filters, status_filters};

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
        if scope.selection.resource() == Resource::Pods
            && several(scope, &scope.pods(&link.fleet), console)?
        {
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
    // A node's page lists its pods, of every namespace.
    let of_pods = scope.selection.resource() == Resource::Pods;
    let mut filters = node_filters(&link.name, None);
    filters.extend(pod_filters(&link.name, scope.namespace.filter(|_| of_pods)));
    if !of_pods {
        filters.extend(status_filters(&link.name));
    }
    filters
}

fn pages(scope: &Scope<'_>, fleet: &Fleet, told: &[Told], now: i64) -> Vec<String> {
    match scope.selection.resource() {
        Resource::Pods => scope.pods(fleet).iter().map(|view| pod::page(view, told, now)).collect(),
        Resource::Nodes => {
            let nodes = scope.nodes(fleet).into_iter();
            nodes.map(|(name, node)| node::page(fleet, name, node, told, now)).collect()
        }
    }
}

/// The events of the nodes that the pages are about.
async fn ask_events(scopes: &[Scope<'_>], link: &mut Link) -> anyhow::Result<Vec<Told>> {
    let now = now_s();
    let mut nodes: Vec<_> = scopes
        .iter()
        .flat_map(|scope| match scope.selection.resource() {
            Resource::Nodes => {
                scope.nodes(&link.fleet).into_iter().map(|(name, _)| name.clone()).collect()
            }
            Resource::Pods => {
                let pods = scope.pods(&link.fleet);
                pods.iter().filter_map(|pod| pod.node_name().cloned()).collect::<Vec<_>>()
            }
        })
        .collect();
    nodes.sort();
    nodes.dedup();
    nodes.retain(|name| link.fleet.nodes.get(name).is_some_and(|node| node.is_online(now)));
    // A page without its events is better than none.
    Ok(ask::events(link, &nodes, None, events::PATIENCE).await?.events)
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
