//! `mote get`: what nodes and pods there are.

mod sweep;
mod table;
mod watch;

use anyhow::anyhow;
use mote_protocol::name::{Namespace, NodeName};
use serde_json::Value;

use super::resource::{Resource, Selection};
use super::{Invocation, Link, Outcome, now_s};
use crate::cli::GetArgs;
use crate::failure::ServerError;
use crate::kubernetes::node::node_value;
use crate::kubernetes::object::list;
use crate::kubernetes::status::pod_value;
use crate::output::console::Console;
use crate::output::format::OutputFormat;
use crate::output::table::Table;
use crate::view::node::Node;
use crate::view::pod::PodView;
use crate::view::{Fleet, node_filters, pod_filters};
pub(super) use sweep::sweep;
use table::Columns;

/// What is shown of a fleet.
pub(super) struct Scope<'a> {
    pub selection: &'a Selection,
    pub namespace: Option<&'a Namespace>,
    pub node: Option<&'a NodeName>,
    pub selector: Option<&'a crate::view::selector::Selector>,
}

impl Scope<'_> {
    /// The filters that show it.
    pub(super) fn filters(&self, link: &Link) -> Vec<String> {
        let mut filters = node_filters(&link.name, None);
        if self.selection.resource() == Resource::Pods {
            filters.extend(pod_filters(&link.name, self.namespace));
        }
        filters
    }

    /// Its pods.
    pub(super) fn pods<'f>(&self, fleet: &'f Fleet) -> Vec<PodView<'f>> {
        let mut pods = fleet.pods(self.namespace);
        pods.retain(|pod| {
            let named = match self.selection {
                Selection::Pods(names) => names.contains(&pod.key.name),
                Selection::All(_) | Selection::Nodes(_) => true,
            };
            let labels = pod.pod.as_ref().map(|pod| pod.meta.labels.clone()).unwrap_or_default();
            named
                && self.node.is_none_or(|node| pod.node_name() == Some(node))
                && self.selector.is_none_or(|selector| selector.matches(&labels))
        });
        pods
    }

    /// Its nodes.
    pub(super) fn nodes<'f>(&self, fleet: &'f Fleet) -> Vec<(&'f NodeName, &'f Node)> {
        let wanted = |(name, node): &(&NodeName, &Node)| {
            let named = match self.selection {
                Selection::Nodes(names) => names.contains(name),
                Selection::All(_) | Selection::Pods(_) => true,
            };
            let labels = node.birth.as_ref().map(|birth| birth.labels.clone()).unwrap_or_default();
            named
                && self.node.is_none_or(|node| node == *name)
                && self.selector.is_none_or(|selector| selector.matches(&labels))
        };
        fleet.nodes.iter().filter(wanted).collect()
    }

    /// Errors for names that nothing has.
    pub(super) fn missing(&self, fleet: &Fleet) -> Vec<ServerError> {
        let absent = |resource, name: String| ServerError::NotFound { resource, name };
        match self.selection {
            Selection::All(_) => Vec::new(),
            Selection::Pods(names) => {
                let pods = self.pods(fleet);
                let gone =
                    names.iter().filter(|name| !pods.iter().any(|pod| pod.key.name == **name));
                gone.map(|name| absent("pods", name.to_string())).collect()
            }
            Selection::Nodes(names) => {
                let gone = names.iter().filter(|name| !fleet.nodes.contains_key(*name));
                gone.map(|name| absent("nodes", name.to_string())).collect()
            }
        }
    }
}

/// Runs the command.
pub async fn run(
    args: &GetArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let selections = Selection::parse_all(&args.resources)?;
    check(args, &selections)?;
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
    let mut filters: Vec<_> = scopes.iter().flat_map(|scope| scope.filters(&link)).collect();
    filters.sort();
    filters.dedup();
    link.list(&filters).await?;
    let mut outcome = Outcome::Done;
    if !args.watch_only {
        outcome = show(args, &scopes, &link.fleet, console)?;
    }
    match scopes.first() {
        Some(scope) if args.watch || args.watch_only => {
            watch::run(args, scope, &mut link, console).await?;
        }
        _ if scopes.iter().any(|scope| scope.selection.resource() == Resource::Pods) => {
            sweep(&mut link).await?;
        }
        _ => {}
    }
    link.session.close().await;
    Ok(outcome)
}

/// What kubectl refuses.
fn check(args: &GetArgs, selections: &[Selection]) -> anyhow::Result<()> {
    if selections.len() > 1 && (args.watch || args.watch_only) {
        return Err(anyhow!("you may only specify a single resource type with --watch"));
    }
    for selection in selections {
        let named = !matches!(selection, Selection::All(_));
        if named && args.selector.is_some() {
            return Err(anyhow!("name cannot be provided when a selector is specified"));
        }
        if named && args.all_namespaces && selection.resource() == Resource::Pods {
            return Err(anyhow!("a resource cannot be retrieved by name across all namespaces"));
        }
    }
    Ok(())
}

