//! The conditions of a node: which hold, since when, and why. PURE.
//!
//! A pressure begins with the first reading below its threshold and ends when no reading was below
//! it for five minutes (`transition_s`), as with the kubelet: a node at the threshold must not flap, since every
//! change is a message over what may be a cellular link.

use std::time::Duration;

use mote_protocol::node::{NodeCondition, NodeConditionStatus};
use mote_protocol::text::{Short, Text};

use super::readings::Amount;
use crate::eviction::{Breach, Found, Level, Pressure, Resource, Settings, Signal};
use crate::pod::Moment;

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
    /// For those that last: when it was seen last.
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
    /// How long a pressure lasts after the last look at which it was seen.
    transition: Duration,
}

impl Conditions {
    /// At the start: ready, and nothing else is known to hold.
    pub fn new(transition: Duration, now: Moment) -> Self {
        let mut states = <[State; NodeCondition::ALL.len()]>::default();
        for state in &mut states {
            state.since = now;
        }
        states[NodeCondition::Ready as usize].truth = true;
        Self { states, transition }
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

    /// Takes in what a look came to.
    pub fn observe(&mut self, found: &Found, now: Moment) -> Vec<Change> {
        let breaches = Pressure::ALL.into_iter().zip(&found.breaches);
        breaches
            .filter_map(|(pressure, breach)| {
                self.lasting(condition(pressure), breach.as_ref().map(describe), now)
            })
            .collect()
    }

    /// A condition that is seen now and then, and ends when it was not for a while; `breach` says why
    /// it holds, where it is seen.
    pub fn lasting(
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
        let lasts = state.breached.is_some_and(|at| now.since(at) < self.transition);
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

/// The condition that says so.
pub const fn condition(pressure: Pressure) -> NodeCondition {
    match pressure {
        Pressure::Memory => NodeCondition::MemoryPressure,
        Pressure::Disk => NodeCondition::DiskPressure,
        Pressure::Pid => NodeCondition::PIDPressure,
    }
}

/// What is short, for a person.
fn describe(breach: &Breach) -> String {
    let Breach { signal, level: Level { available, capacity }, line } = *breach;
    let kib = |bytes: u64| bytes / 1024;
    let what = match signal {
        Signal::MemoryAvailable => "memory available",
        Signal::AllocatableMemoryAvailable => "memory of pods available",
        Signal::NodefsAvailable => "disk free",
        Signal::NodefsInodesFree => "inodes free",
        Signal::PidAvailable => "process ids free",
    };
    match signal.resource() {
        Resource::Memory | Resource::EphemeralStorage => {
            let (left, all, line) = (kib(available), kib(capacity), kib(line));
            format!("{left} KiB of {all} KiB of {what}, less than {line}")
        }
        Resource::Inodes | Resource::Pids => {
            format!("{available} of {capacity} {what}, less than {line}")
        }
    }
}

/// What is short of a disk with so many KiB, where nobody set another threshold.
pub(crate) fn short_disk(kib: Amount) -> Option<String> {
    let bytes = |kib: u64| kib.saturating_mul(1024);
    let level = Level { available: bytes(kib.free), capacity: bytes(kib.total) };
    short(Signal::NodefsAvailable, level)
}

/// What is short of a file system with so many inodes, likewise.
pub(crate) fn short_inodes(inodes: Amount) -> Option<String> {
    short(Signal::NodefsInodesFree, Level { available: inodes.free, capacity: inodes.total })
}

fn short(signal: Signal, level: Level) -> Option<String> {
    let line = Settings::default().kept_free(signal, level.capacity);
    (level.available < line).then(|| describe(&Breach { signal, level, line }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::eviction::Watch;
    use crate::node::readings::Reading;

    const MIB: u64 = 1024;
    const TRANSITION: Duration = Duration::from_mins(5);

    /// Conditions, and what watches for them.
    struct Bench(Conditions, Watch);

    impl Bench {
        fn new() -> Self {
            let watch = Watch::new(&Settings::default().thresholds);
            Self(Conditions::new(TRANSITION, at(0)), watch)
        }

        fn observe(&mut self, reading: &Reading, now: Moment) -> Vec<Change> {
            let found = self.1.observe(&reading.levels(), now);
            self.0.observe(&found, now)
        }

        fn is_true(&self, condition: NodeCondition) -> bool {
            self.0.is_true(condition)
        }
    }

    fn reading(free_mib: u64, total_mib: u64) -> Reading {
        let memory_kib = Some(Amount { free: free_mib * MIB, total: total_mib * MIB });
        Reading { memory_kib, ..Reading::default() }
    }

    fn at(minutes: i64) -> Moment {
        Moment(minutes * 60_000)
    }

    #[test]
    fn a_pressure_begins_at_once_and_ends_after_five_quiet_minutes() {
        let mut conditions = Bench::new();
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
            let mut conditions = Bench::new();
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
            let mut conditions = Bench::new();
            let changes = conditions.observe(&reading, at(0));
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert!(conditions.is_true(condition));
        }
        let enough =
            Reading { disk_kib: amount(100), inodes: amount(50), pids: amount(100), ..fine };
        assert!(Bench::new().observe(&enough, at(0)).is_empty());
    }

    #[test]
    fn kubernetes_four_are_always_told_and_the_others_while_true() {
        let mut conditions = Conditions::new(TRANSITION, at(0));
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
            let mut conditions = Bench::new();
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
