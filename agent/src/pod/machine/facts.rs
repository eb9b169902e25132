//! What each event changes, before conclusions are drawn from it.

use std::rc::Rc;

use super::slot::{CODE_START_ERROR, EndReason, Ended, Renewal, Run, Running};
use super::volumes::WAITS_FOR_CONTENTS;
use super::{Event, Hold, Machine, Note, SANDBOX_RETRY, Stage, StartFailure, Stop};
use crate::image::ImageError;
use crate::pod::backoff::{CrashBackoff, TroubleBackoff, written};
use crate::pod::process::Tag;
use crate::pod::{Moment, Pod};
use crate::runtime::{Exit, RuntimeError};

impl Machine {
    pub(super) fn take(&mut self, event: Event, now: Moment, notes: &mut Vec<Note>) {
        match event {
            Event::Update(pod) => self.update(pod, now),
            Event::Delete { grace_s } => self.remove(grace_s, now),
            Event::Hold { grace_s } => self.hold(grace_s, now),
            Event::LetGo => self.let_go(now),
            Event::Saved { mark } => self.saved(mark, notes),
            Event::SaveFailed => self.save_failed(now),
            Event::Tick => {}
            Event::SandboxBegun => self.sandbox_begun(),
            Event::SandboxReady { addresses } => self.sandbox_ready(addresses),
            Event::SandboxFailed(error) => self.sandbox_failed(&error, now, notes),
            Event::VolumesFailed(failure) => self.volumes_failed(failure, now, notes),
            Event::ContentsChanged => self.contents_changed(now),
            Event::Evict { why, grace } => self.evict_for_node(why, grace, now),
            Event::Measured(kept) => self.measured(&kept, now, notes),
            Event::DevicesGiven { place, devices } => self.devices_given(place, devices),
            Event::DevicesSeen(there) => {
                self.devices_seen(&there, notes);
                self.wake_waiting(now);
            }
            Event::DeviceFreed => self.wake_waiting(now),
            Event::PullSecretsChanged => self.pulls_again(now),
            Event::PullSecretsMissing(names) => notes.push(pull_secrets_missing(&names)),
            Event::VolumesRefreshed { mark, result } => {
                self.volumes_refreshed(mark, result, now, notes);
            }
            Event::SandboxDied => self.sandbox_died(notes),
            Event::SandboxStopped { for_good } => self.sandbox_stopped(for_good, now, notes),
            Event::SandboxRemoved => self.sandbox_removed(now, notes),
            Event::RemoveFailed(error) => self.remove_failed(&error, now, notes),
            Event::Pulling { place, reference } => notes.push(self.pulling(place, &reference)),
            Event::ImagesCame(names) => self.images_came(&names, now),
            Event::Pulled { place, reference, image, source } => {
                self.pulled(place, &reference, image, &source, notes);
            }
            Event::PullFailed { place, reference, error } => {
                self.pull_failed(place, &reference, &error, now, notes);
            }
            Event::Starting { place, made_of } => self.starting(place, made_of),
            Event::Started { place, attempt, since } => {
                self.started(place, attempt, since, now, notes);
            }
            Event::Found { place, attempt, since, made_of } => {
                self.found(place, attempt, since, made_of);
            }
            Event::StartFailed { place, attempt, failure } => {
                self.start_failed(place, attempt, failure, now, notes);
            }
            Event::Probed { place, attempt, kind, probed } => {
                self.probed(place, attempt, kind, probed, now, notes);
            }
            Event::Hooked { place, attempt, hook, result } => {
                self.hooked(place, attempt, hook, result, now, notes);
            }
            Event::Asked { place, attempt } => self.asked(place, attempt),
            Event::Killed { place, attempt } => self.killed(place, attempt, now),
            Event::Exited { place, attempt, exit } => {
                self.exited(place, attempt, exit, now, notes);
            }
            Event::Vanished { place, attempt } => self.vanished(place, attempt, now, notes),
        }
    }

    fn remove_failed(&mut self, error: &RuntimeError, now: Moment, notes: &mut Vec<Note>) {
        let message = format!("error killing pod: {}", chain(error));
        notes.push(Note::warning(None, "FailedKillPod", message));
        self.sandbox_retry = Some(now.after(SANDBOX_RETRY));
    }

    /// Places behind the containers' are those of the volumes' images.
    fn pulling(&self, place: usize, reference: &str) -> Note {
        let place = Some(place).filter(|place| *place < self.slots.len());
        Note::normal(place, "Pulling", format!("Pulling image \"{reference}\""))
    }

