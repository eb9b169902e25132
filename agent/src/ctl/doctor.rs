//! `mote-agent ctl doctor`: what ails this node. Works with no agent, too.

use std::error::Error;
use std::path::Path;

use mote_protocol::doctor::{Finding, printed};

use super::client::{complain, print};
use crate::exit::Exit;
use crate::log::Chain;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Has the node examined, and prints what was found. It fails where there is a problem.
pub(super) fn run<E: Error>(
    config: &Path,
    form: Form,
    examine: impl FnOnce(&Path) -> Result<Vec<Finding>, E>,
) -> Exit {
    if !rustix::process::geteuid().is_root() {
        complain("only root can examine a node");
        return Exit::Failed;
    }
    let config = match std::path::absolute(config) {
        Ok(config) => config,
        Err(error) => {
            complain(&format!("{}: {error}", config.display()));
            return Exit::Failed;
        }
    };
    match examine(&config) {
        Ok(findings) => {
            print(&shown(&findings, form));
            if findings.iter().any(Finding::is_problem) { Exit::Failed } else { Exit::Done }
        }
        Err(error) => {
            complain(&Chain(&error).to_string());
            Exit::Failed
        }
    }
}

fn shown(findings: &[Finding], form: Form) -> String {
    match form {
        Form::Text => printed(findings),
        Form::Json => {
            let value = serde_json::json!({ "findings": findings });
            format!("{value:#}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_read_findings_as_json() {
        let text = shown(&[Finding::hint("A", "b", "c")], Form::Json);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let finding = serde_json::json!(
            { "severity": "Hint", "reason": "A", "message": "b", "remedy": "c" }
        );
        assert_eq!(value, serde_json::json!({ "findings": [finding] }));
        assert_eq!(shown(&[], Form::Json), "{\n  \"findings\": []\n}\n");
    }
}
