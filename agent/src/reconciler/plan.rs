//! Decides what must be done so that the node runs what it was told to run.
//!
//! [`pod`] reads from one pod's machine what should be done for it now; [`heal`] compares a
//! machine with what the kernel shows and tells what was missed. Neither acts or remembers: called
//! twice on the same input they give the same answer, and on a settled node nothing at all. What
//! runs and belongs to nobody is the steward's to name: it knows what was lost to damage.

use mote_registry::PullSecrets;

use crate::image::{ImageId, ImageRequest, PullPolicy};
use crate::pod::handler::ProbeKind;
use crate::pod::machine::{
    Event, Hook, KILL_RETRY, Machine, PostStart, Sandbox, Slot, Stage, StopStep,
};
use crate::pod::process::Tag;
use crate::pod::{Container, Moment};
use crate::runtime::{ContainerId, ObservedContainer, ObservedPod, ObservedSandbox, ObservedState};

/// Something to be done for a pod. Containers are named by their place in the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make an image present.
    Pull {
        /// For which container.
        place: usize,
        /// Which image.
        request: ImageRequest,
    },
    /// Set up the sandbox.
    CreateSandbox,
    /// Start the next attempt of a container.
    Start {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// From which image.
        image: ImageId,
    },
    /// Run a hook of an attempt.
    RunHook {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// Which of its hooks.
        hook: Hook,
    },
    /// Ask an attempt to end.
    Ask {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
        /// Its image, which may name the signal.
        image: Option<ImageId>,
    },
    /// Kill an attempt.
    Kill {
        /// Of which container.
        place: usize,
        /// Which attempt.
        attempt: u32,
    },
    /// Make the files of its volumes anew.
    RefreshVolumes {
        /// The change that they are to show.
        mark: u32,
    },
    /// Measure what it keeps on disk.
    MeasureStorage,
    /// Remove sandbox and containers of the pod from the kernel; their logs stay.
    StopSandbox {
        /// Nothing of it will run again: its volumes go as well.
        for_good: bool,
    },
    /// Remove everything of the pod from the kernel.
    RemoveSandbox,
}

/// What is being done for a pod at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Sandbox and starts: one at a time, in order.
    Pod,
    /// Signals to one container.
    Signal(usize),
    /// A hook of one container. Cut short when nobody waits for it any more.
    Hook(usize),
    /// The image of one container. Cut short when it is no longer wanted.
    Image(usize),
    /// What it keeps on disk. Cut short when nobody wants to know any more.
    Storage,
    /// Files of volumes. Cut short before they are written, when they change once more.
    Volumes,
}

impl Action {
    /// The lane it needs for itself.
    pub const fn lane(&self) -> Lane {
        match self {
            Self::CreateSandbox
            | Self::StopSandbox { .. }
            | Self::RemoveSandbox
            | Self::Start { .. } => Lane::Pod,
            Self::RefreshVolumes { .. } => Lane::Volumes,
            Self::MeasureStorage => Lane::Storage,
            Self::Ask { place, .. } | Self::Kill { place, .. } => Lane::Signal(*place),
            Self::RunHook { place, .. } => Lane::Hook(*place),
            Self::Pull { place, .. } => Lane::Image(*place),
        }
    }
}

impl Lane {
    /// What is done there may be cut short, and says nothing of what exists in the kernel.
    pub const fn can_be_cut(self) -> bool {
        matches!(self, Self::Hook(_) | Self::Image(_) | Self::Volumes | Self::Storage)
    }
}