    fn update(&mut self, pod: Rc<Pod>, now: Moment) {
        if self.pod.meta != pod.meta {
            self.contents_changed(now);
        }
        let containers = self.pod.containers.iter().zip(&pod.containers);
        let mut told_stale = false;
        for ((before, after), slot) in containers.zip(&mut self.slots) {
            if before.image != after.image {
                // Another image is another container: it owes nothing to the failures of this, and
                // what was said of this image is not said of that one.
                slot.image = None;
                told_stale |= slot.stale.take().is_some();
                slot.hold = None;
                slot.crash = CrashBackoff::default();
                slot.trouble = TroubleBackoff::default();
            }
        }
        self.pod = pod;
        if told_stale {
            self.touch();
        }
    }

    fn starting(&mut self, place: usize, made_of: Tag) {
        self.start_looks();
        let Some(slot) = self.slots.get_mut(place) else { return };
        slot.runs(made_of.image);
        let before = slot.ended().cloned();
        slot.run = Run::Starting { made_of, before };
    }

    fn started(
        &mut self,
        place: usize,
        attempt: u32,
        since: Moment,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        let pod = Rc::clone(&self.pod);
        let Some(container) = pod.containers.get(place) else { return };
        let Some(slot) = self.slots.get_mut(place) else { return };
        let name = &container.name;
        notes.push(Note::normal(place, "Created", format!("Created container: {name}")));
        notes.push(Note::normal(place, "Started", format!("Started container {name}")));
        match &mut slot.run {
            Run::Starting { made_of, .. } if slot.attempts == attempt => {
                let made_of = Some(made_of.clone());
                self.attempt_begun(place, now);
                let running = Running::new(made_of, since, container.checks.as_deref());
                self.set_run(place, Run::Running(running));
            }
            // It ended before the runtime said that it had started.
            Run::Ended(ended) if slot.attempts == attempt + 1 => {
                ended.started = since.min(ended.finished);
            }
            _ => {}
        }
    }

