//! What must hold after every step, whatever happens.
//!
//! The judge sees what goes in and out of the node, never what it thinks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mote_agent::runtime::{BootTime, ContainerId};
use mote_protocol::name::Uid;
use mote_protocol::object::Revision;
use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::{Phase, PodStatus};
use tokio::time::Instant;

use crate::marker::Marker;

/// Between the decision to start a container and the call of the runtime, at most.
const UNDER_WAY: Duration = Duration::from_millis(32);

/// An object that operators published.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) key: String,
    pub(crate) revision: Revision,
    /// The life it asks for, and the image; none for a tombstone.
    pub(crate) life: Option<(u64, String)>,
    /// No node may accept it.
    pub(crate) invalid: bool,
}

/// The pauses between restarts, by the book.
#[derive(Clone, Copy, Debug, Default)]
struct Pauses {
    pause: Option<(Duration, BootTime)>,
    ended: Option<BootTime>,
    /// A probe failed: it may be ended for that, and its next attempt counts from another end.
    unwell: bool,
}

impl Pauses {
    fn fresh(&self, ended: BootTime) -> bool {
        self.pause.is_none_or(|(_, at)| ended.0.saturating_sub(at.0) > Duration::from_mins(10))
    }

    /// The earliest moment of the next start.
    fn earliest(&self) -> BootTime {
        match (self.ended.filter(|_| !self.unwell), self.pause) {
            (Some(ended), Some((pause, _))) if !self.fresh(ended) => BootTime(ended.0 + pause),
            _ => BootTime::default(),
        }
    }

    fn restarted(&mut self, now: BootTime) {
        if let Some(ended) = self.ended.take() {
            let next = match self.pause {
                Some((pause, _)) if !self.fresh(ended) => (pause * 2).min(Duration::from_mins(5)),
                _ => Duration::from_secs(10),
            };
            self.pause = (!std::mem::take(&mut self.unwell)).then_some((next, now));
        }
    }
}

#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) said: Vec<Said>,
    /// The greatest valid object of each name that the node was given, or acknowledged.
    delivered: BTreeMap<String, usize>,
    heard: BTreeSet<usize>,
    pub(crate) acknowledged: BTreeMap<String, usize>,
    /// When that was, for each name.
    since: BTreeMap<String, Instant>,
    lives: BTreeMap<Uid, (String, u64)>,
    ran: BTreeSet<(Uid, String)>,
    phases: BTreeMap<Uid, Phase>,
    pauses: BTreeMap<(Uid, String), Pauses>,
    /// The card refused to write at least once.
    pub(crate) card_failed: bool,
    violation: Option<String>,
}

