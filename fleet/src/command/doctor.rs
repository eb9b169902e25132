//! `mote doctor`: what ails a node, as `mote-agent ctl doctor` tells it there.

use std::time::Duration;

use mote_protocol::command::{Answer, Request};
use mote_protocol::doctor::{Finding, printed};
use serde_json::{Value, json};

use super::ask::{ask_one, find};
use super::{Invocation, Outcome};
use crate::cli::DoctorArgs;
use crate::output::console::Console;

/// How long a node may take: it gives the broker twenty seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// What is said of a node that is offline.
const OFFLINE: &str = "it cannot be asked; `mote-agent ctl doctor` tells more on the node itself";

/// Runs the command.
pub async fn run(
    args: &DoctorArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    let name = &args.node;
    find(&mut link, name, OFFLINE).await?;
    let answer = ask_one(&mut link, name, &Request::Doctor, PATIENCE).await;
    link.session.close().await;
    let findings = found(answer?);
    match &args.output {
        None => console.text(&printed(&findings))?,
        Some(form) => console.text(&form.format(&value(name.as_str(), &findings))?)?,
    }
    let well = !findings.iter().any(Finding::is_problem);
    Ok(if well { Outcome::Done } else { Outcome::Failed })
}

/// What a node found.
fn found(parts: Vec<Answer>) -> Vec<Finding> {
    let findings = parts.into_iter().flat_map(|part| match part {
        Answer::Findings(findings) => findings,
        // No answer to this question.
        _ => Vec::new(),
    });
    findings.collect()
}

fn value(node: &str, findings: &[Finding]) -> Value {
    json!({ "node": node, "findings": findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_one_list() {
        let part = |reason: &str| Answer::Findings(vec![Finding::hint(reason, "", "")]);
        let all = found(vec![part("A"), Answer::Streaming, part("B")]);
        assert_eq!(all.iter().map(|one| &*one.reason).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(value("n", &all)["findings"][1]["severity"], "Hint");
    }
}
