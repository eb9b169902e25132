//! Which thresholds are met, since when, and which of them is acted on.
//!
//! A threshold is met by the first look at which too little is left, and stays so until the least
//! that is to be reclaimed is left beyond it. A soft one is acted on once it was met for as long as
//! its grace. Memory comes first, as with the kubelet.

use super::signal::{Level, Levels, Pressure, Resource, Signal};
use super::threshold::Threshold;
use crate::pod::Moment;

/// Below how much of a signal the node is looked at again soon: twice its threshold, and of memory, which can
/// go faster than anything else, four times, as far as that is no more than a quarter of it: small boards
/// would never rest.
fn near(signal: Signal, threshold: u64, capacity: u64) -> u64 {
    let twice = threshold.saturating_mul(2);
    match signal.resource() {
        Resource::Memory => threshold.saturating_mul(4).min(twice.max(capacity / 4)),
        Resource::EphemeralStorage | Resource::Inodes | Resource::Pids => {
            twice.min(threshold.max(capacity / 2))
        }
    }
}

/// A threshold that is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Of what.
    pub signal: Signal,
    /// What was left.
    pub level: Level,
    /// Less than this is too little.
    pub line: u64,
}

/// What pods are evicted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Which threshold is met.
    pub breach: Breach,
    /// It was a soft one: pods get some grace.
    pub soft: bool,
}

impl Shortage {
    /// What is short.
    pub const fn resource(&self) -> Resource {
        self.breach.signal.resource()
    }
}

/// What one look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Why each pressure was seen, in the order of [`Pressure::ALL`].
    pub breaches: [Option<Breach>; Pressure::ALL.len()],
    /// What is acted on.
    pub shortage: Option<Shortage>,
    /// Something is short, or may soon be.
    pub near: bool,
}

/// Watches thresholds.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Each with the moment since which it is met, where it is.
    thresholds: Vec<(Threshold, Option<Moment>)>,
}

impl Watch {
    /// Of these thresholds, none of which is met so far. Where several are acted on, the first of
    /// memory counts, else the first.
    pub fn new(thresholds: &[Threshold]) -> Self {
        Self { thresholds: thresholds.iter().map(|threshold| (*threshold, None)).collect() }
    }

    /// Takes in a look.
    pub fn observe(&mut self, levels: &Levels, now: Moment) -> Found {
        let mut found = Found::default();
        for (threshold, since) in &mut self.thresholds {
            let Some(level) = levels.get(threshold.signal) else {
                *since = None;
                continue;
            };
            let line = threshold.below.of(level.capacity);
            if line >= level.capacity {
                // Nothing would ever be enough, and every pod would go.
                *since = None;
                continue;
            }
            let reclaimed = line.saturating_add(threshold.reclaim.of(level.capacity));
            let reclaimed = if reclaimed < level.capacity { reclaimed } else { line };
            found.near |= level.available < near(threshold.signal, reclaimed, level.capacity);
            let below = if since.is_some() { reclaimed } else { line };
            if level.available >= below {
                *since = None;
                continue;
            }
            let began = *since.get_or_insert(now);
            let breach = Breach { signal: threshold.signal, level, line };
            found.breaches[threshold.signal.pressure() as usize].get_or_insert(breach);
            if now.since(began) >= threshold.grace.unwrap_or_default() {
                let shortage = Shortage { breach, soft: threshold.grace.is_some() };
                note(&mut found.shortage, shortage);
            }
        }
        found
    }
}

