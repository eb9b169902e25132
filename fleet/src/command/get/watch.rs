//! `get -w`: what changes, row by row.

use std::collections::BTreeMap;

use super::{Columns, Item, Scope};
use crate::cli::GetArgs;
use crate::command::{Link, now_s};
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
    let items = scope.items(&link.fleet);
    let columns = Columns::new(args.output.as_ref(), args.all_namespaces, args.show_labels)
        .telling_apart(&items);
    let headings = columns.headings(scope.selection.resource());
    let age = headings.iter().position(|heading| *heading == "AGE");
    let mut rows = Rows::new();
    for item in items {
        let (namespace, place) = (item.namespace(), item.place().unwrap_or_default());
        let name = match namespace {
            Some(namespace) => format!("{namespace}/{}/{place}", item.name()),
            None => item.shown(),
        };
        let row = columns.row(&item, now);
        let text = match args.output.as_ref().unwrap_or(&OutputFormat::Table) {
            OutputFormat::Table | OutputFormat::Wide => {
                let mut table = Table::default();
                table.push(row.clone());
                table.format()
            }
            OutputFormat::Name => format!("{}\n", item.shown()),
            form => form.format(&item.value(now))?,
        };
        let mut key = told_apart(&row, age, &columns);
        if let Item::Data(view) = &item {
            // What changes of data is in no column.
            key.extend(view.object.map(|object| object.revision.hash.to_string()));
        }
        rows.insert(name, (key, text));
    }
    Ok(rows)
}

/// What of a row tells two states apart: growing older is no change, nor is the column that comes
/// with a second place.
fn told_apart(row: &[String], age: Option<usize>, columns: &Columns) -> Vec<String> {
    let hidden = |column: usize| match age {
        Some(age) => column == age || columns.node && column == age + 1,
        None => false,
    };
    let cells = row.iter().enumerate().filter(|(column, _)| !hidden(*column));
    cells.map(|(_, cell)| ageless(cell).to_owned()).collect()
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
