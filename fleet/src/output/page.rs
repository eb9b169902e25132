//! Pages as `describe` prints them: labels, values, and sections below each other.

use std::fmt::Write as _;

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Labels with their values, the values in one column; where a value has several lines, below
    /// each other.
    pub fn fields(&mut self, indent: usize, fields: &[(&str, String)]) {
        let width = fields.iter().map(|(label, _)| label.chars().count() + 1).max().unwrap_or(0);
        for (label, value) in fields {
            let mut lines = value.lines();
            let first = lines.next().unwrap_or_default();
            let label = format!("{label}:");
            self.line(indent, &format!("{label:<width$}  {first}"));
            for line in lines {
                self.line(indent, &format!("{:<width$}  {line}", ""));
            }
        }
    }

    /// One line.
    pub fn line(&mut self, indent: usize, line: &str) {
        let _ = writeln!(self.text, "{:indent$}{}", "", line.trim_end());
    }

    /// A table, each row indented.
    pub fn table(&mut self, indent: usize, table: &super::table::Table) {
        for line in table.format().lines() {
            self.line(indent, line);
        }
    }

    /// The page. Control characters, except line ends and tabs, are shown, not sent to the terminal.
    pub fn finish(self) -> String {
        let shown = |c: char| -> Vec<char> {
            if c.is_control() && !matches!(c, '\n' | '\t') {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        };
        self.text.chars().flat_map(shown).collect()
    }
}
