//! `mote get`: what nodes, pods and data there are.

mod item;
mod scope;
mod sweep;
mod table;
mod watch;

use anyhow::anyhow;

use super::resource::{Resource, Selection};
use super::{Invocation, Outcome, now_s};
use crate::cli::GetArgs;
use crate::kubernetes::object::list;
use crate::output::console::Console;
use crate::output::format::OutputFormat;
use crate::output::table::Table;
use crate::view::Fleet;
pub(super) use item::Item;
pub(super) use scope::{Scope, several};
pub(super) use sweep::sweep;
use table::Columns;
pub(super) use table::labels;

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
        _ => sweep(&mut link).await?,
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
        if named && args.all_namespaces && selection.resource() != Resource::Nodes {
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
        if several(scope, fleet, console)? {
            outcome = Outcome::Failed;
        }
    }
    match args.output.as_ref().unwrap_or(&OutputFormat::Table) {
        OutputFormat::Table | OutputFormat::Wide => {
            print_tables(args, scopes, fleet, console)?;
        }
        OutputFormat::Name => {
            for scope in scopes {
                for item in scope.items(fleet) {
                    console.line(item.shown())?;
                }
            }
        }
        form => {
            let (mut items, now) = (Vec::new(), now_s());
            for scope in scopes {
                items.extend(scope.items(fleet).iter().map(|item| item.value(now)));
            }
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

/// A table of each kind, below each other; of several, each name tells its kind.
fn print_tables(
    args: &GetArgs,
    scopes: &[Scope<'_>],
    fleet: &Fleet,
    console: &mut Console,
) -> anyhow::Result<()> {
    let mut shown = 0;
    let with_kind = scopes.len() > 1;
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
        let namespaced = |scope: &&Scope<'_>| scope.selection.resource() != Resource::Nodes;
        if let Some(scope) = scopes.iter().find(namespaced).or(scopes.first()) {
            console.remark(scope.none_found())?;
        }
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
    let items = scope.items(fleet);
    let columns = Columns::new(args.output.as_ref(), args.all_namespaces, args.show_labels)
        .with_kind(with_kind)
        .telling_apart(&items);
    let rows = items.iter().map(|item| columns.row(item, now)).collect();
    (columns.headings(scope.selection.resource()), rows)
}
