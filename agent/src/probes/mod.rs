//! Probes one attempt of one container, again and again.
//!
//! [`run`] is one task per probe. It tells what changes and what is wrong, never a steady success,
//! so that a container that is well wakes nobody up. What follows from it is decided by
//! `pod::machine`.

pub mod threshold;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use self::threshold::Threshold;
use crate::handler::{Handlers, Outcome, Target};
use crate::pod::handler::{Probe, ProbeKind};

/// How often a probe is made at once that could not be made.
const MAX_TRIES: u32 = 3;

/// One attempt of a probe that is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// How it ended.
    pub outcome: Outcome,
    /// The result, where this attempt changed it.
    pub decided: Option<bool>,
}

/// Probes until nothing is left to find out: a startup probe until it decided, a liveness probe
/// until it failed, a readiness probe until the task is dropped.
///
/// The first attempt is `initial_delay` after the start, which was `elapsed` ago. `jitter` is added
/// for containers that an agent found running at its own start, so that it does not probe all of
/// them in the same moment.
pub async fn run<H: Handlers>(
    handlers: &H,
    target: &Target,
    kind: ProbeKind,
    probe: &Probe,
    elapsed: Duration,
    jitter: Option<Duration>,
    tell: impl Fn(Probed),
) {
    let delay = probe.initial_delay.saturating_sub(elapsed) + jitter.unwrap_or_default();
    let mut ticks = interval_at(Instant::now() + delay, probe.period);
    // An attempt that took longer than a period is followed by the next at once, as in the
    // kubelet; the others that fell into it are left out.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut threshold = Threshold::new(kind, probe.success_threshold, probe.failure_threshold);
    loop {
        ticks.tick().await;
        let outcome = attempt(handlers, target, probe).await;
        let decided = threshold.count(&outcome);
        if decided.is_some() || outcome != Outcome::Success {
            tell(Probed { outcome, decided });
        }
        let over = match kind {
            ProbeKind::Startup => decided.is_some(),
            ProbeKind::Liveness => decided == Some(false),
            ProbeKind::Readiness => false,
        };
        if over {
            return;
        }
    }
}

async fn attempt<H: Handlers>(handlers: &H, target: &Target, probe: &Probe) -> Outcome {
    let mut tries = 1;
    loop {
        let outcome = handlers.probe(target, &probe.handler, probe.timeout).await;
        if tries == MAX_TRIES || !matches!(outcome, Outcome::Errored(_)) {
            return outcome;
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests;
