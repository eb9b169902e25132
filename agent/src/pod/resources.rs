//! Requests and limits as cgroup settings, by the kubelet's formulas.

use mote_protocol::pod::{Amounts, Container, PodSpec};

use super::qos::QosClass;
use super::spec::Requests;
use crate::runtime::Limits;

/// CPU shares of nothing at all.
const MIN_SHARES: u64 = 2;

/// Most CPU shares that the kernel takes.
const MAX_SHARES: u64 = 262_144;

/// Smallest quota that the kernel takes, in microseconds.
const MIN_QUOTA_US: u64 = 1000;

/// CPU shares of so many thousandths of a CPU, in the kubelet's v1 unit.
pub fn shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

/// Quota per 100 ms; none for no limit.
fn quota(milli: u64) -> Option<u64> {
    (milli > 0).then(|| milli.saturating_mul(100).max(MIN_QUOTA_US))
}

const fn cpu(amounts: &Amounts) -> Option<u64> {
    amounts.cpu_milli
}

const fn memory(amounts: &Amounts) -> Option<u64> {
    amounts.memory_bytes
}

const fn storage(amounts: &Amounts) -> Option<u64> {
    amounts.ephemeral_bytes
}

/// What a container asks for of one resource: its request, else its limit, else nothing.
fn request(container: &Container, of: fn(&Amounts) -> Option<u64>) -> u64 {
    of(&container.requests).or(of(&container.limits)).unwrap_or(0)
}

/// Memory that a container asks for.
pub fn memory_request(container: &Container) -> u64 {
    request(container, memory)
}

/// CPU that a whole pod asks for, in thousandths of one.
pub fn cpu_request(spec: &PodSpec) -> u64 {
    let requests = spec.needed_at_once(|container| request(container, cpu));
    requests.saturating_add(spec.overhead.cpu_milli.unwrap_or(0))
}

/// What a container asks for of what may run short.
pub fn requests(container: &Container) -> Requests {
    Requests { memory: memory_request(container), storage: request(container, storage) }
}

/// The same for a whole pod.
pub fn requests_of_pod(spec: &PodSpec) -> Requests {
    let requests = spec.needed_at_once(memory_request);
    let memory = requests.saturating_add(memory(&spec.overhead).unwrap_or(0));
    Requests { memory, storage: storage_request(spec) }
}

/// Limits of one container.
pub fn of_container(container: &Container) -> Limits {
    let limit = |of: fn(&Amounts) -> Option<u64>| of(&container.limits).filter(|limit| *limit > 0);
    Limits {
        cpu_shares: Some(shares(request(container, cpu))),
        cpu_quota_us: limit(cpu).and_then(quota),
        memory_bytes: limit(memory),
        pids: None,
    }
}

/// Limits of a whole pod.
pub fn of_pod(spec: &PodSpec, class: QosClass) -> Limits {
    if class == QosClass::BestEffort {
        return Limits { cpu_shares: Some(MIN_SHARES), ..Limits::default() };
    }
    Limits {
        cpu_shares: Some(shares(cpu_request(spec))),
        cpu_quota_us: limit_of_all(spec, cpu).and_then(quota),
        memory_bytes: limit_of_all(spec, memory),
        pids: None,
    }
}

/// The limit of a pod: only where every container has one, since the pod must not hold back a
/// container that has none.
fn limit_of_all(spec: &PodSpec, of: fn(&Amounts) -> Option<u64>) -> Option<u64> {
    let limit = |container: &Container| of(&container.limits).filter(|limit| *limit > 0);
    let mut all = spec.init_containers.iter().chain(&spec.containers);
    all.all(|container| limit(container).is_some()).then(|| {
        let sum = spec.needed_at_once(|container| limit(container).unwrap_or(0));
        sum.saturating_add(of(&spec.overhead).unwrap_or(0))
    })
}

/// What a whole pod may keep on disk: all limits that there are together, also where some container
/// has none, as the kubelet counts them.
pub(super) fn storage_limit(spec: &PodSpec) -> Option<u64> {
    let mut all = spec.init_containers.iter().chain(&spec.containers);
    all.any(|container| storage(&container.limits).is_some()).then(|| {
        let limit = spec.needed_at_once(|container| storage(&container.limits).unwrap_or(0));
        let overhead = storage(&spec.overhead).filter(|_| limit > 0);
        limit.saturating_add(overhead.unwrap_or(0))
    })
}

/// What a whole pod asks for of the node's disk.
pub fn storage_request(spec: &PodSpec) -> u64 {
    let requests = spec.needed_at_once(|container| request(container, storage));
    requests.saturating_add(storage(&spec.overhead).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(request: u64, limit: u64, restart_always: bool) -> Container {
        let amounts = |milli| Amounts { cpu_milli: Some(milli), ..Amounts::default() };
        let (requests, limits) = (amounts(request), amounts(limit));
        Container { requests, limits, restart_always, ..Container::default() }
    }

    #[test]
    fn formulas_are_the_kubelets() {
        assert_eq!((shares(0), shares(1), shares(1000), shares(10_000_000)), (2, 2, 1024, 262_144));
        assert_eq!((quota(0), quota(1), quota(500)), (None, Some(1000), Some(50_000)));
        let limits = of_container(&container(250, 500, false));
        assert_eq!((limits.cpu_shares, limits.cpu_quota_us), (Some(256), Some(50_000)));
        let mut only_limit = container(0, 500, false);
        only_limit.requests = Amounts::default();
        assert_eq!(of_container(&only_limit).cpu_shares, Some(512));
    }

    #[test]
    fn a_pod_needs_its_largest_moment() {
        let mut spec = PodSpec {
            init_containers: vec![container(100, 100, true), container(700, 700, false)],
            containers: vec![container(200, 200, false), container(300, 300, false)],
            ..PodSpec::default()
        };
        let limits = of_pod(&spec, QosClass::Burstable);
        assert_eq!(limits.cpu_quota_us, Some(80_000), "sidecar and init container");
        spec.containers[0].limits = Amounts::default();
        assert_eq!(of_pod(&spec, QosClass::Burstable).cpu_quota_us, None);
        assert_eq!(of_pod(&spec, QosClass::BestEffort).cpu_shares, Some(2));
    }
}
