//! A pod that the node does not let run for now: what runs of it ends as with the whole pod, its
//! sandbox goes, its volumes stay, and nothing of it begins.
//!
//! It is no stage of its life: the pod is as active as one whose machine is switched off, and goes on
//! in a new sandbox when it is let go.

use mote_protocol::extension::Extensions;
use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::ContainerRole;

use super::ending::seconds;
use super::{Machine, Note, Renewal, Run, Sandbox, Stage};
use crate::pod::Moment;

/// What a scheduler says of a pod that waits for a node that is cordoned, as it words that: there is
/// one node for it.
pub const UNSCHEDULABLE_MESSAGE: &str = "0/1 nodes are available: 1 node(s) were unschedulable.";

/// Why a pod that runs once, and ran when its node was drained, never runs again.
const DRAINED: &str =
    "The node was drained or rebooted, and a pod with restartPolicy Never runs once";

/// The extension of the record on flash that names containers that the node ended.
const ENDED: &str = "ended-by-node";

/// Those names, as an earlier agent kept them.
pub(super) fn ended(kept: &Extensions) -> Vec<String> {
    kept.read(ENDED).unwrap_or_default()
}

impl Machine {
    /// The node lets nothing of it run.
    pub const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Nothing of it runs, and nothing will until the node lets it.
    pub fn waits_for_node(&self) -> bool {
        self.stage == Stage::Active && self.is_held() && self.rests()
    }

    /// Nothing of it runs.
    pub(crate) fn rests(&self) -> bool {
        !self.is_live() && self.sandbox == Sandbox::Absent
    }

    /// The node lets it run no more. One that runs once has had its run: another would be a second.
    pub(super) fn hold(&mut self, grace_s: Option<u32>, now: Moment) {
        if self.stage != Stage::Active {
            return;
        }
        let grace = seconds(grace_s.unwrap_or(self.pod.grace_s));
        if self.has_had_its_run() {
            return self.evict_for_node(DRAINED.to_owned(), grace, now);
        }
        let deadline = now.after(grace);
        self.held = Some(self.held.map_or(deadline, |held| held.min(deadline)));
    }

    /// It runs once, and that is now: who ends it ends it for good.
    pub fn has_had_its_run(&self) -> bool {
        self.pod.restart_policy == RestartPolicy::Never && (self.begun || self.begins)
    }

    /// The node lets it run.
    pub(super) fn let_go(&mut self, now: Moment) {
        if self.held.take().is_some() && !self.begun && self.is_unused() {
            // As with a pod that finds its node late: its time begins now.
            self.accepted = now;
            self.touch();
        }
    }

    fn is_unused(&self) -> bool {
        self.slots.iter().all(|slot| slot.attempts == 0 && !slot.is_live())
    }

    /// Its deadline does not count yet: it has not found its node.
    pub(super) fn is_to_begin(&self) -> bool {
        self.is_held() && !self.begun && self.is_unused()
    }

    /// Ends what runs of a pod that is held; each of them runs again, whatever its policy makes of how it
    /// ends.
    pub(super) fn end_held(&mut self, deadline: Moment, now: Moment, notes: &mut Vec<Note>) {
        let mut changed = false;
        for slot in &mut self.slots {
            if slot.is_running() && slot.role != ContainerRole::Init {
                changed |= slot.renew.replace(Renewal::Node) != Some(Renewal::Node);
            }
        }
        if changed {
            self.touch();
        }
        self.end_all(deadline, now, notes);
    }

    /// What another agent must know while the sandbox stands: who ended is not done.
    pub(super) fn keep_ends(&self, extensions: &mut Extensions) {
        let names = self.pod.containers.iter().map(|container| &container.name).zip(&self.slots);
        let ended = names.filter(|(_, slot)| slot.renew == Some(Renewal::Node));
        let ended: Vec<_> = ended.map(|(name, _)| name).collect();
        extensions.write(ENDED, Some(&ended).filter(|ended| !ended.is_empty()));
    }

    /// Takes it as an earlier agent knew it, of those that have not begun anew since.
    pub(super) fn restore_ends(&mut self, names: &[String]) {
        for name in names {
            let slot = self.place(name).and_then(|place| self.slots.get_mut(place));
            if let Some(slot) = slot.filter(|slot| matches!(slot.run, Run::Ended(_))) {
                slot.renew = Some(Renewal::Node);
            }
        }
    }

    /// With the sandbox it is forgotten that they ended: another agent would take that for their own
    /// doing.
    pub(super) fn forget_ends(&mut self) {
        let mut changed = false;
        for slot in self.slots.iter_mut().filter(|slot| slot.renew == Some(Renewal::Node)) {
            if slot.forget_end() {
                (slot.renew, slot.hold) = (None, None);
                changed = true;
            }
        }
        if changed {
            self.touch();
        }
    }
}
