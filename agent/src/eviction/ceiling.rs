//! How much memory pods may take before the kernel slows down who takes more. PURE.
//!
//! A program that grows fast takes what is left of a small board between two looks, and the kernel kills
//! before anybody is evicted. Above a cgroup's `memory.high` nobody is killed: what can be dropped is, and who
//! goes on growing sleeps, longer with each page, which the kernel also tells as a stall
//! (`Documentation/admin-guide/cgroup-v2.rst`, "Memory Interface Files"). So it lies where as much is left as
//! a hard threshold keeps free, and the rest is the time that it takes to evict.

use super::signal::{Levels, Signal};
use super::threshold::Settings;

/// Part of a threshold by which pods may grow from look to look although no more than it is left: who cannot
/// be evicted is slow then, and does not stand still.
const STEP: u64 = 8;

/// Bytes that all pods together may use, as [`Signal::AllocatableMemoryAvailable`] counts, without being
/// slowed down; none where nobody counts them, or no threshold keeps anything free.
pub fn ceiling(levels: &Levels, settings: &Settings) -> Option<u64> {
    let pods = levels.get(Signal::AllocatableMemoryAvailable)?;
    let spare = |signal: Signal| {
        let level = levels.get(signal)?;
        let line = settings.kept_free(signal, level.capacity);
        let met = 0 < line && line < level.capacity;
        met.then(|| level.available.saturating_sub(line).max(line / STEP))
    };
    let memory = [Signal::MemoryAvailable, Signal::AllocatableMemoryAvailable];
    let spare = memory.into_iter().filter_map(spare).min()?;
    Some(pods.capacity.saturating_sub(pods.available).saturating_add(spare))
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
            // They use 300: the node's threshold is 400 away, theirs 520; and the other way round.
            ((Some((500, 1000)), Some((620, 920))), Some(300 + 400)),
            ((Some((900, 1000)), Some((620, 920))), Some(300 + 528)),
            // It is met: an eighth of it more than they use, of the smaller one.
            ((Some((100, 1000)), Some((620, 920))), Some(300 + 12)),
            ((Some((0, 1000)), Some((620, 920))), Some(300 + 12)),
            ((Some((900, 1000)), Some((0, 920))), Some(920 + 11)),
            // What nobody reads says nothing.
            ((None, Some((620, 920))), Some(300 + 528)),
            ((Some((500, 1000)), None), None),
        ];
        for ((node, pods), expected) in rows {
            assert_eq!(ceiling(&levels(node, pods), &tenth), expected, "{node:?} {pods:?}");
        }
    }

    #[test]
    fn nobody_is_slowed_down_where_nothing_is_kept_free() {
        let seen = levels(Some((10, 1000)), Some((20, 920)));
        for nothing in [Settings::new(&[], &[], &[]), settings(Quantity::Units(5000))] {
            assert_eq!(ceiling(&seen, &nothing), None);
        }
    }

    proptest! {
        #[test]
        fn what_pods_use_is_never_above_it(
            node in (0u64..1000, 1u64..1000), pods in (0u64..1000, 1u64..1000), line in 8u64..500,
        ) {
            let of = |(available, capacity): (u64, u64)| (available.min(capacity), capacity);
            let (node, pods) = (of(node), of(pods));
            let found = ceiling(&levels(Some(node), Some(pods)), &settings(Quantity::Units(line)));
            let used = pods.1 - pods.0;
            if let Some(found) = found {
                prop_assert!(found > used, "{found} {used}");
                // Once they used that much, as much as is kept free would be left, or the least step.
                let left = node.0.saturating_sub(found - used);
                prop_assert!(left >= line.min(node.0) || found - used == line / STEP || line >= node.1);
            }
        }
    }
}
