//! `get -w`: what changes, row by row.

use std::collections::BTreeMap;

use super::{Columns, Resource, Scope};
use crate::cli::GetArgs;
use crate::command::{Link, now_s};
use crate::kubernetes::node::node_value;
use crate::kubernetes::status::pod_value;
use crate::output::console::Console;
use crate::output::format::OutputFormat;
use crate::output::table::Table;

/// Shows rows that changed until the connection ends or the process is told to.
pub(super) async fn run(
    args: &GetArgs,
    scope: &Scope<'_>,
    link: &mut Link,
    console: &mut Console,
) -> anyhow::Result<()> {
    let mut shown = rows(args, scope, link)?;
    loop {
        let message = tokio::select! {
            message = link.session.next(None) => message?,
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
        };
        let Some(message) = message else { return Ok(()) };
        if link.fleet.absorb(&message).is_none() {
            continue;
        }
        let new = rows(args, scope, link)?;
        for (name, (key, text)) in &new {
            if shown.get(name).is_none_or(|(known, _)| known != key) {
                console.text(text)?;
            }
        }
        for (name, (_, text)) in &shown {
            if !new.contains_key(name) && args.output.as_ref().is_none_or(is_table) {
                // As kubectl does: a last row for what is gone.
                console.text(text)?;
            }
        }
        shown = new;
    }
}

fn is_table(output: &OutputFormat) -> bool {
    matches!(output, OutputFormat::Table | OutputFormat::Wide)
}

/// What is shown of each object by its place: what tells two states apart, and the text.
type Rows = BTreeMap<String, (Vec<String>, String)>;

fn rows(args: &GetArgs, scope: &Scope<'_>, link: &Link) -> anyhow::Result<Rows> {
    let now = now_s();
    let pods = match scope.selection.resource() {
        Resource::Pods => scope.pods(&link.fleet),
        Resource::Nodes => Vec::new(),
    };
    let columns = Columns::new(args.output.as_ref(), args.all_namespaces, args.show_labels)
        .telling_apart(&pods);
    let mut rows = Rows::new();
    let mut add =
        |name: String, row: Vec<String>, age: usize, value: &dyn Fn() -> serde_json::Value| {
            let text = match args.output.as_ref().unwrap_or(&OutputFormat::Table) {
                OutputFormat::Table | OutputFormat::Wide => {
                    let mut table = Table::default();
                    table.push(row.clone());
                    table.format()
                }
                OutputFormat::Name => format!("{name}\n"),
                form => form.format(&value())?,
            };
            // Growing older is no change.
            let mut key: Vec<String> = row.iter().map(|cell| ageless(cell).to_owned()).collect();
            if age < key.len() {
                key.remove(age);
                // Nor is the column that comes with a second node; the name has the node.
                if columns.node && age < key.len() {
                    key.remove(age);
                }
            }
            rows.insert(name, (key, text));
            anyhow::Ok(())
        };
    match scope.selection.resource() {
        Resource::Pods => {
            for pod in pods {
                let name = format!("{}/{}/{}", pod.key.namespace, pod.key.name, pod.place());
                let row = columns.pod_row(&pod, now);
                add(name, row, 4 + usize::from(columns.namespace), &|| pod_value(&pod, now))?;
            }
        }
        Resource::Nodes => {
            for (name, node) in scope.nodes(&link.fleet) {
                let row = columns.node_row(name, node, now);
                add(format!("node/{name}"), row, 3, &|| node_value(name, node, now))?;
            }
        }
    }
    Ok(rows)
}

/// A cell without how long ago the last restart was.
fn ageless(cell: &str) -> &str {
    cell.strip_suffix(" ago)")
        .and_then(|cell| cell.rsplit_once(" ("))
        .map_or(cell, |(count, _)| count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_that_grows_older_is_no_change() {
        let cells = ["4 (12s ago)", "4", "Running", "a (b)"].map(ageless);
        assert_eq!(cells, ["4", "4", "Running", "a (b)"]);
    }
}
