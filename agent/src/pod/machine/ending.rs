//! How pods end: when they are over, who is asked to end when, and what is left to say.

use std::time::Duration;

use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::{ContainerRole, Phase};

use super::{
    EndReason, Ended, Machine, Note, Renewal, Run, Running, Sandbox, Slot, Stage, Stop, Verdict,
};
use crate::pod::Moment;
use crate::pod::storage::reason_of;

/// `status.reason` and `status.message` of a pod that ran into its deadline.
const DEADLINE: (&str, &str) =
    ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");

pub(super) fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

impl Machine {
    /// Begins to remove the pod, or shortens the grace of one that is being removed.
    pub(super) fn remove(&mut self, grace_s: u32, now: Moment) {
        let mut deadline = now.after(seconds(grace_s));
        let mut grace_s = grace_s;
        match self.stage {
            Stage::Gone => return,
            Stage::Removing { grace_s: before_s, deadline: before } => {
                deadline = deadline.min(before);
                grace_s = grace_s.min(before_s);
            }
            Stage::Stopping { deadline: before } => deadline = deadline.min(before),
            Stage::Active | Stage::Finished => {}
        }
        self.stage = Stage::Removing { grace_s, deadline };
        self.shorten_stops(deadline, now);
    }

    /// What is being ended has no longer than this.
    pub(super) fn shorten_stops(&mut self, deadline: Moment, now: Moment) {
        for stop in self.slots.iter_mut().filter_map(Slot::stop_mut) {
            stop.shorten(deadline, now);
        }
    }

    /// Ends a pod that is over, and says how it ended once nothing of it runs.
    pub(super) fn conclude(&mut self, now: Moment, notes: &mut Vec<Note>) {
        if self.stage == Stage::Active {
            let limit = self.pod.active_deadline.map(|limit| self.accepted.after(limit));
            let limit = limit.filter(|_| !self.is_to_begin());
            let over = self.is_over();
            self.exceeded = limit.is_some_and(|limit| {
                // One that was over in time has not run into its deadline, however late it is seen;
                // one that an earlier agent ended has.
                limit <= now && (!over || self.last_seen_end().is_some_and(|end| limit <= end))
            });
            if self.exceeded {
                notes.push(Note::normal(None, DEADLINE.0, DEADLINE.1.to_owned()));
            }
            if over || self.exceeded {
                self.stage = Stage::Stopping { deadline: now.after(seconds(self.pod.grace_s)) };
            }
        }
        if matches!(self.stage, Stage::Stopping { .. }) && !self.is_live() {
            self.finish(now);
        }
    }

    /// Whether no app container runs or will run again.
    fn is_over(&self) -> bool {
        let never = self.pod.restart_policy == RestartPolicy::Never;
        // A pod that runs once is not put into a second sandbox.
        if never && self.begun && self.sandbox != Sandbox::Ready {
            return true;
        }
        let failed = |slot: &Slot| {
            slot.role == ContainerRole::Init && slot.ended().is_some_and(|end| !end.succeeded())
        };
        if never && self.slots.iter().any(failed) {
            return true;
        }
        let policy = self.pod.restart_policy;
        let done = |slot: &Slot| slot.ended().is_some() && !slot.wants_start(policy);
        self.slots.iter().filter(|slot| slot.role == ContainerRole::App).all(done)
    }

    /// When the last of its app containers ended, as far as that was seen.
    fn last_seen_end(&self) -> Option<Moment> {
        let apps = self.slots.iter().filter(|slot| slot.role == ContainerRole::App);
        let seen = apps.filter_map(Slot::ended).filter(|end| end.reason != EndReason::Unknown);
        seen.map(|end| end.finished).max()
    }