/// What should be done for a pod now. Of several actions for one lane the first counts.
pub fn pod(machine: &Machine, now: Moment) -> Vec<Action> {
    let over = machine.stage() == Stage::Finished && machine.phase().is_terminal();
    let last = match (machine.stage(), machine.sandbox()) {
        (Stage::Gone, _) => return Vec::new(),
        (Stage::Removing { .. }, _) if !machine.is_live() => Some(Action::RemoveSandbox),
        // Whoever lost its sandbox has lost its parent: nobody would see it end.
        (Stage::Removing { .. }, Sandbox::Lost) => Some(Action::RemoveSandbox),
        // Only what lies in it tells of attempts that flash has not heard of.
        (_, Sandbox::Lost) if !machine.is_recorded() => return Vec::new(),
        (_, Sandbox::Lost) => Some(Action::StopSandbox { for_good: over }),
        // How it ended is on flash: nothing that the kernel keeps of it is needed any more.
        // As well where there was none, or power took it.
        (_, Sandbox::Absent) if over => {
            machine.has_volumes().then_some(Action::StopSandbox { for_good: true })
        }
        (_, Sandbox::Ready) if over => {
            (!machine.is_live()).then_some(Action::StopSandbox { for_good: true })
        }
        // What it keeps in volumes is there when it goes on.
        (Stage::Active, Sandbox::Ready) if machine.is_held() && !machine.is_live() => {
            Some(Action::StopSandbox { for_good: false })
        }
        _ => None,
    };
    if let Some(last) = last {
        return machine.sandbox_due(now).then_some(last).into_iter().collect();
    }
    let mut actions = Vec::new();
    for (place, slot) in machine.slots().iter().enumerate() {
        actions.extend(hook(place, slot));
        actions.extend(stop(place, slot, now));
    }
    for place in machine.next_starts() {
        actions.extend(start(machine, place, now));
    }
    for place in machine.outdated() {
        actions.extend(pull(machine, place, now));
    }
    if machine.stage() == Stage::Active && !machine.is_held() {
        actions.extend(volume_pulls(machine, now));
    }
    actions.extend(machine.outdated_volumes(now).map(|mark| Action::RefreshVolumes { mark }));
    actions.extend(machine.to_measure(now).map(|_| Action::MeasureStorage));
    actions
}

fn stop(place: usize, slot: &Slot, now: Moment) -> Option<Action> {
    let running = slot.running()?;
    let (stop, attempt) = (running.stop?, slot.newest());
    if stop.step < StopStep::Ask {
        return None;
    }
    if stop.kill_at <= now {
        let again = stop.killed.is_none_or(|killed| killed.after(KILL_RETRY) <= now);
        return again.then_some(Action::Kill { place, attempt });
    }
    let image = running.made_of.as_ref().map(|tag| tag.image);
    (stop.step == StopStep::Ask).then_some(Action::Ask { place, attempt, image })
}

fn hook(place: usize, slot: &Slot) -> Option<Action> {
    let running = slot.running()?;
    let hook = match (&running.stop, &running.post_start) {
        (None, PostStart::Due) => Hook::PostStart,
        (Some(stop), _) if stop.step == StopStep::PreStop => Hook::PreStop,
        _ => return None,
    };
    Some(Action::RunHook { place, attempt: slot.newest(), hook })
}

/// Probes that should be made of a pod's containers: the container, the attempt, the probe.
///
/// Until its startup probe has succeeded a container has no other. What ends is not asked any more
/// whether it lives, but readiness is told until it has ended.
pub fn probes(machine: &Machine) -> Vec<(usize, u32, ProbeKind)> {
    let mut probes = Vec::new();
    for (place, container, slot) in machine.containers() {
        let (Some(checks), Some(running)) = (&container.checks, slot.running()) else { continue };
        if !slot.is_up() {
            continue;
        }
        let wanted = |kind: &ProbeKind| match kind {
            ProbeKind::Startup => !running.started && running.stop.is_none(),
            ProbeKind::Liveness => running.started && running.stop.is_none(),
            ProbeKind::Readiness => running.started,
        };
        let asked = ProbeKind::ALL.into_iter().filter(|kind| checks.probe(*kind).is_some());
        probes.extend(asked.filter(wanted).map(|kind| (place, slot.newest(), kind)));
    }
    probes
}

