//! Collects what passed and what failed, and says it at the end.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::groups::Part;
use super::libtest::Outcome;

/// A part that is over its budget has failed; it still gets half as much again, so that the
/// report says what it would have said.
const GRACE: f64 = 1.5;

/// What came of it all.
#[derive(Debug, Default)]
pub(super) struct Report {
    passed: u64,
    failed: u64,
    failures: Vec<String>,
    spent: BTreeMap<&'static str, Duration>,
}

impl Report {
    /// Something that is no test went wrong.
    pub(super) fn problem(&mut self, group: &str, text: &str) {
        println!("{group}: {text}");
        self.failed += 1;
        self.failures.push(format!("{group}: {text}"));
    }

    /// One check came out.
    pub(super) fn check(&mut self, group: &str, name: &str, passed: bool) {
        println!("  {name}: {}", if passed { "ok" } else { "FAILED" });
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.push(format!("{group}: {name}"));
        }
    }

    /// One test program ended.
    pub(super) fn tests(&mut self, group: &str, program: &str, outcome: Result<Outcome>) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.problem(group, &format!("{program}: {error:#}")),
        };
        print!("{}", outcome.output);
        // Programs without tests of their own are built as test programs, too.
        if outcome.passed + outcome.failed > 0 {
            println!(
                "  {program}: {} passed, {} failed, {:.1} s",
                outcome.passed,
                outcome.failed,
                outcome.time.as_secs_f64()
            );
        }
        for figure in &outcome.figures {
            println!("    {figure}");
        }
        self.passed += outcome.passed;
        self.failed += outcome.failed;
        let named = outcome.failures.iter().map(|name| format!("{group}: {program} {name}"));
        self.failures.extend(named);
    }

    /// A part worked for `time`; fails where that is more than it may.
    pub(super) fn spent(
        &mut self,
        part: &'static str,
        budget: Duration,
        time: Duration,
        long: bool,
    ) {
        let sum = self.spent.entry(part).or_default();
        let before = *sum;
        *sum += time;
        if !long && before <= budget && *sum > budget {
            let took = sum.as_secs();
            self.problem(part, &format!("took {took} s, its budget is {} s", budget.as_secs()));
        }
    }

    /// How long the next program of a part may still run.
    pub(super) fn left(&self, part: Part, long: bool) -> Duration {
        if long {
            return Duration::from_hours(24);
        }
        let spent = self.spent.get(part.name).copied().unwrap_or_default();
        part.budget.mul_f64(GRACE).saturating_sub(spent).max(Duration::from_secs(1))
    }

    /// Says it all.
    pub(super) fn close(self) -> ExitCode {
        println!();
        for (part, time) in &self.spent {
            println!("{part}: {} s", time.as_secs());
        }
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_over_its_budget_fails_once() {
        let mut report = Report::default();
        for _ in 0..3 {
            report.spent("walk", Duration::from_secs(5), Duration::from_secs(4), false);
        }
        assert_eq!(report.failures, ["walk: took 8 s, its budget is 5 s"]);
    }
}
