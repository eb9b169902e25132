//! What a status costs: on the wire, and to make.

use std::net::Ipv4Addr;

use mote_protocol::frame::{self, Body, encode_into};
use mote_protocol::name::Uid;
use mote_protocol::node::{Heartbeat, Session};
use mote_protocol::object::{ContentHash, Revision};
use mote_protocol::status::{
    ContainerRole, ContainerState, ContainerStatus, Phase, PodCondition, PodStatus,
};
use mote_tests::allocations::count;

use crate::budget;

/// A pod with one container that runs, as most are.
fn running() -> PodStatus {
    let mut status = PodStatus {
        accepted: Revision { number: 1_795_000_000_000, hash: ContentHash([0xab; 8]) },
        uid: Some(Uid([7; 16])),
        phase: Phase::Running,
        started: 86_400,
        ..PodStatus::default()
    };
    status.addresses.push(Ipv4Addr::new(10, 42, 0, 7).into()).expect("room");
    for (place, condition) in PodCondition::ALL.into_iter().enumerate() {
        status.conditions.set(condition, true);
        status.conditions.since[place] = i32::try_from(place).expect("small");
    }
    let container = ContainerStatus {
        name: "web".into(),
        flags: ContainerStatus::pack(ContainerRole::App, true, true),
        image: Some([9; 32]),
        state: ContainerState::Running { since: 2 },
        ..ContainerStatus::default()
    };
    status.containers.push(container).expect("room");
    status
}

fn encoded_bytes(body: &impl Body) -> u64 {
    frame::encode(body).expect("encodes").len() as u64
}

#[test]
fn a_running_pod_is_few_bytes() {
    budget::check("pod_status_bytes", encoded_bytes(&running()));
}

#[test]
fn a_heartbeat_is_fewer() {
    let heartbeat = Heartbeat {
        session: Session { start: 300, connection: 20 },
        sequence: 1000,
        at: 864_000,
        conditions: 1,
        ..Heartbeat::default()
    };
    budget::check("heartbeat_bytes", encoded_bytes(&heartbeat));
}

#[test]
fn telling_a_status_again_allocates_nothing() {
    let status = running();
    let mut buffer = Vec::with_capacity(256);
    let (outcome, used) = count(|| encode_into(&status, &mut buffer));
    outcome.expect("encodes");
    budget::check("status_encode_allocations", used.allocations);
}

#[test]
fn reading_a_status_allocates_for_its_texts_only() {
    let bytes = frame::encode(&running()).expect("encodes");
    let (outcome, used) = count(|| frame::decode::<PodStatus>(&bytes));
    outcome.expect("decodes");
    budget::check("status_decode_allocations", used.allocations);
}
