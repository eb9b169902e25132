//! `mote doctor`: what ails a node, as `mote-agent ctl doctor` tells it there.

use std::time::Duration;

use anyhow::anyhow;
use mote_protocol::command::{Answer, Request};
use mote_protocol::doctor::{Finding, printed};
use serde_json::{Value, json};

use super::ask::ask;
use super::{Invocation, Outcome, now_s};
use crate::cli::DoctorArgs;
use crate::output::console::Console;
use crate::view::node_filters;

/// How long a node may take: it gives the broker twenty seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a node answers that does not know the question.
const NOT_UNDERSTOOD: &str = "MalformedBody";

/// Runs the command.
pub async fn run(
    args: &DoctorArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let context = invocation.context()?;
    let mut link = invocation.connect(&context).await?;
    let name = &args.node;
    link.list(&node_filters(&link.name, Some(name))).await?;
    let Some(node) = link.fleet.nodes.get(name) else {
        return Err(anyhow!("nodes \"{name}\" not found"));
    };
    if !node.is_online(now_s()) {
        let local = "`mote-agent ctl doctor` tells more on the node itself";
        return Err(anyhow!("node {name} is offline: it cannot be asked; {local}"));
    }
    let nodes = [name.clone()];
    let mut answered = ask(&mut link, &nodes, &Request::Doctor, PATIENCE).await?;
    link.session.close().await;
    let answer = answered.pop().map(|(_, answer)| answer);
    let findings = found(answer.ok_or_else(|| anyhow!("node {name} was not asked"))?)
        .map_err(|why| anyhow!("node {name}: {why}"))?;
    match &args.output {
        None => console.text(&printed(&findings))?,
        Some(form) => console.text(&form.format(&value(name.as_str(), &findings))?)?,
    }
    let well = !findings.iter().any(Finding::is_problem);
    Ok(if well { Outcome::Done } else { Outcome::Failed })
}

/// What a node found, or why it did not look.
fn found(answer: Result<Vec<Answer>, String>) -> Result<Vec<Finding>, String> {
    let parts = answer.map_err(|why| {
        if why.starts_with(NOT_UNDERSTOOD) {
            return "its agent is too old to be examined from afar: update it".to_owned();
        }
        why
    })?;
    let findings = parts.into_iter().flat_map(|part| match part {
        Answer::Findings(findings) => findings,
        // No answer to this question.
        _ => Vec::new(),
    });
    Ok(findings.collect())
}

fn value(node: &str, findings: &[Finding]) -> Value {
    json!({ "node": node, "findings": findings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_agent_is_told_from_one_that_refuses() {
        let refused = |why: &str| found(Err(why.to_owned())).expect_err("refused");
        let old = refused("MalformedBody: body cannot be decoded");
        assert!(old.contains("too old") && old.contains("update"), "{old}");
        assert_eq!(refused("Failed: no"), "Failed: no");
    }

    #[test]
    fn parts_are_one_list() {
        let part = |reason: &str| Answer::Findings(vec![Finding::hint(reason, "", "")]);
        let all = found(Ok(vec![part("A"), Answer::Streaming, part("B")])).expect("findings");
        assert_eq!(all.iter().map(|one| &*one.reason).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(value("n", &all)["findings"][1]["severity"], "Hint");
    }
}
