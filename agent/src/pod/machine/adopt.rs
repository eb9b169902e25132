//! How a pod comes back: from what was asked, what is on flash, and what the kernel still runs.

use std::rc::Rc;

use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::ContainerRole;

use super::facts::crash_hold;
use super::held;
use super::{
    Ended, Machine, Record, Run, Running, Sandbox, Slot, SlotRecord, Stage, Transitions, Verdict,
};
use crate::image::ImageId;
use crate::pod::backoff::CrashBackoff;
use crate::pod::process::Tag;
use crate::pod::{Boot, Container, Moment, Pod};
use crate::runtime::{ObservedContainer, ObservedPod, ObservedSandbox, ObservedState};

/// Restarts after which a pause does not grow any more.
const MOST_DOUBLED: usize = 6;

/// What is known of a pod that an earlier agent looked after.
#[derive(Debug, Default)]
pub struct Remains<'a> {
    /// Its record on flash.
    pub record: Option<Record>,
    /// What exists of it now.
    pub observed: Option<&'a ObservedPod>,
    /// The boot of now.
    pub boot: Boot,
    /// The node lets nothing of it run.
    pub held: bool,
}

impl Machine {
    /// A pod that was accepted before this agent started.
    pub fn adopt(pod: Rc<Pod>, accepted: Moment, remains: Remains<'_>, now: Moment) -> Self {
        let mut machine = Self::new(pod, accepted);
        let this_boot = remains.record.as_ref().is_some_and(|r| r.boot.id == remains.boot.id);
        let stands = remains.observed.is_some_and(|pod| pod.sandbox == ObservedSandbox::Ready);
        let mut ended = Vec::new();
        if let Some(record) = remains.record {
            ended = held::ended(&record.extensions);
            // Its containers have these mounted, whatever their names mean by now. In another sandbox
            // names are looked up again.
            if stands {
                machine.restore_volume_images(&record.volume_images);
            }
            machine.restore_stale(&record.extensions, stands);
            machine.restore(record, &remains.boot, now);
        }
        machine.sandbox = match remains.observed.map(|pod| pod.sandbox) {
            None | Some(ObservedSandbox::Stopped) => Sandbox::Absent,
            Some(ObservedSandbox::Ready) => Sandbox::Ready,
            Some(ObservedSandbox::Died) => Sandbox::Lost,
        };
        if machine.sandbox == Sandbox::Ready {
            let addresses = remains.observed.map(|pod| pod.addresses.clone());
            machine.addresses = addresses.unwrap_or_default().into();
            machine.contents_adopted();
            machine.wrote();
        }
        let attempts = |machine: &Self| machine.slots.iter().map(|slot| slot.attempts).sum::<u32>();
        let recorded = attempts(&machine);
        for container in remains.observed.into_iter().flat_map(|pod| &pod.containers) {
            machine.recognize(container, now);
        }
        if attempts(&machine) != recorded {
            // An agent ended before flash heard of them.
            machine.touch();
        }
        machine.miss(remains.observed, now);
        machine.recall(remains.observed, this_boot);
        machine.restore_ends(&ended);
        if remains.held {
            machine.hold(None, now);
        }
        if machine.begun && !machine.may_begin() {
            machine.touch();
        }
        // What held when the last of it happened has held since then.
        machine.advance_init();
        machine.update_transitions(machine.last_change());
        machine.settle(now, &mut Vec::new());
        // It is written, or shown that it cannot be, before anything is told.
        machine.unsure = machine.peak > machine.told;
        machine
    }

    fn restore(&mut self, record: Record, boot: &Boot, now: Moment) {
        let (written, boot) = (record.boot, *boot);
        let moment = move |ms: i64| written.moment_in(&boot, Moment(ms), now);
        self.accepted = written.moment_in(&boot, Moment(record.accepted_ms), now);
        self.transitions = Transitions::new(self.accepted);
        self.begun = record.begun;
        self.begun_saved = record.begun;
        self.peak = record.peak;
        self.told = record.peak;
        if let Some((phase, cause)) = record.verdict {
            let cause = cause.map(|(reason, message)| (reason.into(), message.into()));
            self.verdict = Some(Verdict { phase, cause });
            self.stage = Stage::Finished;
        } else if let Some(why) = record.evicted {
            self.evict_again(why, now);
        }
        for kept in record.slots {
            if let Some(slot) = self.place(&kept.name).and_then(|place| self.slots.get_mut(place)) {
                restore_slot(slot, kept, moment);
            }
        }
    }

