//! Tables as kubectl prints them: columns three spaces apart, each at least six wide with them.

use std::fmt::Write as _;

use mote_protocol::text::printable;

/// Space between two columns.
const PADDING: usize = 3;

/// Least width of a column with its padding.
const MIN_WIDTH: usize = 6;

/// A table, row by row.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a row of headings.
    pub fn with_headings(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).into()).collect()] }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The table as text, each row ending in a line feed.
    pub fn format(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest =
                cells.map(|cell: &String| printable(cell).chars().count()).max().unwrap_or(0);
            (widest + PADDING).max(MIN_WIDTH)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let cell = printable(cell);
                // The last column is as wide as it is.
                let width = if place + 1 == row.len() { 0 } else { *width };
                let _ = write!(text, "{cell:<width$}");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_has_no_tail() {
        let mut table = Table::with_headings(&["NAME", "A", "STATUS"]);
        table.push(vec!["web-with-a-long-name".into(), "1".into(), "Running".into()]);
        table.push(vec!["ü".into(), "\u{1b}[2J".into(), "x".into()]);
        assert_eq!(
            table.format(),
            "NAME                   A           STATUS\n\
             web-with-a-long-name   1           Running\n\
             ü                      \\u{1b}[2J   x\n"
        );
    }
}
