//! Columns of text, as wide as their widest entry.

use std::fmt::Write as _;

use mote_protocol::text::printable;

/// Space between columns.
const GAP: usize = 3;

/// A table under construction.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub(super) fn row(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows
            .push(row.into_iter().map(|text| printable(&text.trim().replace('\n', " "))).collect());
    }

    /// All rows; each line begins with `indent` and has no space at its end.
    pub(super) fn render(&self, indent: &str) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:<0$}", width + GAP);
            }
            text.extend([indent, line.trim_end(), "\n"]);
        }
        text
    }
}

/// A text of perhaps several lines behind a name: each further line begins with `indent` spaces.
pub(super) fn hanging(text: &str, indent: usize) -> String {
    let lines: Vec<_> = text.trim_end().split('\n').map(printable).collect();
    lines.join(&format!("\n{:indent$}", ""))
}