fn start(machine: &Machine, place: usize, now: Moment) -> Option<Action> {
    let slot = machine.slots().get(place)?;
    if slot.hold.as_ref().is_some_and(|hold| hold.until > now) {
        return None;
    }
    let Some(image) = slot.image else { return pull(machine, place, now) };
    match machine.sandbox() {
        Sandbox::Absent => {
            let volumes = machine.volume_images().all(|(_, image)| image.image.is_some());
            let may = machine.sandbox_due(now) && !machine.waits_for_contents() && volumes;
            may.then_some(Action::CreateSandbox)
        }
        Sandbox::Ready if machine.may_begin() => {
            Some(Action::Start { place, attempt: slot.attempts, image })
        }
        Sandbox::Ready | Sandbox::Lost => None,
    }
}

/// Images of volumes that are not known yet; also for a sandbox that an earlier agent made, whose
/// containers use them already: those need not be the newest.
fn volume_pulls(machine: &Machine, now: Moment) -> impl Iterator<Item = Action> {
    let made = machine.sandbox() == Sandbox::Ready;
    let unknown = machine.volume_images().filter(|(_, volume)| volume.image.is_none());
    let due = unknown.filter(move |(_, volume)| volume.until.is_none_or(|until| until <= now));
    due.map(move |(place, volume)| {
        let policy = match volume.policy {
            PullPolicy::Always if made => PullPolicy::IfNotPresent,
            policy => policy,
        };
        let (reference, secrets) = (volume.reference.clone(), PullSecrets::default());
        Action::Pull { place, request: ImageRequest { reference, policy, secrets, waits: false } }
    })
}

fn pull(machine: &Machine, place: usize, now: Moment) -> Option<Action> {
    let slot = machine.slots().get(place)?;
    let held = slot.hold.as_ref().is_some_and(|hold| hold.until > now);
    if held || slot.image.is_some() {
        return None;
    }
    let Container { image, pull_policy, .. } = machine.pod().containers.get(place)?;
    // What opens the registry is found when it is asked.
    let (policy, secrets) = (*pull_policy, PullSecrets::default());
    let request = ImageRequest { reference: image.clone(), policy, secrets, waits: false };
    Some(Action::Pull { place, request })
}

/// What a machine missed of the pod that the kernel shows.
pub fn heal(machine: &Machine, observed: Option<&ObservedPod>) -> Vec<Event> {
    let mut events = Vec::new();
    let ready = observed.is_some_and(|pod| pod.sandbox == ObservedSandbox::Ready);
    if machine.sandbox() == Sandbox::Ready && !ready {
        events.push(Event::SandboxDied);
        return events;
    }
    let Some(observed) = observed else { return events };
    for (place, container, slot) in machine.containers() {
        let newest = observed.containers.iter().filter(|seen| seen.id.name == container.name);
        let newest = newest.max_by_key(|seen| seen.id.attempt);
        events.extend(heal_slot(place, slot, newest));
    }
    events
}

fn heal_slot(place: usize, slot: &Slot, seen: Option<&ObservedContainer>) -> Option<Event> {
    let attempt = slot.newest();
    if slot.is_running() {
        let same = seen.filter(|seen| seen.id.attempt == attempt);
        return match same.map(|seen| &seen.state) {
            Some(ObservedState::Running { .. }) => None,
            Some(ObservedState::Exited { exit, .. }) => {
                Some(Event::Exited { place, attempt, exit: exit.clone() })
            }
            Some(ObservedState::Created | ObservedState::Unknown) | None => {
                Some(Event::Vanished { place, attempt })
            }
        };
    }
    let seen = seen?;
    match &seen.state {
        ObservedState::Running { since, .. } if !slot.is_live() => Some(Event::Found {
            place,
            attempt: seen.id.attempt,
            since: Moment::from(*since),
            made_of: Tag::parse(&seen.tag),
        }),
        _ => None,
    }
}

/// The id of an attempt.
pub fn container_id(machine: &Machine, place: usize, attempt: u32) -> Option<ContainerId> {
    let container = machine.pod().containers.get(place)?;
    Some(ContainerId { pod: machine.pod().name.uid, name: container.name.clone(), attempt })
}

#[cfg(test)]
mod tests;
