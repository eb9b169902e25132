//! Probes and hooks that run a command in the container.

use std::time::Duration;

use super::{HookError, MAX_OUTPUT, Outcome, Target};
use crate::log::Chain;
use crate::runtime::{ExecOutcome, ExecRequest, Runtime};

/// Runs `command`; the container is well if it exits with 0 within `timeout`.
pub(super) async fn probe<R: Runtime>(
    runtime: &R,
    target: &Target,
    command: &[String],
    timeout: Duration,
) -> Outcome {
    match runtime.exec(&request(target, command, Some(timeout))).await {
        Ok(ExecOutcome { code: Some(0), .. }) => Outcome::Success,
        Ok(ExecOutcome { code: Some(_), output }) => Outcome::Failure(text(&output)),
        Ok(ExecOutcome { code: None, .. }) => Outcome::Failure("command timed out".to_owned()),
        Err(error) => Outcome::Errored(Chain(&error).to_string()),
    }
}

/// Runs `command` for as long as it takes.
pub(super) async fn hook<R: Runtime>(
    runtime: &R,
    target: &Target,
    command: &[String],
) -> Result<(), HookError> {
    let outcome = runtime.exec(&request(target, command, None)).await;
    let outcome = outcome.map_err(|error| HookError::Exec { cause: Chain(&error).to_string() })?;
    match outcome.code {
        Some(0) => Ok(()),
        // Nobody set a timeout that could have ended it.
        code => Err(HookError::Exited {
            command: command.to_vec(),
            code: code.unwrap_or_default(),
            output: text(&outcome.output),
        }),
    }
}

fn request(target: &Target, command: &[String], timeout: Option<Duration>) -> ExecRequest {
    let (id, args) = (target.id.clone(), command.to_vec());
    ExecRequest { id, args, timeout, output_limit: MAX_OUTPUT }
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}
