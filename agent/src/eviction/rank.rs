//! Which pod goes first, and what is said of it.
//!
//! | short of | sorted by |
//! |---|---|
//! | memory | uses more than it asked for; lower priority; more beyond what it asked for |
//! | disk, inodes | the same; nobody asks for inodes, so that any use is more |
//! | process ids | lower priority; more processes |
//!
//! Of what nobody could measure nothing good is assumed: it goes first among its equals, as with
//! the kubelet. Critical pods are not among the candidates.

use std::cmp::Reverse;
use std::fmt::Write as _;

use mote_protocol::name::Uid;
use mote_protocol::quantity::format_units;

use super::signal::Resource;
use super::watch::Shortage;

/// What is said first of a pod that goes because the node is short of something.
pub const LOW_ON_RESOURCE: &str = "The node was low on resource: ";

/// A pod that may be evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub uid: Uid,
    /// Its priority.
    pub priority: i32,
    /// What it uses of what is short, as far as that is known.
    pub used: Option<u64>,
    /// What it asked for.
    pub request: u64,
    /// Its containers.
    pub containers: Vec<Eater>,
}

/// A container of a pod that may be evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eater {
    /// Its name.
    pub name: String,
    /// What it uses of what is short.
    pub used: u64,
    /// What it asked for.
    pub request: u64,
}

/// Sorts them: who goes first is first.
pub fn rank(resource: Resource, candidates: &mut [Candidate]) {
    let beyond = |one: &Candidate| {
        one.used.map(|used| i128::from(used) - i128::from(one.request)).unwrap_or_default()
    };
    match resource {
        Resource::Memory | Resource::EphemeralStorage | Resource::Inodes => {
            candidates.sort_by_key(|one| {
                let known = one.used.is_some();
                let modest = known && beyond(one) <= 0;
                (known, modest, one.priority, Reverse(beyond(one)))
            });
        }
        Resource::Pids => {
            candidates.sort_by_key(|one| (one.priority, one.used.is_some(), Reverse(one.used)));
        }
    }
}

/// Why a pod is evicted, in the kubelet's words.
pub fn message(shortage: &Shortage, victim: &Candidate) -> String {
    let (resource, breach) = (shortage.resource(), &shortage.breach);
    let what = resource.as_str();
    let line = format_units(breach.line);
    let available = format_units(breach.level.available);
    let mut text =
        format!("{LOW_ON_RESOURCE}{what}. Threshold quantity: {line}, available: {available}. ");
    // Of inodes and processes the kubelet names no container.
    let told = matches!(resource, Resource::Memory | Resource::EphemeralStorage);
    for Eater { name, used, request } in victim.containers.iter().filter(|_| told) {
        if used > request {
            let (used, request) = (format_units(*used), format_units(*request));
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "Container {name} was using {used}, request is {request}, has larger consumption \
                 of {what}. "
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::eviction::signal::{Level, Signal};
    use crate::eviction::watch::Breach;

    fn pod(number: u8, priority: i32, used: Option<u64>, request: u64) -> Candidate {
        let uid = Uid([number; 16]);
        Candidate { uid, priority, used, request, containers: Vec::new() }
    }

    fn order(resource: Resource, mut pods: Vec<Candidate>) -> Vec<u8> {
        rank(resource, &mut pods);
        pods.iter().map(|pod| pod.uid.0[0]).collect()
    }

    #[test]
    fn the_order_is_the_kubelets() {
        let pods = || {
            vec![
                pod(1, 0, Some(90), 100),
                pod(2, 0, Some(150), 100),
                pod(3, 0, Some(50), 0),
                pod(4, 1000, Some(900), 0),
                pod(5, -5, Some(1), 0),
                pod(6, 9999, None, 0),
                pod(7, -9, Some(0), 10),
                pod(8, 0, Some(10), 100),
            ]
        };
        // Unknown; then those beyond their requests by priority and amount; then the others.
        assert_eq!(order(Resource::Memory, pods()), [6, 5, 2, 3, 4, 7, 1, 8]);
        assert_eq!(order(Resource::EphemeralStorage, pods()), [6, 5, 2, 3, 4, 7, 1, 8]);
        assert_eq!(order(Resource::Pids, pods()), [7, 5, 2, 1, 3, 8, 4, 6]);
    }

    #[test]
    fn messages_are_the_kubelets() {
        let mib = 1024 * 1024;
        let level = Level { available: 80 * mib, capacity: 512 * mib };
        let breach = Breach { signal: Signal::MemoryAvailable, level, line: 100 * mib };
        let shortage = Shortage { breach, soft: false };
        let eater = |name: &str, used, request| Eater { name: name.into(), used, request };
        let containers = vec![eater("web", 50 * mib, 0), eater("modest", mib, 2 * mib)];
        let victim = Candidate { containers, ..pod(1, 0, Some(51 * mib), 2 * mib) };
        assert_eq!(
            message(&shortage, &victim),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi. \
             Container web was using 50Mi, request is 0, has larger consumption of memory. "
        );
        let breach = Breach { signal: Signal::PidAvailable, line: 10, ..breach };
        let text = message(&Shortage { breach, soft: false }, &victim);
        assert!(text.starts_with("The node was low on resource: pids. "), "{text}");
        assert!(!text.contains("web"), "{text}");
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (any::<u8>(), -2i32..3, proptest::option::of(0u64..5), 0u64..5);
        let one =
            one.prop_map(|(number, priority, used, request)| pod(number, priority, used, request));
        proptest::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn nobody_within_its_request_goes_before_one_beyond_it(mut pods in candidates()) {
            rank(Resource::Memory, &mut pods);
            for (first, second) in pods.iter().zip(pods.iter().skip(1)) {
                let modest = |pod: &Candidate| pod.used.is_some_and(|used| used <= pod.request);
                prop_assert!(!modest(first) || modest(second));
                if modest(first) == modest(second) && first.used.is_some() == second.used.is_some() {
                    prop_assert!(first.priority <= second.priority);
                }
            }
        }

        #[test]
        fn ranking_neither_loses_nor_makes_pods(pods in candidates()) {
            for resource in [Resource::Memory, Resource::Inodes, Resource::Pids] {
                let mut ranked = pods.clone();
                rank(resource, &mut ranked);
                let key = |pod: &Candidate| (pod.uid, pod.priority, pod.used, pod.request);
                let mut one: Vec<_> = pods.iter().map(key).collect();
                let mut other: Vec<_> = ranked.iter().map(key).collect();
                one.sort();
                other.sort();
                prop_assert_eq!(one, other);
            }
        }
    }
}