impl Judge {
    pub(crate) fn violation(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    pub(crate) fn verdict(&self) -> Option<&String> {
        self.violation.as_ref()
    }

    fn greater(&self, of: &BTreeMap<String, usize>, said: usize) -> bool {
        let (Some(new), Some(key)) = (self.said.get(said), self.said.get(said).map(|s| &s.key))
        else {
            return false;
        };
        let before = of.get(key).and_then(|before| self.said.get(*before));
        !new.invalid && before.is_none_or(|before| before.revision < new.revision)
    }

    pub(crate) fn delivered(&mut self, said: usize) {
        self.heard.insert(said);
        if self.greater(&self.delivered, said) {
            self.delivered.insert(self.said[said].key.clone(), said);
        }
    }

    pub(crate) fn acknowledged(&mut self, said: usize) {
        if self.greater(&self.acknowledged, said) {
            let key = self.said[said].key.clone();
            self.since.insert(key.clone(), Instant::now());
            self.acknowledged.insert(key, said);
        }
    }

    /// Whether the node heard that a name should go after this was said. It may have written that
    /// down and died before it could say so.
    pub(crate) fn heard_of_its_end(&self, word: &Said) -> bool {
        let heard = self.heard.iter().filter_map(|said| self.said.get(*said));
        let end = |said: &Said| said.life.is_none() && !said.invalid;
        heard.filter(|said| said.key == word.key && end(said)).any(|s| s.revision > word.revision)
    }

    /// Whether images of this life were changed: its containers may run again then.
    fn updated(&self, marker: &Marker) -> bool {
        let of = |said: &&Said| said.key == marker.key;
        let lives = self.said.iter().filter(of).filter_map(|said| said.life.as_ref());
        lives.filter(|(life, _)| *life == marker.life).count() > 1
    }

    pub(crate) fn start(&mut self, id: &ContainerId, marker: &Marker, now: BootTime) {
        self.lives.insert(id.pod, (marker.key.clone(), marker.life));
        let newest = self.acknowledged.get(&marker.key).and_then(|said| self.said.get(*said));
        // A start that was under way when the object arrived is brought to its end.
        let since = self.since.get(&marker.key).map_or(Duration::ZERO, Instant::elapsed);
        if let Some(newest) = newest
            && since > UNDER_WAY
            && newest.revision.number > marker.life
            && newest.life.as_ref().is_none_or(|(life, _)| *life != marker.life)
        {
            let text = format!("{id} of {marker:?} starts after {newest:?} was acknowledged");
            self.violation(text);
        }
        if self.phases.get(&id.pod).is_some_and(|phase| phase.is_terminal()) {
            self.violation(format!("{id} starts although its pod is said to be over"));
        }
        let name = (id.pod, id.name.clone());
        let once = marker.policy == RestartPolicy::Never && !self.updated(marker);
        if once && self.ran.contains(&name) {
            self.violation(format!("{id} of a pod that runs once starts again"));
        }
        let earliest = self.pauses.get(&name).map(Pauses::earliest).unwrap_or_default();
        if now < earliest && !self.updated(marker) {
            self.violation(format!("{id} starts at {now:?}, before {earliest:?}"));
        }
    }

    pub(crate) fn started(&mut self, id: &ContainerId, now: BootTime) {
        let name = (id.pod, id.name.clone());
        self.ran.insert(name.clone());
        self.pauses.entry(name).or_default().restarted(now);
    }

    /// Its entrypoint could not be executed: an attempt, but nothing ran.
    pub(crate) fn start_failed(&mut self, id: &ContainerId) {
        self.pauses.remove(&(id.pod, id.name.clone()));
    }

    pub(crate) fn exited(&mut self, id: &ContainerId, at: BootTime) {
        self.pauses.entry((id.pod, id.name.clone())).or_default().ended = Some(at);
    }

    /// A probe of it failed.
    pub(crate) fn unwell(&mut self, id: &ContainerId) {
        self.pauses.entry((id.pod, id.name.clone())).or_default().unwell = true;
    }

    pub(crate) fn sandbox_lost(&mut self, uid: Uid) {
        self.pauses.retain(|(of, _), _| *of != uid);
        // What was told and could not be written down is not known when nothing else shows it.
        if self.card_failed && self.phases.get(&uid).is_some_and(|phase| !phase.is_terminal()) {
            self.phases.remove(&uid);
        }
    }

    /// What an agent did not write down in time, the next does not know.
    pub(crate) fn agent_died(&mut self) {
        self.pauses.clear();
        // Nor does it know what was told and could not be written down.
        if self.card_failed {
            self.phases.retain(|_, phase| phase.is_terminal());
        }
    }

    pub(crate) fn remove(&mut self, uid: Uid, sandbox_alive: bool) {
        let Some((key, life)) = self.lives.get(&uid) else { return };
        let newest = self.delivered.get(key).and_then(|said| self.said.get(*said));
        let wanted = newest
            .is_some_and(|newest| newest.life.as_ref().is_some_and(|(wanted, _)| wanted == life));
        if wanted && sandbox_alive {
            self.violation(format!("{uid} of {key}/{life} is removed although it is wanted"));
        }
    }

    pub(crate) fn status(&mut self, status: &PodStatus, running: bool) {
        let Some(uid) = status.uid else { return };
        if status.phase.is_terminal() && running {
            self.violation(format!("{uid} is said to be {:?} and runs", status.phase));
        }
        let before = self.phases.insert(uid, status.phase).unwrap_or_default();
        if before > status.phase {
            self.violation(format!("phase of {uid} goes from {before:?} to {:?}", status.phase));
        }
    }
}
