//! The conditions of a node: which hold, since when, and why. PURE.
//!
//! A pressure begins with the first reading below its threshold and ends when no reading was below
//! it for five minutes, as with the kubelet: a node at the threshold must not flap, since every
//! change is a message over what may be a cellular link.

use std::time::Duration;

use mote_protocol::node::{NodeCondition, NodeConditionStatus};
use mote_protocol::text::{Short, Text};

use super::readings::{Amount, Reading};
use crate::pod::Moment;

/// How long a pressure lasts after the last reading below its threshold
/// (`evictionPressureTransitionPeriod` of the kubelet).
const TRANSITION: Duration = Duration::from_mins(5);

/// Memory below which a machine is short of it: the kubelet's `memory.available<100Mi`.
const MEMORY_KIB: u64 = 100 * 1024;

/// Conditions that Kubernetes expects of every node, true or not. The others are told while they
/// are true.
const ALWAYS: [NodeCondition; 4] = [
    NodeCondition::Ready,
    NodeCondition::MemoryPressure,
    NodeCondition::DiskPressure,
    NodeCondition::PIDPressure,
];

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    truth: bool,
    since: Moment,
    reason: String,
    message: String,
    /// For pressures: the last reading below the threshold.
    breached: Option<Moment>,
}

/// A condition that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub condition: NodeCondition,
    /// What it is now.
    pub truth: bool,
    /// Why, for a person; may be empty.
    pub message: String,
}

/// All conditions of this node.
#[derive(Clone, Debug)]
pub struct Conditions {
    states: [State; NodeCondition::ALL.len()],
}

impl Conditions {
    /// At the start: ready, and nothing else is known to hold.
    pub fn new(now: Moment) -> Self {
        let mut states = <[State; NodeCondition::ALL.len()]>::default();
        for state in &mut states {
            state.since = now;
        }
        states[NodeCondition::Ready as usize].truth = true;
        Self { states }
    }

    /// Whether a condition holds.
    pub fn is_true(&self, condition: NodeCondition) -> bool {
        self.states[condition as usize].truth
    }

    /// One bit for each condition that holds, in the order of `NodeCondition::ALL`.
    pub fn bits(&self) -> u32 {
        let bit = |(place, state): (usize, &State)| u32::from(state.truth) << place;
        self.states.iter().enumerate().map(bit).sum()
    }

    /// Says what somebody knows of a condition.
    pub fn set(
        &mut self,
        condition: NodeCondition,
        truth: bool,
        reason: &str,
        message: &str,
        now: Moment,
    ) -> Option<Change> {
        let state = &mut self.states[condition as usize];
        let changed = state.truth != truth;
        if changed {
            (state.truth, state.since) = (truth, now);
        }
        if changed || state.reason != reason {
            (state.reason, state.message) = (reason.to_owned(), message.to_owned());
        }
        changed.then(|| Change { condition, truth, message: message.to_owned() })
    }

    /// Takes a reading.
    pub fn observe(&mut self, reading: &Reading, now: Moment) -> Vec<Change> {
        let memory = reading.memory_kib.and_then(short_memory);
        let disk = reading.disk_kib.and_then(short_disk);
        let inodes = reading.inodes.and_then(short_inodes);
        let pids = reading.pids.and_then(|pids| below(pids, 10, "process ids"));
        let mut changes = Vec::new();
        changes.extend(self.pressure(NodeCondition::MemoryPressure, memory, now));
        changes.extend(self.pressure(NodeCondition::DiskPressure, disk.or(inodes), now));
        changes.extend(self.pressure(NodeCondition::PIDPressure, pids, now));
        changes
    }

    /// `breach` says what is short, if anything is.
    fn pressure(
        &mut self,
        condition: NodeCondition,
        breach: Option<String>,
        now: Moment,
    ) -> Option<Change> {
        let state = &mut self.states[condition as usize];
        if let Some(message) = breach {
            state.breached = Some(now);
            // The first message stays: numbers that change are not worth a message each.
            return if state.truth { None } else { self.set(condition, true, "", &message, now) };
        }
        let lasts = state.breached.is_some_and(|at| now.since(at) < TRANSITION);
        if lasts { None } else { self.set(condition, false, "", "", now) }
    }

    /// As the wire tells them.
    pub fn to_wire(&self) -> impl Iterator<Item = NodeConditionStatus> + '_ {
        let told = NodeCondition::ALL.into_iter().zip(&self.states);
        told.filter(|(condition, state)| state.truth || ALWAYS.contains(condition)).map(
            |(condition, state)| NodeConditionStatus {
                condition,
                truth: state.truth,
                since: state.since.seconds(),
                reason: Short::new(&state.reason),
                message: Text::new(&state.message),
            },
        )
    }
}