fn show(
    args: &GetArgs,
    scopes: &[Scope<'_>],
    fleet: &Fleet,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    for scope in scopes {
        for error in scope.missing(fleet).into_iter().filter(|_| !args.ignore_not_found) {
            console.fail(&error.into())?;
            outcome = Outcome::Failed;
        }
        if several(scope, &pod_list(scope, fleet), console)? {
            outcome = Outcome::Failed;
        }
    }
    match args.output.as_ref().unwrap_or(&OutputFormat::Table) {
        OutputFormat::Table | OutputFormat::Wide => {
            print_tables(args, scopes, fleet, console)?;
        }
        OutputFormat::Name => {
            for scope in scopes {
                for pod in pod_list(scope, fleet) {
                    console.line(format_args!("pod/{}", pod.key.name))?;
                }
                for (name, _) in node_list(scope, fleet) {
                    console.line(format_args!("node/{name}"))?;
                }
            }
        }
        form => {
            let mut items = values(scopes, fleet, now_s());
            let one = matches!(scopes, [scope] if scope.selection.is_one());
            let value = match items.pop() {
                Some(item) if one && items.is_empty() => item,
                None if one => return Ok(outcome),
                last => {
                    items.extend(last);
                    list(&items)
                }
            };
            console.text(&form.format(&value)?)?;
        }
    }
    Ok(outcome)
}

/// What is shown, as Kubernetes' API has it.
fn values(scopes: &[Scope<'_>], fleet: &Fleet, now: i64) -> Vec<Value> {
    let mut items = Vec::new();
    for scope in scopes {
        items.extend(pod_list(scope, fleet).iter().map(|pod| pod_value(pod, now)));
        let nodes = node_list(scope, fleet).into_iter();
        items.extend(nodes.map(|(name, node)| node_value(name, node, now)));
    }
    items
}

fn pod_list<'f>(scope: &Scope<'_>, fleet: &'f Fleet) -> Vec<PodView<'f>> {
    match scope.selection.resource() {
        Resource::Pods => scope.pods(fleet),
        Resource::Nodes => Vec::new(),
    }
}

fn node_list<'f>(scope: &Scope<'_>, fleet: &'f Fleet) -> Vec<(&'f NodeName, &'f Node)> {
    match scope.selection.resource() {
        Resource::Nodes => scope.nodes(fleet),
        Resource::Pods => Vec::new(),
    }
}

/// Whether a pod was named that several nodes have; says which.
pub(super) fn several(
    scope: &Scope<'_>,
    pods: &[PodView<'_>],
    console: &mut Console,
) -> anyhow::Result<bool> {
    let Selection::Pods(names) = scope.selection else { return Ok(false) };
    let mut ambiguous = false;
    for name in names {
        let places: Vec<_> =
            pods.iter().filter(|pod| pod.key.name == *name).map(PodView::place).collect();
        if places.len() > 1 {
            ambiguous = true;
            let places = places.join(", ");
            console
                .fail(&anyhow!("pod \"{name}\" exists on several nodes: {places}; use --node"))?;
        }
    }
    Ok(ambiguous)
}

/// A table of each kind, below each other; of several, each name tells its kind.
fn print_tables(
    args: &GetArgs,
    scopes: &[Scope<'_>],
    fleet: &Fleet,
    console: &mut Console,
) -> anyhow::Result<()> {
    let mut shown = 0;
    let with_kind = scopes.len() > 1 || args.resources.first().is_some_and(|kind| kind == "all");
    for scope in scopes {
        let (headings, rows) = table(args, scope, with_kind, fleet);
        if rows.is_empty() {
            continue;
        }
        if shown > 0 {
            console.line("")?;
        }
        shown += 1;
        let mut table =
            if args.no_headers { Table::default() } else { Table::with_headings(&headings) };
        for row in rows {
            table.push(row);
        }
        console.text(&table.format())?;
    }
    let asked_for_all = scopes.iter().any(|scope| matches!(scope.selection, Selection::All(_)));
    if shown == 0 && asked_for_all && !args.watch {
        let namespace = scopes
            .iter()
            .find(|scope| scope.selection.resource() == Resource::Pods)
            .and_then(|scope| scope.namespace);
        let place =
            namespace.map(|namespace| format!(" in {namespace} namespace.")).unwrap_or_default();
        console.remark(format_args!("No resources found{place}"))?;
    }
    Ok(())
}

/// Headings and rows of one kind.
fn table(
    args: &GetArgs,
    scope: &Scope<'_>,
    with_kind: bool,
    fleet: &Fleet,
) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let now = now_s();
    let pods = pod_list(scope, fleet);
    let columns = Columns::new(args.output.as_ref(), args.all_namespaces, args.show_labels)
        .with_kind(with_kind)
        .telling_apart(&pods);
    match scope.selection.resource() {
        Resource::Pods => {
            (columns.pod_headings(), pods.iter().map(|pod| columns.pod_row(pod, now)).collect())
        }
        Resource::Nodes => {
            let nodes = scope.nodes(fleet).into_iter();
            let rows = nodes.map(|(name, node)| columns.node_row(name, node, now)).collect();
            (columns.node_headings(), rows)
        }
    }
}
