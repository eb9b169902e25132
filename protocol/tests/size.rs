//! What typical messages cost, header and body, against what we promise for cellular links.
//!
//! `cargo test -p mote-protocol --test size -- --nocapture` prints each with its goal.

use mote_protocol::frame::{self, Body};
use mote_protocol::name::{Namespace, ObjectName, Uid};
use mote_protocol::node::{
    Heartbeat, NodeAddress, NodeCondition, NodeConditionStatus, NodeStatus, ObjectDigest,
    Resources, Session, Usage,
};
use mote_protocol::object::{ContentHash, Revision};
use mote_protocol::status::{
    Conditions, ContainerRole, ContainerState, ContainerStatus, Phase, PodCondition, PodStatus,
};
use mote_protocol::usage::{Metrics, PodMetrics, Traffic, Used};

/// A moment in 2026, in milliseconds: what a revision is made of.
const NOW_MS: u64 = 1_795_000_000_000;

/// Seconds of uptime after half a year.
const UPTIME: i64 = 15_768_000;

/// Prints what a message costs and fails where that is not below the goal.
#[track_caller]
fn costs_less_than<B: Body>(goal: usize, what: &str, body: &B) {
    let len = frame::encode(body).expect("encodes").len();
    println!("{what}: {len} bytes (goal: < {goal})");
    assert!(len < goal, "{what} costs {len} bytes, the goal is < {goal}");
}

fn heartbeat(start: u32, connection: u32, sequence: u32, at: i64) -> Heartbeat {
    let objects = ObjectDigest { count: 20, digest: 0xdead_beef };
    Heartbeat { session: Session { start, connection }, sequence, at, conditions: 1, objects }
}

/// A pod that runs: uid, address, five conditions, one container with its image's digest.
fn pod_status(address: &str, started: i64) -> PodStatus {
    let mut conditions = Conditions { truth: 0, since: [0, 1, 1, 12, 12] };
    for condition in PodCondition::ALL {
        conditions.set(condition, true);
    }
    let container = ContainerStatus {
        name: "sensor-api".into(),
        flags: ContainerStatus::pack(ContainerRole::App, true, true),
        restarts: 0,
        image: Some([0xab; 32]),
        state: ContainerState::Running { since: 2 },
        last: None,
    };
    let mut status = PodStatus {
        accepted: Revision { number: NOW_MS, hash: ContentHash([0xcd; 8]) },
        uid: Some(Uid::from_random([0xef; 16])),
        phase: Phase::Running,
        started,
        conditions,
        ..PodStatus::default()
    };
    status.addresses.push(address.parse().expect("an address")).expect("room");
    status.containers.push(container).expect("room");
    status
}

#[test]
fn a_heartbeat_costs_less_than_32_bytes() {
    costs_less_than(32, "heartbeat of a young session", &heartbeat(3, 1, 5, 1500));
    costs_less_than(32, "heartbeat after half a year", &heartbeat(40, 300, 52_560, UPTIME));
}

#[test]
fn the_status_of_a_pod_with_one_container_costs_less_than_96_bytes() {
    costs_less_than(96, "pod status, started with the board", &pod_status("10.88.0.2", 14));
    costs_less_than(96, "pod status, half a year later", &pod_status("10.88.0.2", UPTIME));
}

