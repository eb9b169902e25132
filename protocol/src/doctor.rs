//! What is found where a node is examined, and what to do about it.

use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::status::{Message, Reason};
use crate::text::printable;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Something does not work, or will not for long.
    Problem,
    /// Everything works; somebody may want to know all the same.
    Hint,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is, as one word that does not change: `CgroupMemoryMissing`, `BrokerUnreachable`, ...
    pub reason: Reason,
    /// What it is, for a person.
    pub message: Message,
    /// What to do about it.
    pub remedy: Message,
}

impl Finding {
    /// Something that does not work.
    pub fn problem(reason: &str, message: &str, remedy: &str) -> Self {
        Self::new(Severity::Problem, reason, message, remedy)
    }

    /// Something that is only worth knowing.
    pub fn hint(reason: &str, message: &str, remedy: &str) -> Self {
        Self::new(Severity::Hint, reason, message, remedy)
    }

    fn new(severity: Severity, reason: &str, message: &str, remedy: &str) -> Self {
        let (message, remedy) = (Message::new(message), Message::new(remedy));
        Self { severity, reason: Reason::new(reason), message, remedy }
    }

    /// It is a problem.
    pub fn is_problem(&self) -> bool {
        self.severity == Severity::Problem
    }
}

/// What a person reads of an examination: two lines for each finding, and one at the end.
pub fn printed(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { severity, reason, message, remedy } in findings {
        let word = match severity {
            Severity::Problem => "Problem",
            Severity::Hint => "Hint",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{word:<8} {reason}: {}", printable(message));
        if !remedy.is_empty() {
            let _ = writeln!(text, "         -> {}", printable(remedy));
        }
    }
    let problems = findings.iter().filter(|finding| finding.is_problem()).count();
    let hints = findings.len() - problems;
    let (problems, hints) = (counted(problems, "problem"), counted(hints, "hint"));
    let _ = writeln!(text, "{problems}, {hints}");
    text
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_printed_with_what_to_do_and_counted() {
        let findings = [
            Finding::problem("DiskFull", "no\u{1b}[2J room", "remove something"),
            Finding::hint("ClockNotSynchronized", "nobody keeps it", ""),
        ];
        assert_eq!(
            printed(&findings),
            "Problem  DiskFull: no\\u{1b}[2J room\n         -> remove something\n\
             Hint     ClockNotSynchronized: nobody keeps it\n1 problem, 1 hint\n"
        );
        assert_eq!(printed(&[]), "no problems, no hints\n");
    }
}