    /// Takes in an attempt that exists. They come oldest first, so the newest has the last word.
    fn recognize(&mut self, container: &ObservedContainer, now: Moment) {
        let Some(place) = self.place(&container.id.name) else { return };
        let accepted = self.accepted;
        let pod = Rc::clone(&self.pod);
        let checks = pod.containers.get(place).and_then(|container| container.checks.as_ref());
        let Some(slot) = self.slots.get_mut(place) else { return };
        if container.id.attempt < slot.newest() {
            return;
        }
        let tag = Tag::parse(&container.tag);
        let run = match &container.state {
            // Starting the same attempt again finishes what was begun, also where flash did not
            // hear of it: an earlier number was used before.
            ObservedState::Created => {
                slot.attempts = slot.attempts.max(container.id.attempt);
                return;
            }
            ObservedState::Running { since, .. } => Run::Running(Running::adopted(
                tag.clone(),
                Moment::from(*since),
                checks.map(AsRef::as_ref),
            )),
            ObservedState::Exited { since, exit } => {
                Run::Ended(Ended::seen(since.map(Moment::from), exit.clone()))
            }
            ObservedState::Unknown => Run::Ended(Ended::unseen(accepted.min(now), now)),
        };
        let again = container.id.attempt == slot.newest() && slot.attempts > 0;
        if !again {
            // Flash did not hear of these attempts: their pauses are counted all the same.
            let since = begun(&run).unwrap_or(now);
            let ended = slot.ended().map_or(since, |before| before.finished);
            for _ in (slot.newest()..container.id.attempt).take(MOST_DOUBLED) {
                slot.crash.restarted(ended, since);
            }
        }
        if let (Run::Ended(before), false) = (&slot.run, again) {
            slot.last = Some(before.clone());
        }
        if let Some(tag) = tag {
            slot.runs(tag.image);
        }
        slot.attempts = container.id.attempt.saturating_add(1);
        slot.run = run;
    }

    /// Whether containers may have been started. Flash is told before the first one is; where the
    /// machine was not booted since, it is known whether it was.
    fn recall(&mut self, observed: Option<&ObservedPod>, this_boot: bool) {
        let Some(observed) = observed else { return };
        // A sandbox that stands is where they will be.
        if observed.begun || self.sandbox == Sandbox::Ready {
            self.begun = true;
        } else if self.begun && this_boot && self.stage == Stage::Active {
            // An agent ended between the two: flash must hear of the next beginning again.
            (self.begun, self.begun_saved) = (false, false);
            self.touch();
        }
    }

    /// Concludes from what is not there.
    fn miss(&mut self, observed: Option<&ObservedPod>, now: Moment) {
        // Flash also knows of attempts in sandboxes that are no more: only what is in this one tells
        // whether its init containers are done.
        let there = |container: &Container, hardly: bool| {
            let mut there = observed.into_iter().flat_map(|pod| &pod.containers);
            there.any(|there| {
                there.id.name == container.name && (hardly || there.state != ObservedState::Created)
            })
        };
        // That an init container was made is no sign that it ran; that an app container was made is
        // one that they all did.
        let seen = |container: &Container| there(container, container.role == ContainerRole::App);
        let app = |container: &Container| container.role == ContainerRole::App;
        let app_seen = self.pod.containers.iter().any(|c| app(c) && seen(c));
        let (sandbox, accepted, policy) = (self.sandbox, self.accepted, self.pod.restart_policy);
        let describe = self.pod.name.describe();
        for (container, slot) in self.pod.containers.iter().zip(&mut self.slots) {
            if slot.attempts > 0 && slot.run == Run::Idle {
                slot.run = Run::Ended(Ended::unseen(accepted.min(now), now));
            }
            if sandbox == Sandbox::Ready {
                // A crash that an earlier agent saw, or missed, waits as long as if this one had.
                if let (true, Run::Ended(ended)) = (slot.wants_start(policy), &slot.run) {
                    slot.hold = crash_hold(&slot.crash, ended.finished, &container.name, &describe);
                }
                let over =
                    policy == RestartPolicy::Never && !slot.ended().is_some_and(Ended::succeeded);
                if self.stage == Stage::Active && !app_seen && !seen(container) && !over {
                    slot.forget_init();
                }
                continue;
            }
            slot.crash = CrashBackoff::default();
            if self.stage == Stage::Active {
                slot.forget_init();
            }
        }
        self.initialized = sandbox == Sandbox::Ready && app_seen;
    }

    fn last_change(&self) -> Moment {
        let of = |slot: &Slot| match &slot.run {
            Run::Running(running) => running.since,
            Run::Ended(ended) => ended.finished,
            Run::Idle | Run::Starting { .. } => self.accepted,
        };
        self.slots.iter().map(of).max().unwrap_or(self.accepted)
    }
}

/// When an attempt was started, where that is known.
const fn begun(run: &Run) -> Option<Moment> {
    match run {
        Run::Running(running) => Some(running.since),
        Run::Ended(ended) => Some(ended.started),
        Run::Idle | Run::Starting { .. } => None,
    }
}

fn restore_slot(slot: &mut Slot, kept: SlotRecord, moment: impl Fn(i64) -> Moment) {
    slot.attempts = kept.attempts;
    slot.ran_image = kept.image.map(ImageId::from_bytes);
    slot.rollback = kept.rollback.map(ImageId::from_bytes);
    slot.last = kept.last.map(|ended| ended.restore(&moment));
    slot.crash = kept.crash.map(|crash| crash.restore(&moment)).unwrap_or_default();
    if let Some(ended) = kept.ended {
        slot.run = Run::Ended(ended.restore(&moment));
    }
}
