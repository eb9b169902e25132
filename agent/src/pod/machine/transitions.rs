//! Which of a pod's conditions hold, and since when.

use mote_protocol::status::{ContainerRole, Phase, PodCondition};

use super::{Machine, Sandbox, Slot};
use crate::pod::Moment;

/// The five conditions that a node owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transitions {
    truth: u8,
    since: [Moment; 5],
}

impl Transitions {
    pub(super) const fn new(accepted: Moment) -> Self {
        Self { truth: 0, since: [accepted; 5] }
    }

    /// Whether a condition holds, and since when it does or does not.
    pub fn get(&self, condition: PodCondition) -> (bool, Moment) {
        let place = condition as usize;
        (self.truth >> place & 1 == 1, self.since.get(place).copied().unwrap_or_default())
    }

    fn set(&mut self, condition: PodCondition, truth: bool, now: Moment) {
        let bit = 1 << condition as u8;
        if (self.truth & bit != 0) != truth {
            self.truth ^= bit;
            if let Some(since) = self.since.get_mut(condition as usize) {
                *since = now;
            }
        }
    }
}

impl Machine {
    pub(super) fn update_transitions(&mut self, now: Moment) {
        let over = self.told.is_terminal();
        let begun = |slot: &Slot| slot.role == ContainerRole::App && slot.attempts > 0;
        let initialized =
            self.initialized || self.told == Phase::Succeeded || self.slots.iter().any(begun);
        let counts = |slot: &&Slot| slot.role != ContainerRole::Init;
        // A pod that is not said to run yet cannot be said to serve.
        let runs = self.told == Phase::Running;
        let ready = runs && self.slots.iter().filter(counts).all(Slot::is_ready);
        let gated = !self.pod.readiness_gates.is_empty();
        let waits = self.waits_for_node();
        let transitions = &mut self.transitions;
        let (_, before) = transitions.get(PodCondition::PodScheduled);
        let since = if waits || before > self.accepted { now } else { self.accepted };
        transitions.set(PodCondition::PodScheduled, !waits, since);
        let sandbox = self.sandbox == Sandbox::Ready && !over;
        transitions.set(PodCondition::PodReadyToStartContainers, sandbox, now);
        transitions.set(PodCondition::Initialized, initialized, now);
        transitions.set(PodCondition::ContainersReady, ready, now);
        transitions.set(PodCondition::Ready, ready && !gated, now);
    }
}
