//! Has the machine rebooted where an operator says so: pods end first, critical ones last.
//!
//! ```text
//!   command --> Regular --> Critical --> LastWords --> Asked ... the machine goes down
//!                 each when the pods before have ended, or had their time
//! ```
//! Nothing of that is written: a machine that comes back runs its pods. A command is for one boot and one
//! session, so that one that the broker says again afterwards is none.

use std::time::Duration;

use mote_protocol::command::{Answer, RebootRequest, Reply};
use mote_protocol::text::printable;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::commands::{refused, reply};
use super::cordon::has_ended;
use super::{Steward, World};
use crate::events::Report as EventReport;
use crate::pod::{Moment, Pod};
use crate::reconciler::Report;

/// What is left of pods that were killed is waited for so long.
const CLEANUP: Duration = Duration::from_secs(10);

/// How long the broker and the card may take for what is said and written last.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A machine that is still there after this does not go down.
const DOWN: Duration = Duration::from_mins(5);

/// Somebody asks for the machine to be rebooted, and wants to know whether that could be asked for.
pub type PowerOrder = oneshot::Sender<Result<(), String>>;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Pods end that are not critical.
    Regular,
    /// The others do.
    Critical,
    /// What happened is told and written.
    LastWords,
    /// The machine is to go down.
    Asked,
}

/// A reboot that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reboot {
    step: Step,
    /// When that is over, whatever it came to.
    until: Moment,
    /// Flash has what happened.
    written: bool,
}

impl Reboot {
    /// When it must be looked at again.
    pub(super) const fn deadline(&self) -> Moment {
        self.until
    }

    /// Whether a pod is to end.
    pub(super) fn ends(&self, pod: &Pod) -> bool {
        !pod.is_critical() || self.step >= Step::Critical
    }
}

impl<W: World> Steward<W> {
    /// Reboots the machine, where its configuration lets operators do that.
    pub(super) fn reboot(&mut self, asked: &RebootRequest) -> Vec<Reply> {
        let node = self.identity.node.clone();
        if !self.identity.shutdown.reboot {
            let message = format!(
                "node {node} does not allow this: it takes `reboot = true` in section [shutdown] of \
                 its configuration"
            );
            return refused("Forbidden", &message);
        }
        if !self.books.looked {
            return refused("NotReady", "the node does not know yet what runs: try again");
        }
        if self.books.reboot.is_some() {
            return refused("Busy", "the node is on its way down already");
        }
        let message = format!("Node {node} is rebooted, says {}", printable(&asked.by));
        self.record(EventReport::node_normal("Rebooting", message));
        self.enter(Step::Regular);
        vec![reply(0, true, Answer::Rebooting)]
    }

    fn enter(&mut self, step: Step) {
        let shutdown = &self.identity.shutdown;
        let time = match step {
            Step::Regular => shutdown.regular + CLEANUP,
            Step::Critical => shutdown.critical + CLEANUP,
            Step::LastWords => LAST_WORDS,
            Step::Asked => DOWN,
        };
        let grace = if step == Step::Regular { shutdown.regular } else { shutdown.critical };
        let until = self.now().after(time);
        tracing::info!(?step, "the machine is to be rebooted");
        self.books.reboot = Some(Reboot { step, until, written: false });
        match step {
            Step::Regular | Step::Critical => self.hold_all(grace),
            Step::LastWords => self.say_last_words(),
            Step::Asked => self.ask_for_reboot(until),
        }
    }

    /// Holds what is to end. Each has as long as it asks for, but no longer than its group.
    fn hold_all(&mut self, most: Duration) {
        let most = u32::try_from(most.as_secs()).unwrap_or(u32::MAX);
        self.hold_or_let_go_all(|pod| Some(pod.grace_s.min(most)));
    }

    fn say_last_words(&mut self) {
        let (answer, written) = oneshot::channel();
        self.keep_events_at_last(answer);
        let reports = self.books.reports.clone();
        spawn_local(async move {
            // Where it is dropped there is nothing more to write.
            let _ = written.await;
            let _ = reports.send(Report::LastWordsKept);
        });
    }

    fn ask_for_reboot(&self, until: Moment) {
        let (answer, asked) = oneshot::channel();
        let _ = self.channels.power.send(answer);
        let reports = self.books.reports.clone();
        spawn_local(async move {
            let result = asked.await.unwrap_or_else(|_| Err("nobody can".to_owned()));
            if let Err(why) = result {
                let _ = reports.send(Report::NotRebooted { until, why });
            }
        });
    }

    /// Flash has what happened, or does not take it.
    pub(super) fn last_words_kept(&mut self) {
        if let Some(reboot) = &mut self.books.reboot {
            reboot.written = true;
        }
    }

    /// Goes on where a step is over.
    pub(super) fn look_at_reboot(&mut self, now: Moment) {
        let Some(reboot) = self.books.reboot else { return };
        let Reboot { step, until, written } = reboot;
        let over = until <= now;
        match step {
            Step::Regular if over || self.have_ended(reboot) => {
                self.enter(Step::Critical);
                // Where nothing is critical, nothing else would say that it is over.
                self.look_at_reboot(now);
            }
            Step::Critical if over || self.have_ended(reboot) => self.enter(Step::LastWords),
            Step::LastWords if over || written && self.books.outbox.is_empty() => {
                self.enter(Step::Asked);
            }
            Step::Asked if over => self.not_rebooted("the machine does not go down"),
            _ => {}
        }
    }

    /// It could not be asked for a reboot that was to be over by a moment. That may be one that was given up since.
    pub(super) fn reboot_refused(&mut self, until: Moment, why: &str) {
        if self.books.reboot.is_some_and(|reboot| reboot.until == until) {
            self.not_rebooted(why);
        }
    }

    /// It goes on as though nothing had been asked.
    fn not_rebooted(&mut self, why: &str) {
        if self.books.reboot.take().is_some() {
            self.node_event("RebootFailed", format!("reboot the machine: {why}"));
            self.hold_or_let_go_all(|_| None);
        }
    }

    /// All have that are to end by now.
    fn have_ended(&self, reboot: Reboot) -> bool {
        let mut machines = self.books.reconciler.machines();
        machines.all(|(_, machine)| !reboot.ends(machine.pod()) || has_ended(machine))
    }
}
