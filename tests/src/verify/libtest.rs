//! Reads what a test program of Rust's own harness printed.

use std::io::{self, Write};
use std::process::ExitStatus;
use std::time::Duration;

/// How one program's tests went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) passed: u64,
    pub(super) failed: u64,
    /// Names of those that failed, or what was wrong with the program as a whole.
    pub(super) failures: Vec<String>,
    /// What it measured: lines that begin with [`FIGURE`].
    pub(super) figures: Vec<String>,
    /// Everything it printed, where something failed.
    pub(super) output: String,
    pub(super) time: Duration,
}

/// A test says so what it measured, past the capture of its output.
const FIGURE: &str = "figure: ";

/// Says what a test measured.
pub fn say(text: &str) -> io::Result<()> {
    // At once, and on a line of its own: the harness has begun one.
    io::stdout().write_all(format!("\n{FIGURE}{text}\n").as_bytes())
}

impl Outcome {
    /// Reads the output of a program that ended with `status`, or was ended for its time (`None`).
    pub(super) fn read(output: &str, status: Option<ExitStatus>, time: Duration) -> Self {
        let mut outcome = Self { time, ..Self::default() };
        for line in output.lines() {
            if let Some(counts) = line.strip_prefix("test result: ") {
                outcome.passed += count(counts, "passed");
                outcome.failed += count(counts, "failed");
            } else if let Some(name) = failed_test(line) {
                outcome.failures.push(name.to_owned());
            } else if let Some(figure) = line.strip_prefix(FIGURE) {
                outcome.figures.push(figure.to_owned());
            }
        }
        let whole = match status {
            None => Some("was ended: out of time".to_owned()),
            Some(status) if !status.success() && outcome.failed == 0 => {
                Some(format!("ended with {status}"))
            }
            _ => None,
        };
        if let Some(whole) = whole {
            // It did not come to its summary: what passed before counts, what failed is listed.
            outcome.passed = output.lines().filter(|line| line.ends_with(" ... ok")).count() as u64;
            outcome.failures.push(whole);
            outcome.failed = outcome.failures.len() as u64;
        }
        if outcome.failed > 0 {
            output.clone_into(&mut outcome.output);
        }
        outcome
    }
}

/// The number before `word` in `ok. 3 passed; 0 failed; ...`.
fn count(counts: &str, word: &str) -> u64 {
    let words: Vec<_> = counts.split([' ', ';', '.']).filter(|part| !part.is_empty()).collect();
    let pair = words.windows(2).find(|pair| pair.last() == Some(&word));
    pair.and_then(|pair| pair.first()?.parse().ok()).unwrap_or(0)
}

fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const OUTPUT: &str = "\nrunning 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\n\
        test d ... ignored\n\ntest result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; \
        0 filtered out; finished in 0.01s\n";

    #[test]
    fn counts_and_names_are_read() {
        let status = ExitStatus::from_raw(101 << 8);
        let outcome = Outcome::read(OUTPUT, Some(status), Duration::ZERO);
        assert_eq!((outcome.passed, outcome.failed), (1, 1));
        assert_eq!(outcome.failures, ["a::c"]);
    }

    #[test]
    fn figures_are_read() {
        let output = "running 1 test\n\nfigure: 3 ms each\ntest a ... ok\n";
        let outcome = Outcome::read(output, Some(ExitStatus::from_raw(0)), Duration::ZERO);
        assert_eq!(outcome.figures, ["3 ms each"]);
    }

    #[test]
    fn a_program_that_dies_has_failed() {
        let output = "running 2 tests\ntest a ... ok\n";
        let outcome = Outcome::read(output, Some(ExitStatus::from_raw(6)), Duration::ZERO);
        assert_eq!((outcome.passed, outcome.failed), (1, 1));
        let outcome = Outcome::read(output, None, Duration::ZERO);
        assert_eq!(outcome.failures, ["was ended: out of time"]);
    }
}