/// A board with two addresses, half a dozen devices, everything that always is told, and this much
/// that is wrong.
fn node_status(wrong: usize) -> NodeStatus {
    let mut resources = Resources {
        cpu_milli: 4000,
        memory_kib: 3_900_000,
        ephemeral_kib: 30_000_000,
        pods: 32,
        ..Resources::default()
    };
    for name in ["gpiochip0", "gpiochip1", "i2c-1", "spidev0.0", "spidev0.1", "ttyAMA0"] {
        resources.devices.push((format!("mote.io/{name}").as_str().into(), 8)).expect("room");
    }
    let session = Session { start: 40, connection: 300 };
    let objects = ObjectDigest { count: 20, digest: 0xdead_beef };
    let (capacity, allocatable) = (resources.clone(), resources);
    let mut status =
        NodeStatus { session, capacity, allocatable, objects, ..NodeStatus::default() };
    let ips = ["192.168.178.107", "2001:db8:1234:5678:ba27:ebff:fe12:3456"];
    for ip in ips {
        let ip = NodeAddress::InternalIp(ip.parse().expect("an address"));
        status.addresses.push(ip).expect("room");
    }
    let hostname = NodeAddress::Hostname("greenhouse-3".into());
    status.addresses.push(hostname).expect("room");
    let always = NodeCondition::ALL.into_iter().take(4).map(|condition| (condition, ""));
    let message = "3141592 KiB of 30000000 KiB of disk free, less than 3145728";
    let wrong = NodeCondition::ALL.into_iter().skip(5).take(wrong);
    for (condition, message) in always.chain(wrong.map(|condition| (condition, message))) {
        let (truth, since) = (!message.is_empty(), UPTIME);
        let (reason, message) = ("".into(), message.into());
        let told = NodeConditionStatus { condition, truth, since, reason, message };
        status.conditions.push(told).expect("room");
    }
    status
}

#[test]
fn the_status_of_a_node_costs_less_than_512_bytes() {
    costs_less_than(512, "node status, nothing wrong", &node_status(0));
    costs_less_than(512, "node status, two things wrong", &node_status(2));
}

/// What a node with ten pods says of its use, and the same in the form of the Metrics API: one object
/// for the node, one for each pod, as `kubectl get --raw` gives them.
#[test]
fn a_report_of_usage_costs_less_than_a_fifth_of_the_metrics_api() {
    let (mut pods, mut json) = (Vec::new(), Vec::new());
    let when = r#""timestamp":"2026-11-29T12:00:00Z","window":"5m0s""#;
    json.push(format!(
        r#"{{"kind":"NodeMetrics","apiVersion":"metrics.k8s.io/v1beta1","metadata":{{"name":"greenhouse-3","creationTimestamp":"2026-11-29T12:00:00Z"}},{when},"usage":{{"cpu":"412345678n","memory":"243100Ki"}}}}"#
    ));
    for number in 0..10_u32 {
        let name = format!("sensor-api-{number}");
        json.push(format!(
            r#"{{"kind":"PodMetrics","apiVersion":"metrics.k8s.io/v1beta1","metadata":{{"name":"{name}","namespace":"default","creationTimestamp":"2026-11-29T12:00:00Z"}},{when},"containers":[{{"name":"main","usage":{{"cpu":"12345678n","memory":"18432Ki"}}}}]}}"#
        ));
        pods.push(PodMetrics {
            namespace: Namespace::new("default").expect("a namespace"),
            name: ObjectName::new(&name).expect("a name"),
            used: Used { cpu_milli: Some(13), memory_kib: Some(18_432), pids: Some(12) },
            storage_kib: None,
            network: Some(Traffic { received: 123_456_789, sent: 23_456_789 }),
            containers: Vec::new(),
        });
    }
    let mut usage = Usage {
        at: UPTIME,
        cpu_ms: 4_000_000_000,
        memory_kib: 243_100,
        disk_kib: 12_000_000,
        pids: 212,
        ..Usage::default()
    };
    usage.set_metrics(&Metrics { window_ms: 300_000, cpu_milli: Some(413), pods, omitted: 0 });
    let json: usize = json.iter().map(String::len).sum();
    println!("the Metrics API tells the same in {json} bytes");
    costs_less_than(json / 5, "usage of a node and ten pods", &usage);
}

/// No goal: shown so that a change of the layout shows.
#[test]
fn what_more_costs_is_shown() {
    let mut status = pod_status("10.88.0.2", 14);
    status.addresses.push("fd00::88:2".parse().expect("an address")).expect("room");
    costs_less_than(112, "pod status with an IPv6 address beside", &status);
    let second = ContainerStatus { name: "log-shipper".into(), ..status.containers[0].clone() };
    status.containers.push(second).expect("room");
    costs_less_than(160, "and with a second container", &status);
}