/// KiB of memory that must be available. On machines below 1 GiB the kubelet's threshold would be a
/// constant alarm: there it is a tenth of what they have.
pub(super) fn memory_threshold(total_kib: u64) -> u64 {
    MEMORY_KIB.min(total_kib / 10)
}

fn short_memory(memory: Amount) -> Option<String> {
    let threshold = memory_threshold(memory.total);
    let Amount { free, total } = memory;
    (free < threshold)
        .then(|| format!("{free} KiB of {total} KiB of memory available, less than {threshold}"))
}

/// What is short of a disk with so many KiB: the kubelet's `nodefs.available<10%`.
pub(crate) fn short_disk(kib: Amount) -> Option<String> {
    below(kib, 10, "KiB of disk")
}

/// What is short of a file system with so many inodes: the kubelet's `nodefs.inodesFree<5%`.
pub(crate) fn short_inodes(inodes: Amount) -> Option<String> {
    below(inodes, 5, "inodes")
}

/// What is short where less than `percent` of it is free.
fn below(amount: Amount, percent: u64, what: &str) -> Option<String> {
    let Amount { free, total } = amount;
    let threshold = total / 100 * percent;
    (free < threshold).then(|| format!("{free} of {total} {what} free, less than {threshold}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1024;

    fn reading(free_mib: u64, total_mib: u64) -> Reading {
        let memory_kib = Some(Amount { free: free_mib * MIB, total: total_mib * MIB });
        Reading { memory_kib, ..Reading::default() }
    }

    fn at(minutes: i64) -> Moment {
        Moment(minutes * 60_000)
    }

    #[test]
    fn a_pressure_begins_at_once_and_ends_after_five_quiet_minutes() {
        let mut conditions = Conditions::new(at(0));
        let change = conditions.observe(&reading(99, 4096), at(1));
        assert_eq!(change.len(), 1);
        assert_eq!(
            change[0].message,
            "101376 KiB of 4194304 KiB of memory available, less than 102400"
        );
        assert!(conditions.observe(&reading(500, 4096), at(3)).is_empty());
        assert!(conditions.observe(&reading(90, 4096), at(4)).is_empty());
        assert!(conditions.observe(&reading(500, 4096), at(8)).is_empty());
        let change = conditions.observe(&reading(500, 4096), at(9));
        assert_eq!(change.len(), 1);
        assert!(!change[0].truth && !conditions.is_true(NodeCondition::MemoryPressure));
    }

    #[test]
    fn thresholds_suit_small_machines_too() {
        for (free, total, short) in
            [(99, 4096, true), (101, 4096, false), (60, 512, false), (50, 512, true)]
        {
            let mut conditions = Conditions::new(at(0));
            conditions.observe(&reading(free, total), at(0));
            let found = conditions.is_true(NodeCondition::MemoryPressure);
            assert_eq!(found, short, "{free} of {total} MiB");
        }
    }

    #[test]
    fn disk_inodes_and_process_ids_have_thresholds_of_their_own() {
        let amount = |free| Some(Amount { free, total: 1000 });
        let fine = Reading::default();
        let table = [
            (Reading { disk_kib: amount(99), ..fine }, NodeCondition::DiskPressure),
            (Reading { inodes: amount(49), ..fine }, NodeCondition::DiskPressure),
            (Reading { pids: amount(99), ..fine }, NodeCondition::PIDPressure),
        ];
        for (reading, condition) in table {
            let mut conditions = Conditions::new(at(0));
            let changes = conditions.observe(&reading, at(0));
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert!(conditions.is_true(condition));
        }
        let enough =
            Reading { disk_kib: amount(100), inodes: amount(50), pids: amount(100), ..fine };
        assert!(Conditions::new(at(0)).observe(&enough, at(0)).is_empty());
    }

    #[test]
    fn kubernetes_four_are_always_told_and_the_others_while_true() {
        let mut conditions = Conditions::new(at(0));
        assert_eq!(conditions.to_wire().count(), 4);
        assert_eq!(conditions.bits(), 1);
        conditions.set(NodeCondition::IdentityConflict, true, "", "who?", at(2));
        let told: Vec<_> = conditions.to_wire().collect();
        assert_eq!(told.len(), 5);
        assert_eq!((told[4].since, &*told[4].message), (120, "who?"));
        assert_eq!(conditions.bits(), 1 | 1 << 11);
    }

    proptest! {
        #[test]
        fn a_condition_never_flaps_faster_than_its_transition(
            free in proptest::collection::vec(0u64..200, 1..60),
        ) {
            let mut conditions = Conditions::new(at(0));
            let mut ended = None;
            for (minute, free) in (0i64..).zip(free) {
                for change in conditions.observe(&reading(free, 4096), at(minute)) {
                    if !change.truth {
                        prop_assert!(ended.is_none_or(|before| minute - before >= 5));
                        ended = Some(minute);
                    }
                }
            }
        }
    }
}
