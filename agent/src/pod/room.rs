//! What pods ask for of what a node has, whether it is there, and who gives way to a critical pod. PURE.
//!
//! As the kubelet admits pods (`pkg/kubelet/lifecycle/predicate.go`) and preempts for critical ones
//! (`pkg/kubelet/preemption/preemption.go`): requests count, whatever is used.

use std::fmt;

use mote_protocol::pod::PodSpec;

use super::qos::QosClass;
use super::resources;

/// Why a pod ends that gave way to a critical one.
pub const PREEMPTING: &str = "Preempting";

/// The same for a person, in the kubelet's words.
pub const PREEMPTED: &str = "Preempted in order to admit critical pod";

/// What is counted, as Kubernetes calls it, in the order of [`Room`].
const RESOURCES: [&str; 4] = ["pods", "cpu", "memory", "ephemeral-storage"];

/// Pods, thousandths of a CPU, bytes of memory and of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room(pub [u64; 4]);

/// What a node has for pods; none of what nobody knows, or counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity(pub [Option<u64>; 4]);

impl Room {
    /// What a pod asks for.
    pub fn of(spec: &PodSpec) -> Self {
        let requests = resources::requests_of_pod(spec);
        Self([1, resources::cpu_request(spec), requests.memory, requests.storage])
    }

    /// That and more.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        let mut sum = self;
        sum.0.iter_mut().zip(more.0).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        sum
    }

    /// What is left to be found where this is found.
    fn without(self, found: Self) -> Self {
        let mut left = self;
        left.0.iter_mut().zip(found.0).for_each(|(left, found)| *left = left.saturating_sub(found));
        left
    }

    fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// How much of it would be left to be found beside one: the sum of squares of parts.
    fn distance(self, of: Self) -> f64 {
        let part = |(needed, found): (&u64, &u64)| {
            let left = needed.saturating_sub(*found);
            #[allow(clippy::cast_precision_loss, reason = "which of two is nearer, roughly")]
            let part = if *needed == 0 { 0.0 } else { left as f64 / *needed as f64 };
            part * part
        };
        self.0.iter().zip(&of.0).map(part).sum()
    }
}

/// What a node lacks for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The first resource, as Kubernetes calls it.
    pub resource: &'static str,
    requested: u64,
    used: u64,
    capacity: u64,
    /// How much of each.
    missing: Room,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, requested, used, capacity, .. } = self;
        write!(
            f,
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, \
             capacity: {capacity}"
        )
    }
}

/// What a node lacks that has so much, of which others use some, for one who asks for more.
pub fn lacking(capacity: Capacity, used: Room, asked: Room) -> Option<Lacking> {
    let mut missing = Room::default();
    let mut first = None;
    let each = RESOURCES.iter().zip(capacity.0).zip(used.0).zip(asked.0).zip(&mut missing.0);
    for ((((resource, capacity), used), requested), missing) in each {
        let Some(capacity) = capacity else { continue };
        // Who asks for nothing of it always fits.
        let over = used.saturating_add(requested).saturating_sub(capacity);
        *missing = if requested == 0 { 0 } else { over };
        if *missing > 0 {
            first = first.or(Some((*resource, requested, used, capacity)));
        }
    }
    let (resource, requested, used, capacity) = first?;
    Some(Lacking { resource, requested, used, capacity, missing })
}

/// One who may give way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weaker<T> {
    /// Who.
    pub who: T,
    /// The best effort goes first, the guaranteed last.
    pub class: QosClass,
    /// What would be there without it.
    pub room: Room,
}

/// Who gives way, so that what is lacking is there; none where all of them together are not enough.
pub fn victims<T: Clone + Ord>(lacking: &Lacking, weaker: &[Weaker<T>]) -> Option<Vec<T>> {
    let of =
        |class| -> Vec<&Weaker<T>> { weaker.iter().filter(|one| one.class == class).collect() };
    let sum = |ones: &[&Weaker<T>]| ones.iter().fold(Room::default(), |sum, one| sum.and(one.room));
    let [best_effort, burstable, guaranteed] =
        [QosClass::BestEffort, QosClass::Burstable, QosClass::Guaranteed].map(of);
    let missing = lacking.missing;
    // As few of the better classes as the worse ones leave to be found, then only what those need not give.
    let last = nearest(missing.without(sum(&best_effort)).without(sum(&burstable)), guaranteed)?;
    let middle = nearest(missing.without(sum(&best_effort)).without(sum(&last)), burstable)?;
    let first = nearest(missing.without(sum(&middle)).without(sum(&last)), best_effort)?;
    let all = first.into_iter().chain(middle).chain(last);
    Some(all.map(|one| one.who.clone()).collect())
}

