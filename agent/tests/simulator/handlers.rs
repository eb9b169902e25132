//! What probes and hooks come to: mostly well, and never while a container does not run.

use std::time::Duration;

use mote_agent::handler::{Goal, Handlers, HookDone, HookError, Outcome, Target};
use mote_agent::pod::handler::Handler;
use tokio::net::TcpStream;

use crate::universe::Shared;

pub(crate) struct SimHandlers(pub(crate) Shared);

impl Handlers for SimHandlers {
    async fn probe(&self, target: &Target, _: &Handler, timeout: Duration) -> Outcome {
        let longest = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.0.pause(longest).await;
        let mut universe = self.0.get();
        if universe.misfortune(24) {
            return Outcome::Errored("too many open files".into());
        }
        if !universe.kernel.runs(&target.id) || universe.misfortune(3) {
            universe.judge.unwell(&target.id);
            return Outcome::Failure("connection refused".into());
        }
        Outcome::Success
    }

    async fn hook(&self, target: &Target, _: &Handler) -> Result<HookDone, HookError> {
        self.0.pause(8192).await;
        let mut universe = self.0.get();
        if !universe.kernel.runs(&target.id) || universe.misfortune(8) {
            return Err(HookError::Http { cause: "connection refused".into() });
        }
        Ok(HookDone::AsAsked)
    }

    async fn connect(&self, _: Goal) -> Result<TcpStream, String> {
        Err("connection refused".into())
    }
}