    fn set_run(&mut self, place: usize, run: Run) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.run = run;
        }
    }

    /// Counts an attempt whose entrypoint was executed, or tried to be.
    fn attempt_begun(&mut self, place: usize, now: Moment) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        let older = match &slot.run {
            Run::Starting { before: Some(before), .. } => slot.last.replace(before.clone()),
            _ => None,
        };
        slot.attempts = slot.attempts.saturating_add(1);
        slot.image = None;
        slot.hold = None;
        slot.trouble.clear();
        let counted = match slot.renew.take() {
            None => slot.last.as_ref().filter(|_| slot.attempts > 1),
            Some(Renewal::Health) => older.as_ref(),
            Some(Renewal::Image | Renewal::Node) => None,
        };
        if let Some(before) = counted {
            slot.crash.restarted(before.finished, now);
        }
        self.touch();
    }

    fn found(&mut self, place: usize, attempt: u32, since: Moment, made_of: Option<Tag>) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        if slot.is_live() {
            return;
        }
        if let Some(tag) = &made_of {
            slot.runs(tag.image);
        }
        let checks = self.pod.containers.get(place).and_then(|c| c.checks.as_deref());
        let running = Run::Running(Running::adopted(made_of, since, checks));
        if let Run::Ended(ended) = std::mem::replace(&mut slot.run, running) {
            slot.last = Some(ended);
        }
        slot.attempts = slot.attempts.max(attempt.saturating_add(1));
        slot.hold = None;
        self.touch();
    }

    fn start_failed(
        &mut self,
        place: usize,
        attempt: u32,
        failure: StartFailure,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        let come = self.may_have_come();
        let Some(slot) = self.slots.get_mut(place) else { return };
        let Run::Starting { before, .. } = &slot.run else { return };
        if slot.attempts != attempt {
            return;
        }
        let before = before.clone();
        if let StartFailure::Runtime(RuntimeError::Start { cause, .. }) = failure {
            notes.push(Note::warning(place, "Failed", format!("Error: {cause}")));
            self.attempt_begun(place, now);
            let ended = Ended {
                code: CODE_START_ERROR,
                reason: EndReason::StartError,
                message: cause,
                started: now,
                finished: now,
            };
            self.ended(place, ended, notes);
            return;
        }
        if matches!(failure, StartFailure::Runtime(RuntimeError::OtherUsers { .. })) {
            slot.run = before.map_or(Run::Idle, Run::Ended);
            self.sandbox_died(notes);
            return;
        }
        let (reason, message) = match &failure {
            StartFailure::Image(error) => (error.reason(), error.message()),
            StartFailure::Config(error) => (WAITS_FOR_CONTENTS, error.to_string()),
            StartFailure::Storage(error) => (WAITS_FOR_CONTENTS, error.to_string()),
            StartFailure::Runtime(error) => ("CreateContainerError", chain(error)),
        };
        notes.push(Note::warning(place, "Failed", format!("Error: {message}")));
        let (until, _) = slot.trouble.failed(now);
        // What came while it was started is there for the next try.
        let until = if come && reason == WAITS_FOR_CONTENTS { now } else { until };
        slot.run = before.map_or(Run::Idle, Run::Ended);
        slot.hold = Some(Hold { reason, message, until });
        slot.image = None;
        if let StartFailure::Image(ImageError::NotPresent { id }) = failure {
            self.forget_volume_images(|image| image == id);
        }
    }

    fn asked(&mut self, place: usize, attempt: u32) {
        if let Some(stop) = self.stop_of(place, attempt) {
            stop.asked();
        }
    }

    fn killed(&mut self, place: usize, attempt: u32, now: Moment) {
        if let Some(stop) = self.stop_of(place, attempt) {
            stop.killed = Some(now);
        }
    }

    pub(super) fn stop_of(&mut self, place: usize, attempt: u32) -> Option<&mut Stop> {
        self.slots.get_mut(place).filter(|slot| slot.newest() == attempt)?.stop_mut()
    }

    fn exited(
        &mut self,
        place: usize,
        attempt: u32,
        exit: Exit,
        now: Moment,
        notes: &mut Vec<Note>,
    ) {
        let Some(slot) = self.slots.get_mut(place) else { return };
        let since = match &slot.run {
            Run::Running(running) if slot.newest() == attempt => Some(running.since),
            // It was so short that its end was told before its start.
            Run::Starting { .. } if slot.attempts == attempt => {
                self.attempt_begun(place, now);
                None
            }
            _ => return,
        };
        self.ended(place, Ended::seen(since, exit), notes);
    }

    fn vanished(&mut self, place: usize, attempt: u32, now: Moment, notes: &mut Vec<Note>) {
        let Some(slot) = self.slots.get(place).filter(|slot| slot.newest() == attempt) else {
            return;
        };
        if let Some(running) = slot.running() {
            self.ended(place, Ended::unseen(running.since, now), notes);
        }
    }

    /// An attempt has ended: whether and when the next one may start.
    pub(super) fn ended(&mut self, place: usize, ended: Ended, notes: &mut Vec<Note>) {
        self.wrote();
        let (policy, active) = (self.pod.restart_policy, self.stage == Stage::Active);
        let (name, pod) = (self.container_name(place).to_owned(), self.pod.name.describe());
        let Some(slot) = self.slots.get_mut(place) else { return };
        let finished = ended.finished;
        slot.run = Run::Ended(ended);
        if !active || !slot.wants_start(policy) {
            // The last word of a container that runs no more must survive a reboot.
            self.touch();
            return;
        }
        let counted = match slot.renew {
            None => Some(finished),
            // As the kubelet does: one that was ended for its health waits for the pause of the
            // attempt before it, which is over unless it fails again and again.
            Some(Renewal::Health) => slot.last.as_ref().map(|last| last.finished),
            Some(Renewal::Image | Renewal::Node) => None,
        };
        let held = counted.and_then(|end| crash_hold(&slot.crash, end, &name, &pod));
        slot.hold = held.filter(|hold| hold.until > finished);
        if slot.hold.is_some() {
            let note = format!("Back-off restarting failed container {name} in pod {pod}");
            notes.push(Note::warning(place, "BackOff", note));
        }
    }
}

/// What a container that ended waits for before it may start again.
pub(super) fn crash_hold(
    crash: &CrashBackoff,
    finished: Moment,
    container: &str,
    pod: &str,
) -> Option<Hold> {
    let (until, pause) = crash.hold(finished)?;
    let pause = written(pause);
    let message = format!("back-off {pause} restarting failed container={container} pod={pod}");
    Some(Hold { reason: "CrashLoopBackOff", message, until })
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn pull_secrets_missing(names: &[String]) -> Note {
    let message = format!(
        "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not \
         succeed.",
        names.join(", ")
    );
    Note::warning(None, "FailedToRetrieveImagePullSecret", message)
}