fn note(first: &mut Option<Shortage>, next: Shortage) {
    let memory = |shortage: &Shortage| shortage.resource() == Resource::Memory;
    if first.as_ref().is_none_or(|first| memory(&next) && !memory(first)) {
        *first = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::eviction::threshold::{Line, Quantity, Reclaim, Settings};

    const fn level(available: u64) -> Level {
        Level { available, capacity: 1000 }
    }

    fn memory(available: u64) -> Levels {
        Levels::default().with(Signal::MemoryAvailable, Some(level(available)))
    }

    fn at(seconds: i64) -> Moment {
        Moment(seconds * 1000)
    }

    fn line(signal: Signal, units: u64) -> Line {
        Line(signal, Quantity::Units(units))
    }

    #[test]
    fn what_is_more_than_there_is_asks_for_nothing() {
        let all = line(Signal::MemoryAvailable, 1000);
        let mut watch = Watch::new(&Settings::new(&[all], &[], &[]).thresholds);
        assert_eq!(watch.observe(&memory(0), at(0)), Found::default());
        // Nor does a threshold last that was met, where nothing could free so much.
        let reclaim = Reclaim(Signal::MemoryAvailable, Quantity::Units(900));
        let hard = line(Signal::MemoryAvailable, 100);
        let mut watch = Watch::new(&Settings::new(&[hard], &[], &[reclaim]).thresholds);
        assert!(watch.observe(&memory(99), at(0)).shortage.is_some());
        assert_eq!(watch.observe(&memory(100), at(10)).shortage, None);
    }

    #[test]
    fn small_boards_rest_as_well() {
        let hard = line(Signal::MemoryAvailable, 100);
        let mut watch = Watch::new(&Settings::new(&[hard], &[], &[]).thresholds);
        for (left, near) in [(250, false), (249, true), (99, true)] {
            assert_eq!(watch.observe(&memory(left), at(0)).near, near, "{left}");
        }
    }

    #[test]
    fn a_hard_threshold_counts_at_once_and_a_soft_one_after_its_grace() {
        let soft = (line(Signal::MemoryAvailable, 200), Duration::from_secs(90));
        let hard = line(Signal::MemoryAvailable, 100);
        let mut watch = Watch::new(&Settings::new(&[hard], &[soft], &[]).thresholds);
        // Seconds, what is left, whether a pressure is seen, and whether a soft shortage is acted on.
        let rows = [
            (0, 200, false, None),
            (10, 199, true, None),
            (90, 150, true, None),
            (100, 199, true, Some(true)),
            (110, 99, true, Some(false)),
            (120, 200, false, None),
            (130, 199, true, None),
        ];
        for (second, left, pressure, soft) in rows {
            let found = watch.observe(&memory(left), at(second));
            assert_eq!(found.breaches[Pressure::Memory as usize].is_some(), pressure, "{second}");
            assert_eq!(found.shortage.map(|shortage| shortage.soft), soft, "{second}");
        }
    }

    #[test]
    fn what_must_be_reclaimed_is_reclaimed_before_it_is_over() {
        let reclaim = Reclaim(Signal::MemoryAvailable, Quantity::Units(50));
        let hard = line(Signal::MemoryAvailable, 100);
        let mut watch = Watch::new(&Settings::new(&[hard], &[], &[reclaim]).thresholds);
        for (second, left, short) in
            [(0, 120, false), (1, 99, true), (2, 120, true), (3, 150, false), (4, 120, false)]
        {
            let found = watch.observe(&memory(left), at(second));
            assert_eq!(found.shortage.is_some(), short, "{second}");
        }
    }

    #[test]
    fn memory_comes_before_everything_else() {
        let hard = [line(Signal::NodefsAvailable, 100), line(Signal::MemoryAvailable, 100)];
        let mut watch = Watch::new(&Settings::new(&hard, &[], &[]).thresholds);
        let both = memory(1).with(Signal::NodefsAvailable, Some(level(1)));
        let found = watch.observe(&both, at(0));
        assert_eq!(found.shortage.map(|one| one.breach.signal), Some(Signal::MemoryAvailable));
        assert!(found.breaches[Pressure::Disk as usize].is_some());
        assert!(found.breaches[Pressure::Pid as usize].is_none());
        let disk = Levels::default().with(Signal::NodefsAvailable, Some(level(1)));
        let found = watch.observe(&disk, at(1));
        assert_eq!(found.shortage.map(|one| one.breach.signal), Some(Signal::NodefsAvailable));
    }

    #[test]
    fn what_cannot_be_read_is_not_short() {
        let mut watch = Watch::new(&Settings::default().thresholds);
        assert_eq!(watch.observe(&Levels::default(), at(0)), Found::default());
    }

    #[test]
    fn what_may_soon_be_short_is_looked_at_more_often() {
        let hard = [line(Signal::NodefsAvailable, 100), line(Signal::MemoryAvailable, 50)];
        let mut watch = Watch::new(&Settings::new(&hard, &[], &[]).thresholds);
        for (left, near) in [(200, false), (199, true)] {
            assert_eq!(watch.observe(&memory(left), at(0)).near, near);
        }
        for (left, near) in [(200, false), (199, true)] {
            let disk = Levels::default().with(Signal::NodefsAvailable, Some(level(left)));
            assert_eq!(watch.observe(&disk, at(0)).near, near);
        }
    }

    proptest! {
        /// Against the definition, which looks at the whole past.
        #[test]
        fn a_soft_threshold_is_acted_on_where_it_was_met_for_its_grace(
            looks in proptest::collection::vec((1i64..40, 0u64..200), 1..60),
            grace in 0u64..60, reclaim in 0u64..40,
        ) {
            let soft = (line(Signal::MemoryAvailable, 100), Duration::from_secs(grace));
            let least = Reclaim(Signal::MemoryAvailable, Quantity::Units(reclaim));
            let mut watch = Watch::new(&Settings::new(&[], &[soft], &[least]).thresholds);
            let (mut second, mut past) = (0, Vec::new());
            for (pause, left) in looks {
                second += pause;
                past.push((second, left));
                // The run of looks up to now that began with one below, and never got far above.
                let run = past.iter().rev().take_while(|(_, left)| *left < 100 + reclaim);
                let run: Vec<_> = run.collect();
                let first = run.iter().rev().find(|(_, left)| *left < 100);
                let due = first.is_some_and(|(first, _)| second - first >= grace.cast_signed());
                let found = watch.observe(&memory(left), at(second));
                prop_assert_eq!(found.shortage.is_some(), due);
                prop_assert_eq!(found.breaches[0].is_some(), first.is_some());
            }
        }
    }
}
