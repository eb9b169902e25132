//! How one attempt is ended: hook, turn, request, kill.

use super::{KILL_RETRY, LEAST_GRACE};
use crate::pod::Moment;

/// How a running attempt is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// How far that is.
    pub step: StopStep,
    /// When its grace is over. Its hook and the wait for its turn use it up, too.
    pub deadline: Moment,
    /// When it is killed, once it may be asked to end.
    pub kill_at: Moment,
    /// When it was killed last; a kill that did nothing is repeated.
    pub killed: Option<Moment>,
}

/// How far the end of a running attempt is, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopStep {
    /// Its preStop hook is to be run, or runs.
    PreStop,
    /// Those that it serves have not ended yet.
    Turn,
    /// It is to be asked to end.
    Ask,
    /// It was asked.
    Asked,
}

impl Stop {
    /// The end of an attempt begins.
    pub(super) fn new(hook: bool, deadline: Moment) -> Self {
        let step = if hook { StopStep::PreStop } else { StopStep::Turn };
        Self { step, deadline, kill_at: deadline, killed: None }
    }

    /// Goes on as far as it can. When grace is over nothing is waited for any more, but between
    /// asking and killing there is always [`LEAST_GRACE`].
    pub(super) fn advance(&mut self, turn: bool, now: Moment) {
        let over = self.deadline <= now;
        if self.step == StopStep::PreStop && over {
            self.step = StopStep::Turn;
        }
        if self.step == StopStep::Turn && (turn || over) {
            self.step = StopStep::Ask;
            self.kill_at = self.deadline.max(now.after(LEAST_GRACE));
        }
    }

    /// Its preStop hook returned.
    pub(super) fn hooked(&mut self) {
        self.step = self.step.max(StopStep::Turn);
    }

    /// The runtime asked it to end.
    pub(super) fn asked(&mut self) {
        self.step = StopStep::Asked;
    }

    /// Its grace ends then, if not sooner.
    pub(super) fn shorten(&mut self, deadline: Moment, now: Moment) {
        self.deadline = self.deadline.min(deadline);
        self.kill_at = self.kill_at.min(self.deadline.max(now.after(LEAST_GRACE)));
    }

    /// When it must be looked at again.
    pub(super) fn due(&self) -> Moment {
        match (self.step, self.killed) {
            (StopStep::PreStop | StopStep::Turn, _) => self.deadline,
            (_, None) => self.kill_at,
            (_, Some(killed)) => killed.after(KILL_RETRY),
        }
    }
}
