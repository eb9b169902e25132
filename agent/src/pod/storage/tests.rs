use super::*;
use crate::pod::tests::{container, pod_from, wire_pod};
use mote_protocol::object;
use mote_protocol::pod::{self as wire, Volume};

const MI: u64 = 1 << 20;

/// A pod of an init container `i` and the containers `a` and `b`, with these limits, and volumes with
/// these.
fn pod(limits: [Option<u64>; 3], volumes: &[(bool, Option<u64>)]) -> object::Pod {
    let limited = |name: &str, limit| {
        let mut container = container(name);
        container.limits.ephemeral_bytes = limit;
        container
    };
    let [init, a, b] = limits;
    let mut pod = wire_pod(vec![limited("a", a), limited("b", b)]);
    pod.spec.init_containers = vec![limited("i", init)];
    for (number, (memory, size_limit)) in volumes.iter().copied().enumerate() {
        let source = VolumeSource::EmptyDir { memory, size_limit };
        pod.spec.volumes.push(Volume { name: format!("v{number}"), source });
    }
    pod
}

fn kept(containers: &[(usize, u64)], volumes: &[(usize, u64)]) -> StorageUse {
    let measured =
        |(place, bytes): &(usize, u64)| (*place, Measured { bytes: *bytes, ..Measured::default() });
    StorageUse {
        containers: containers.iter().map(measured).collect(),
        volumes: volumes.iter().map(measured).collect(),
        mark: 0,
    }
}

/// Why a pod is evicted that keeps this.
fn verdict(asked: &object::Pod, kept: &StorageUse) -> Option<String> {
    let pod = pod_from(asked);
    pod.storage.as_ref().and_then(|limits| limits.exceeded(&pod, kept))
}

#[test]
fn pods_without_limits_are_not_looked_at() {
    let none = pod([None; 3], &[(false, None), (true, Some(MI))]);
    assert_eq!(pod_from(&none).storage, None, "memory is bounded by its tmpfs");
    let zero = pod([None; 3], &[(false, Some(0))]);
    assert_eq!(pod_from(&zero).storage, None);
    for class in ["system-node-critical", "system-cluster-critical"] {
        let mut critical = pod([Some(MI); 3], &[(false, Some(MI))]);
        critical.spec.priority_class_name = class.into();
        assert_eq!(pod_from(&critical).storage, None, "the kubelet evicts none of them");
    }
}

#[test]
fn only_what_a_limit_is_about_is_measured() {
    let measured = |asked: &object::Pod| {
        let pod = pod_from(asked);
        let wanted = pod.storage.as_ref().expect("limits").to_measure(&pod, 1..3, 0);
        wanted.map(|wanted| (wanted.containers, wanted.volumes))
    };
    let volumes = [(false, None), (false, Some(MI)), (true, Some(MI))];
    assert_eq!(measured(&pod([None; 3], &volumes)), Some((vec![], vec![1])));
    let one = pod([None, None, Some(MI)], &volumes);
    assert_eq!(measured(&one), Some((vec![1, 2], vec![0, 1])), "all count for the pod");
}

#[test]
fn rows_of_the_kubelets_table() {
    let volume = |n: u32| format!("Usage of EmptyDir volume \"v{n}\" exceeds the limit \"1Mi\". ");
    let container = |name: &str| {
        format!("Container {name} exceeded its local ephemeral storage limit \"1Mi\". ")
    };
    let total = |limit: &str| {
        format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. ")
    };
    let (mi, over) = (Some(MI), MI + 1);
    let rows = [
        // An emptyDir: at its limit, and beyond.
        (pod([None; 3], &[(false, mi)]), kept(&[], &[(0, MI)]), None),
        (pod([None; 3], &[(false, mi)]), kept(&[], &[(0, over)]), Some(volume(0))),
        (pod([None; 3], &[(false, None), (false, mi)]), kept(&[], &[(1, over)]), Some(volume(1))),
        // A container: its own limit is enough where others may keep more.
        (pod([None, mi, Some(9 * MI)], &[]), kept(&[(1, MI)], &[]), None),
        (pod([None, mi, Some(9 * MI)], &[]), kept(&[(1, over)], &[]), Some(container("a"))),
        // An init container's is only part of the pod's.
        (pod([mi, Some(9 * MI), None], &[]), kept(&[(0, over)], &[]), None),
        // The pod: containers and volumes together, be they limited or not.
        (
            pod([None, mi, None], &[(false, None)]),
            kept(&[(1, 1), (2, 1)], &[(0, MI)]),
            Some(total("1Mi")),
        ),
        (pod([None, mi, mi], &[]), kept(&[(1, MI), (2, MI)], &[]), None),
        (pod([None, mi, mi], &[(false, None)]), kept(&[], &[(0, 2 * MI + 1)]), Some(total("2Mi"))),
        (pod([Some(5 * MI), mi, None], &[]), kept(&[(2, 5 * MI)], &[]), None),
        // A limit of nothing at all is one of the pod.
        (pod([None, Some(0), None], &[]), kept(&[(1, 1)], &[]), Some(total("0"))),
        // The volume is named first, then the pod, then the container.
        (pod([None, mi, None], &[(false, mi)]), kept(&[(1, over)], &[(0, over)]), Some(volume(0))),
        (pod([None, mi, None], &[]), kept(&[(1, over)], &[]), Some(total("1Mi"))),
    ];
    for (asked, kept, expected) in rows {
        assert_eq!(verdict(&asked, &kept), expected, "{kept:?} of {asked:?}");
    }
}

#[test]
fn overhead_is_for_pods_that_have_a_limit() {
    let mut asked = pod([None, Some(MI), None], &[]);
    asked.spec.overhead = wire::Amounts { ephemeral_bytes: Some(MI), ..wire::Amounts::default() };
    assert_eq!(verdict(&asked, &kept(&[(2, 2 * MI)], &[])), None);
    assert!(verdict(&asked, &kept(&[(2, 2 * MI + 1)], &[])).is_some());
}

#[test]
fn what_was_counted_is_enough_to_be_evicted_for() {
    let partial = |bytes| StorageUse {
        volumes: vec![(0, Measured { bytes, counted: Counted::Part, ..Measured::default() })],
        ..StorageUse::default()
    };
    let asked = pod([None; 3], &[(false, Some(MI))]);
    assert!(!partial(1).is_whole());
    assert_eq!(verdict(&asked, &partial(MI)), None);
    assert!(verdict(&asked, &partial(MI + 1)).is_some());
}

#[test]
fn what_nobody_counts_to_its_end_is_beyond_every_limit() {
    let endless = Measured { bytes: 1, counted: Counted::Endless, ..Measured::default() };
    let asked = pod([None, Some(9 * MI), None], &[(false, Some(MI))]);
    let of = |whose: &str| {
        Some(format!(
            "Files of {whose} cannot be counted: they have more than 1000000 names, or are in more \
             than 256 directories below each other. "
        ))
    };
    let volume = StorageUse { volumes: vec![(0, endless)], ..StorageUse::default() };
    assert_eq!(verdict(&asked, &volume), of("EmptyDir volume \"v0\""));
    let container = StorageUse { containers: vec![(2, endless)], ..StorageUse::default() };
    assert_eq!(verdict(&asked, &container), of("container b"));
    // A limit that is exceeded says more.
    let both = StorageUse { containers: vec![(2, endless)], ..kept(&[], &[(0, MI + 1)]) };
    assert!(verdict(&asked, &both).is_some_and(|why| why.starts_with("Usage of EmptyDir")));
}
