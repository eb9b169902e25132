//! What a played node tells.

use mote_protocol::event::{Event, EventType, Involved};
use mote_protocol::name::{Kind, Uid};
use mote_protocol::object::{Pod, Revision};
use mote_protocol::status::{
    Conditions, ContainerRole, ContainerState, ContainerStatus, Phase, PodCondition, PodStatus,
};

/// A container of the pod `web` that was started again and again.
pub(crate) fn backed_off() -> Event {
    Event {
        sequence: 1,
        first: 300,
        last: 590,
        count: 4,
        event_type: EventType::Warning,
        involved: Involved::Object {
            kind: Kind::Pod,
            namespace: "default".into(),
            name: "web".into(),
            uid: None,
            field: "spec.containers{main}".into(),
        },
        reason: "BackOff".into(),
        message: "Back-off restarting failed container".into(),
        ..Event::default()
    }
}

/// A pod whose containers all run.
pub(crate) fn running(accepted: Revision, uid: Uid, pod: &Pod) -> PodStatus {
    let mut conditions = Conditions::default();
    for condition in PodCondition::ALL {
        conditions.set(condition, true);
    }
    let mut status = PodStatus {
        accepted,
        uid: Some(uid),
        phase: Phase::Running,
        started: 590,
        conditions,
        ..PodStatus::default()
    };
    status.addresses.push("10.88.0.2".parse().expect("ip")).expect("room");
    for container in &pod.spec.containers {
        let told = ContainerStatus {
            name: container.name.as_str().into(),
            flags: ContainerStatus::pack(ContainerRole::App, true, true),
            image: Some([0xab; 32]),
            state: ContainerState::Running { since: 1 },
            ..ContainerStatus::default()
        };
        status.containers.push(told).expect("room");
    }
    status
}
