//! How much memory pods may take before the kernel slows down who takes more. PURE.
//!
//! A program that grows fast takes what is left of a small board between two looks, and the kernel kills
//! before anybody is evicted. Above a cgroup's `memory.high` nobody is killed: what can be dropped is, and who
//! goes on growing sleeps, longer with each page, which the kernel also tells as a stall
//! (`Documentation/admin-guide/cgroup-v2.rst`, "Memory Interface Files"). So it lies where as much is left as
//! a hard threshold keeps free, and the rest is the time that it takes to evict.

use super::signal::{Levels, Signal};
use super::threshold::Settings;

/// Part of a threshold beyond which the ceiling lies: whoever comes to it has met the threshold, and who cannot
/// be evicted is slow from look to look, and does not stand still.
const STEP: u64 = 8;

/// Part of it by which a ceiling may be another and is left as it is.
const SLACK: u64 = 16;

/// From where on pods are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Bytes that all pods together may use, page cache and all.
    pub bytes: u64,
    /// What of it does not matter.
    pub slack: u64,
}

/// The ceiling that what was seen comes to; none where nobody counts what pods use, or no threshold keeps anything
/// free. `droppable` are bytes that [`Signal::AllocatableMemoryAvailable`] counts as used, and
/// [`Signal::MemoryAvailable`] as available.
pub fn ceiling(levels: &Levels, droppable: u64, settings: &Settings) -> Option<Ceiling> {
    let pods = levels.get(Signal::AllocatableMemoryAvailable)?;
    let used = pods.capacity.saturating_sub(pods.available);
    let at = |(signal, used): (Signal, u64)| {
        let level = levels.get(signal)?;
        let line = settings.kept_free(signal, level.capacity);
        let spare = level.available.saturating_sub(line).saturating_add(line / STEP);
        let ceiling = Ceiling { bytes: used.saturating_add(spare), slack: line / SLACK };
        (0 < line && line < level.capacity).then_some(ceiling)
    };
    let needed = used.saturating_sub(droppable);
    let both = [(Signal::MemoryAvailable, needed), (Signal::AllocatableMemoryAvailable, used)];
    both.into_iter().filter_map(at).min_by_key(|ceiling| ceiling.bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::eviction::Level;
    use crate::eviction::threshold::{Line, Quantity};

    fn levels(node: Option<(u64, u64)>, pods: Option<(u64, u64)>) -> Levels {
        let level = |(available, capacity)| Level { available, capacity };
        Levels::default()
            .with(Signal::MemoryAvailable, node.map(level))
            .with(Signal::AllocatableMemoryAvailable, pods.map(level))
    }

    fn settings(below: Quantity) -> Settings {
        Settings::new(&[Line(Signal::MemoryAvailable, below)], &[], &[])
    }

    #[test]
    fn pods_are_slowed_down_where_a_threshold_of_the_node_or_of_theirs_is_met() {
        let tenth = settings(Quantity::Share(1000));
        let rows = [
            // They use 300: the node's threshold is 400 away, theirs 528; and the other way round.
            (Some((500, 1000)), Some((620, 920)), 0, Some(300 + 400 + 12)),
            (Some((900, 1000)), Some((620, 920)), 0, Some(300 + 528 + 11)),
            // Of that 200 are the page cache's, and available as well.
            (Some((500, 1000)), Some((620, 920)), 200, Some(100 + 400 + 12)),
            // It is met: an eighth of it more than they use.
            (Some((100, 1000)), Some((620, 920)), 0, Some(300 + 12)),
            (Some((0, 1000)), Some((620, 920)), 0, Some(300 + 12)),
            (Some((900, 1000)), Some((0, 920)), 0, Some(920 + 11)),
            // What nobody reads says nothing.
            (None, Some((620, 920)), 0, Some(300 + 528 + 11)),
            (Some((500, 1000)), None, 0, None),
        ];
        for (node, pods, droppable, expected) in rows {
            let found = ceiling(&levels(node, pods), droppable, &tenth);
            assert_eq!(found.map(|found| found.bytes), expected, "{node:?} {pods:?} {droppable}");
        }
    }

    #[test]
    fn nobody_is_slowed_down_where_nothing_is_kept_free() {
        let seen = levels(Some((10, 1000)), Some((20, 920)));
        for nothing in [Settings::new(&[], &[], &[]), settings(Quantity::Units(5000))] {
            assert_eq!(ceiling(&seen, 0, &nothing), None);
        }
    }

    proptest! {
        /// Pods that take memory come to the ceiling once the threshold of the node is met, with most of what it
        /// keeps free still there.
        #[test]
        fn whoever_comes_to_it_has_met_a_threshold(
            free in 0u64..1000, cache in 0u64..300, anonymous in 0u64..600, line in 16u64..500,
        ) {
            let node = (free + cache, 2000);
            let pods = (1900 - (anonymous + cache).min(1900), 1900);
            let settings = settings(Quantity::Units(line));
            let found = ceiling(&levels(Some(node), Some(pods)), cache, &settings).expect("a ceiling");
            // All that they can drop is dropped, and what they take is not the page cache's.
            let taken = found.bytes.saturating_sub(anonymous);
            let left = (free + cache).saturating_sub(taken);
            let before = free + cache;
            prop_assert!(left < line, "{found:?} leaves {left} of {before}");
            prop_assert!(left + line / STEP >= line.min(before), "{found:?} leaves {left} of {before}");
        }
    }
}
