//! How far a pod is on the way to what was asked of it last.

use mote_protocol::status::{ContainerRole, Phase};

use super::{Machine, PostStart, Run, Sandbox, Slot, Stage, VolumeImage};
use crate::pod::Container;
use crate::pod::room::PREEMPTED;

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An image is on its way.
    Fetching,
    /// Not all of its containers are what was asked, and ready.
    NotReady,
    /// They are; those that have done their work and need not run again count as well. Readiness
    /// gates do not: nobody could open them here.
    Ready,
    /// It is over.
    Over(Phase),
    /// It gave way to others of the node.
    Taken,
}

impl Machine {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        if let Some(verdict) = self.verdict() {
            let cause = verdict.cause.as_ref();
            let taken = cause.is_some_and(|(_, why)| **why == *PREEMPTED);
            return if taken { Progress::Taken } else { Progress::Over(verdict.phase) };
        }
        // What ran in a sandbox that died is gone, whether its end was seen already or not.
        if self.stage != Stage::Active || self.sandbox == Sandbox::Lost {
            return Progress::NotReady;
        }
        let mut wanted = self.outdated().chain(self.next_starts());
        // Once asking for one failed twice in a row without any progress, nobody knows whether it ever
        // will be here.
        let volume = |image: &VolumeImage| image.image.is_none() && !image.trouble.failed_again();
        if wanted.any(|place| self.slots.get(place).is_some_and(is_fetched))
            || self.volume_images.iter().any(volume)
        {
            return Progress::Fetching;
        }
        let well = |(_, container, slot)| self.is_well(container, slot);
        let ready = self.initialized && self.containers().all(well);
        if ready { Progress::Ready } else { Progress::NotReady }
    }

    /// Whether a container is what was asked and can serve, or has done what it is for.
    fn is_well(&self, container: &Container, slot: &Slot) -> bool {
        if slot.role == ContainerRole::Init {
            return self.initialized || slot.is_ready();
        }
        let rests = !slot.wants_start(self.pod.restart_policy);
        let done = rests && slot.ended().is_some_and(|end| end.code == 0);
        done || slot.is_ready() && is_of(container, slot)
    }

    /// What keeps it from being ready, for a person.
    pub fn complaint(&self) -> String {
        let unready = || self.containers().filter(|(_, of, slot)| !self.is_well(of, slot));
        // What waits with a reason says more than who is not heard of yet.
        let told = unready().find(|(_, _, slot)| slot.hold.is_some());
        let Some((_, container, slot)) = told.or_else(|| unready().next()) else {
            return "its containers were not ready for long enough".to_owned();
        };
        format!("container {}: {}", container.name, complaint(slot))
    }
}

/// Whether its image is on its way, as it is of a volume. One that is held back for its crashes asks for
/// none: what has trouble is asked for.
fn is_fetched(slot: &Slot) -> bool {
    let trouble = !slot.trouble.is_clear() && !slot.trouble.failed_again();
    let asked = slot.hold.is_none() || trouble;
    slot.image.is_none() && asked && !matches!(slot.run, Run::Starting { .. })
}

/// Whether what runs is what is asked for, and is not being ended.
fn is_of(container: &Container, slot: &Slot) -> bool {
    slot.running().is_none_or(|running| {
        let same = running.made_of.as_ref().is_none_or(|tag| tag.reference == container.image);
        same && running.stop.is_none()
    })
}

fn complaint(slot: &Slot) -> String {
    match (&slot.run, &slot.hold) {
        (_, Some(hold)) if hold.message.is_empty() => hold.reason.to_owned(),
        (_, Some(hold)) => format!("{}: {}", hold.reason, hold.message),
        (Run::Idle, None) => "was not started".to_owned(),
        (Run::Starting { .. }, None) => "is being started".to_owned(),
        (Run::Running(running), None) if running.post_start == PostStart::Due => {
            "its postStart hook runs".to_owned()
        }
        (Run::Running(running), None) if !running.started => {
            "its startup probe did not succeed".to_owned()
        }
        (Run::Running(running), None) if !running.ready => {
            "its readiness probe does not succeed".to_owned()
        }
        (Run::Running(_), None) => "is being restarted".to_owned(),
        (Run::Ended(end), None) => format!("{}, exit code {}", end.reason_word(), end.code),
    }
}