    fn finish(&mut self, now: Moment) {
        let begun = self.begun;
        for slot in &mut self.slots {
            slot.hold = None;
            let lost = matches!(slot.run, Run::Idle) && begun && slot.role == ContainerRole::App;
            if lost && self.initialized {
                slot.run = Run::Ended(Ended::unseen(self.accepted, now));
            }
        }
        let success = |slot: &Slot| slot.ended().is_some_and(|ended| ended.code == 0);
        let mut apps = self.slots.iter().filter(|slot| slot.role == ContainerRole::App);
        let deadline = || (DEADLINE.0.into(), DEADLINE.1.into());
        let evicted = self.storage.evicted.clone();
        let evicted = evicted.map(|text| (reason_of(&text).into(), text.into()));
        let cause = evicted.or_else(|| self.exceeded.then(deadline));
        let well = cause.is_none() && apps.all(success);
        let phase = if well { Phase::Succeeded } else { Phase::Failed };
        self.verdict = Some(Verdict { phase, cause });
        self.stage = Stage::Finished;
        self.touch();
    }

    /// Asks those to end that must, in their order.
    pub(super) fn end_running(&mut self, now: Moment, notes: &mut Vec<Note>) {
        match self.stage {
            Stage::Active => match self.held {
                Some(deadline) => self.end_held(deadline, now, notes),
                None => self.end_outdated(now, notes),
            },
            Stage::Stopping { deadline } | Stage::Removing { deadline, .. } => {
                self.end_all(deadline, now, notes);
            }
            Stage::Finished | Stage::Gone => self.end_all(now, now, notes),
        }
    }

    pub(super) fn end_all(&mut self, deadline: Moment, now: Moment, notes: &mut Vec<Note>) {
        for place in 0..self.slots.len() {
            let message = format!("Stopping container {}", self.container_name(place));
            self.end(place, deadline, now, message, notes);
            // One that was being ended for another reason may have been given longer.
            if let Some(stop) = self.slots.get_mut(place).and_then(Slot::stop_mut) {
                stop.shorten(deadline, now);
            }
        }
    }

    /// Lets those go on that are being ended. App and init containers are asked at once; when the
    /// whole pod ends, a sidecar once those it serves are down: all app containers, and the
    /// sidecars that started after it.
    pub(super) fn advance_stops(&mut self, now: Moment) {
        let ends = self.stage != Stage::Active || self.is_held();
        let app_live = |slot: &Slot| slot.role == ContainerRole::App && slot.is_live();
        let mut served = ends && self.slots.iter().any(app_live);
        for slot in self.slots.iter_mut().rev() {
            let sidecar = slot.role == ContainerRole::Sidecar;
            if let Some(stop) = slot.stop_mut() {
                stop.advance(!(sidecar && served), now);
            }
            served |= ends && sidecar && slot.is_live();
        }
    }

    /// Ends containers of an old image once every new image is here.
    fn end_outdated(&mut self, now: Moment, notes: &mut Vec<Note>) {
        let outdated: Vec<usize> = self.outdated().collect();
        let here = |place: &usize| self.slots.get(*place).is_some_and(|slot| slot.image.is_some());
        if !outdated.iter().all(here) {
            return;
        }
        for place in outdated {
            let deadline = now.after(seconds(self.pod.grace_s));
            let name = self.container_name(place);
            let message = format!("Container {name} definition changed, will be restarted");
            self.end(place, deadline, now, message, notes);
            if let Some(slot) = self.slots.get_mut(place) {
                slot.renew = Some(Renewal::Image);
            }
        }
    }

    /// Begins to end an attempt that runs, unless that has begun already.
    pub(super) fn end(
        &mut self,
        place: usize,
        deadline: Moment,
        now: Moment,
        message: String,
        notes: &mut Vec<Note>,
    ) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        let checks = self.pod.containers.get(place).and_then(|c| c.checks.as_ref());
        if let Run::Running(Running { stop: stop @ None, .. }) = &mut slot.run {
            let hook = checks.is_some_and(|checks| checks.pre_stop.is_some());
            // A container without any grace has no time for a hook.
            *stop = Some(Stop::new(hook && deadline > now, deadline));
            notes.push(Note::normal(place, "Killing", message));
        }
    }

    pub(super) fn container_name(&self, place: usize) -> &str {
        self.pod.containers.get(place).map_or("", |container| container.name.as_str())
    }
}