/// Those that come nearest to what is needed, one after the other.
fn nearest<T: Ord>(mut needed: Room, mut of: Vec<&Weaker<T>>) -> Option<Vec<&Weaker<T>>> {
    let mut chosen = Vec::new();
    while !needed.is_nothing() {
        let nearer = |a: &&Weaker<T>, b: &&Weaker<T>| {
            let [near, far] = [a, b].map(|one| needed.distance(one.room));
            near.total_cmp(&far)
                .then_with(|| a.room.0.cmp(&b.room.0))
                .then_with(|| a.who.cmp(&b.who))
        };
        let best = of.iter().copied().min_by(|a, b| nearer(a, b))?;
        if needed.without(best.room) == needed {
            // Nobody has any of it.
            return None;
        }
        of.retain(|one| one.who != best.who);
        needed = needed.without(best.room);
        chosen.push(best);
    }
    Some(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPACITY: Capacity = Capacity([Some(4), Some(1000), Some(1 << 20), None]);

    fn lacks(used: [u64; 4], asked: [u64; 4]) -> Option<Lacking> {
        lacking(CAPACITY, Room(used), Room(asked))
    }

    #[test]
    fn requests_count_and_who_asks_for_nothing_fits() {
        assert_eq!(lacks([3, 900, 0, 0], [1, 100, 1 << 20, u64::MAX]), None);
        assert_eq!(lacks([3, 2000, 0, 0], [1, 0, 0, 0]), None);
        let cpu = lacks([3, 900, 1 << 20, 0], [1, 200, 1, 0]).unwrap();
        assert_eq!(cpu.resource, "cpu");
        assert_eq!(
            cpu.to_string(),
            "Node didn't have enough resource: cpu, requested: 200, used: 900, capacity: 1000"
        );
        assert_eq!(cpu.missing, Room([0, 100, 1, 0]));
        assert_eq!(lacks([4, 0, 0, 0], [1, 2000, 0, 0]).unwrap().resource, "pods");
        assert_eq!(lacks([u64::MAX; 4], [u64::MAX; 4]).unwrap().resource, "pods");
    }

    fn weaker(who: u8, class: QosClass, cpu: u64, memory: u64) -> Weaker<u8> {
        Weaker { who, class, room: Room([1, cpu, memory, 0]) }
    }

    #[test]
    fn the_best_effort_goes_first_and_as_few_as_are_enough() {
        use QosClass::{BestEffort, Burstable, Guaranteed};
        let missing = |missing| Lacking {
            resource: "cpu",
            requested: 0,
            used: 0,
            capacity: 0,
            missing: Room(missing),
        };
        let pods = [
            weaker(1, BestEffort, 0, 0),
            weaker(2, BestEffort, 0, 0),
            weaker(3, Burstable, 100, 10),
            weaker(4, Burstable, 300, 10),
            weaker(5, Guaranteed, 500, 100),
            weaker(6, Guaranteed, 900, 100),
        ];
        for (needed, expected) in [
            ([1, 0, 0, 0], &[1][..]),
            ([2, 0, 0, 0], &[1, 2]),
            ([3, 0, 0, 0], &[1, 2, 3]),
            ([0, 100, 0, 0], &[3]),
            ([0, 250, 0, 0], &[4]),
            ([0, 350, 0, 0], &[3, 4]),
            ([0, 800, 0, 0], &[4, 5]),
            // What a better one has to give spares worse ones.
            ([0, 1150, 0, 0], &[4, 6]),
            ([0, 1250, 0, 0], &[3, 4, 6]),
            ([0, 0, 120, 0], &[3, 4, 5]),
        ] {
            let mut found = victims(&missing(needed), &pods).unwrap();
            found.sort_unstable();
            assert_eq!(found, expected, "{needed:?}");
        }
        assert_eq!(victims(&missing([0, 1801, 0, 0]), &pods), None);
        assert_eq!(victims(&missing([0, 0, 0, 1]), &pods), None, "nobody has any of it");
    }

    proptest! {
        #[test]
        fn who_gives_way_is_enough_and_nobody_where_worse_ones_are(
            pods in proptest::collection::vec((0..3_u8, 0..500_u64, 0..500_u64), 0..8),
            needed in (0..4_u64, 0..1500_u64, 0..1500_u64),
        ) {
            let class = |number| match number {
                0 => QosClass::BestEffort,
                1 => QosClass::Burstable,
                _ => QosClass::Guaranteed,
            };
            let pods: Vec<_> = pods.iter().zip(0..)
                .map(|((of, cpu, memory), who)| weaker(who, class(*of), *cpu, *memory)).collect();
            let missing = Room([needed.0, needed.1, needed.2, 0]);
            let lacking = Lacking { resource: "", requested: 0, used: 0, capacity: 0, missing };
            let all = pods.iter().fold(Room::default(), |sum, one| sum.and(one.room));
            let found = victims(&lacking, &pods);
            prop_assert_eq!(found.is_some(), missing.without(all).is_nothing());
            let Some(found) = found else { return Ok(()) };
            let of = |wanted: &dyn Fn(&Weaker<u8>) -> bool| pods.iter()
                .filter(|one| wanted(one))
                .fold(Room::default(), |sum, one| sum.and(one.room));
            prop_assert!(missing.without(of(&|one| found.contains(&one.who))).is_nothing());
            // Those of a class go only where all of the worse ones are not enough.
            for class in [QosClass::Burstable, QosClass::Guaranteed] {
                let spared = class == QosClass::Guaranteed;
                let worse = of(&|one| one.class == QosClass::BestEffort
                    || spared && one.class == QosClass::Burstable);
                let some = pods.iter().any(|one| one.class == class && found.contains(&one.who));
                prop_assert!(!some || !missing.without(worse).is_nothing());
            }
        }
    }
}
