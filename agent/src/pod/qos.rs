//! How well a pod is protected when memory is short: Kubernetes' classes and `oom_score_adj`.

use mote_protocol::pod::{Amounts, Container, PodSpec};

/// The quality of service class of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QosClass {
    /// Neither requests nor limits: the first to go.
    #[default]
    BestEffort,
    /// Anything between.
    Burstable,
    /// Every container has equal requests and limits of CPU and memory: the last to go.
    Guaranteed,
}

/// From this priority on a pod is critical: it is not evicted, and taken whatever is short
/// (`SystemCriticalPriority`).
pub const CRITICAL: i32 = 2_000_000_000;

/// The priority classes that every cluster of Kubernetes has.
const CLASSES: [(&str, i32); 2] =
    [("system-cluster-critical", CRITICAL), ("system-node-critical", CRITICAL + 1000)];

/// The priority of a pod: that of its class, where that is one that everybody knows, else what it
/// says, else 0.
pub fn priority(spec: &PodSpec) -> i32 {
    let class = CLASSES.iter().find(|(name, _)| *name == spec.priority_class_name);
    class.map(|(_, priority)| *priority).or(spec.priority).unwrap_or(0)
}

/// The class of a pod.
pub fn class_of(spec: &PodSpec) -> QosClass {
    class(spec.init_containers.iter().chain(&spec.containers))
}

/// The class of a pod with these containers, requests already filled in from limits.
pub fn class<'a>(containers: impl IntoIterator<Item = &'a Container>) -> QosClass {
    let positive = |amount: Option<u64>| amount.filter(|amount| *amount > 0);
    let (mut any, mut all_limited, mut equal) = (false, true, true);
    for container in containers {
        let Container { requests, limits, .. } = container;
        let request = |of: fn(&Amounts) -> Option<u64>| positive(of(requests).or(of(limits)));
        for amount in [|a: &Amounts| a.cpu_milli, |a: &Amounts| a.memory_bytes] {
            let (wanted, limit) = (request(amount), positive(amount(limits)));
            any |= wanted.is_some() || limit.is_some();
            all_limited &= limit.is_some();
            equal &= wanted == limit;
        }
    }
    match (any, all_limited && equal) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// `oom_score_adj` of a container's processes.
pub fn oom_score_adj(class: QosClass, node_critical: bool, request: u64, memory: u64) -> i32 {
    const PROTECTED: i32 = -997;
    const FIRST: i32 = 1000;
    match class {
        _ if node_critical => PROTECTED,
        QosClass::Guaranteed => PROTECTED,
        QosClass::BestEffort => FIRST,
        QosClass::Burstable => {
            let share = u128::from(request) * 1000 / u128::from(memory.max(1));
            let share = i32::try_from(share.min(1000)).unwrap_or(FIRST);
            // Below the bare minimum it would look guaranteed, at the maximum best effort.
            (FIRST - share).clamp(3, FIRST - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(requests: (u64, u64), limits: (u64, u64)) -> Container {
        let amounts = |(cpu, memory): (u64, u64)| Amounts {
            cpu_milli: (cpu > 0).then_some(cpu),
            memory_bytes: (memory > 0).then_some(memory),
            ..Amounts::default()
        };
        Container { requests: amounts(requests), limits: amounts(limits), ..Container::default() }
    }

    #[test]
    fn classes_are_kubernetes_classes() {
        let of = |containers: &[Container]| class(containers);
        assert_eq!(of(&[container((0, 0), (0, 0))]), QosClass::BestEffort);
        assert_eq!(of(&[container((0, 0), (100, 64))]), QosClass::Guaranteed);
        assert_eq!(of(&[container((100, 64), (100, 64))]), QosClass::Guaranteed);
        assert_eq!(of(&[container((50, 64), (100, 64))]), QosClass::Burstable);
        assert_eq!(of(&[container((0, 0), (0, 64))]), QosClass::Burstable);
        let pair = [container((100, 64), (100, 64)), container((0, 0), (0, 0))];
        assert_eq!(of(&pair), QosClass::Burstable);
    }

    #[test]
    fn scores_follow_the_kubelet() {
        const GIB: u64 = 1 << 30;
        assert_eq!(oom_score_adj(QosClass::Guaranteed, false, GIB, 4 * GIB), -997);
        assert_eq!(oom_score_adj(QosClass::BestEffort, false, 0, 4 * GIB), 1000);
        assert_eq!(oom_score_adj(QosClass::BestEffort, true, 0, 4 * GIB), -997);
        assert_eq!(oom_score_adj(QosClass::Burstable, false, GIB, 4 * GIB), 750);
        assert_eq!(oom_score_adj(QosClass::Burstable, false, 0, 4 * GIB), 999);
        assert_eq!(oom_score_adj(QosClass::Burstable, false, 8 * GIB, 4 * GIB), 3);
    }
}
