//! Where a command prints: results to one side, warnings and errors to the other.

use std::fmt::Display;
use std::io::{self, Write};

/// The two streams of a command.
pub struct Console {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

impl Console {
    /// The process's own streams.
    pub fn standard() -> Self {
        Self { out: Box::new(io::stdout()), err: Box::new(io::stderr()) }
    }

    /// Prints a result as it is.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Prints a line of the result.
    pub fn line(&mut self, line: impl Display) -> io::Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// Prints a remark that is no part of the result.
    pub fn remark(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.err, "{line}")
    }

    /// Shows a line in place of the last one that was shown so; for terminals.
    pub fn transient(&mut self, line: &str) -> io::Result<()> {
        // Back to its begin, and nothing is left behind its end.
        write!(self.err, "\r{line}\x1b[K")?;
        self.err.flush()
    }

    /// Prints a warning.
    pub fn warn(&mut self, line: impl Display) -> io::Result<()> {
        self.remark(format_args!("Warning: {line}"))
    }

    /// Prints an error in kubectl's form.
    pub fn fail(&mut self, error: &anyhow::Error) -> io::Result<()> {
        self.remark(crate::failure::format(error))
    }
}
