use mote_protocol::name::{FleetName, ObjectName};
use mote_protocol::node::Birth;
use mote_protocol::pod::Container;
use mote_protocol::status::{ContainerState, ContainerStatus, Phase, Reason, Terminated};

use super::*;
use crate::view::node::Node;

const APP: u8 = ContainerStatus::pack(ContainerRole::App, false, false);
const READY: u8 = ContainerStatus::pack(ContainerRole::App, true, true);
const INIT: u8 = ContainerStatus::pack(ContainerRole::Init, false, false);
const SIDECAR: u8 = ContainerStatus::pack(ContainerRole::Sidecar, true, true);

fn waiting(reason: &str) -> ContainerState {
    ContainerState::Waiting { reason: Reason::new(reason), message: "".into() }
}

fn ended(exit_code: i32, reason: &str) -> ContainerState {
    ContainerState::Terminated(Terminated {
        exit_code,
        reason: Reason::new(reason),
        finished: 70,
        ..Terminated::default()
    })
}

fn running() -> ContainerState {
    ContainerState::Running { since: 1 }
}

fn status(phase: Phase, containers: &[(u8, ContainerState)]) -> PodStatus {
    let containers = containers.iter().map(|(flags, state)| ContainerStatus {
        flags: *flags,
        state: state.clone(),
        ..ContainerStatus::default()
    });
    PodStatus { phase, containers: containers.collect(), ..PodStatus::default() }
}

fn key() -> ObjectKey {
    ObjectKey {
        kind: Kind::Pod,
        namespace: Namespace::new("default").expect("label"),
        name: ObjectName::new("web").expect("name"),
    }
}

fn born() -> Node {
    Node { birth: Some(Birth { boot_epoch: 1000, ..Birth::default() }), ..Node::default() }
}

fn shown(status: PodStatus, pod: Option<Pod>) -> Summary {
    let (key, node, told) = (key(), born(), Told::Pod(Box::new(status)));
    let name = NodeName::new("pi").expect("label");
    let view = PodView {
        key: &key,
        scope: Scope::Node(name),
        node: Some(&node),
        asked_in: None,
        object: None,
        pod,
        told: Some(&told),
    };
    view.summary(1000)
}

#[test]
fn the_status_column_is_kubectls() {
    use Phase::{Failed, Pending, Running, Succeeded};
    let cases = vec![
        ("1/1", "Running", status(Running, &[(READY, running())])),
        ("0/1", "Running", status(Running, &[(APP, running())])),
        ("0/1", "ContainerCreating", status(Pending, &[(APP, waiting("ContainerCreating"))])),
        ("0/1", "CrashLoopBackOff", status(Running, &[(APP, waiting("CrashLoopBackOff"))])),
        ("0/1", "Completed", status(Succeeded, &[(APP, ended(0, "Completed"))])),
        ("0/1", "Error", status(Failed, &[(APP, ended(3, "Error"))])),
        ("0/1", "ExitCode:3", status(Failed, &[(APP, ended(3, ""))])),
        ("0/1", "OOMKilled", status(Failed, &[(APP, ended(137, "OOMKilled"))])),
        ("1/2", "NotReady", status(Running, &[(APP, ended(0, "Completed")), (READY, running())])),
        (
            "0/1",
            "Init:0/1",
            status(Pending, &[(INIT, running()), (APP, waiting("PodInitializing"))]),
        ),
        (
            "0/1",
            "Init:0/1",
            status(Pending, &[(INIT, waiting("PodInitializing")), (APP, waiting(""))]),
        ),
        (
            "0/1",
            "Init:ErrImagePull",
            status(Pending, &[(INIT, waiting("ErrImagePull")), (APP, waiting(""))]),
        ),
        ("0/1", "Init:Error", status(Pending, &[(INIT, ended(1, "Error")), (APP, waiting(""))])),
        ("0/1", "Init:ExitCode:2", status(Pending, &[(INIT, ended(2, "")), (APP, waiting(""))])),
        (
            "0/1",
            "PodInitializing",
            status(Pending, &[(INIT, ended(0, "Completed")), (APP, waiting("PodInitializing"))]),
        ),
        (
            "1/2",
            "Init:1/2",
            status(Pending, &[(SIDECAR, running()), (INIT, running()), (APP, waiting(""))]),
        ),
        ("2/2", "Running", status(Running, &[(SIDECAR, running()), (READY, running())])),
        ("0/1", "Pending", status(Pending, &[(APP, waiting(""))])),
    ];
    for (ready, word, status) in cases {
        let summary = shown(status, None);
        assert_eq!(
            (format!("{}/{}", summary.ready, summary.total).as_str(), summary.status.as_str()),
            (ready, word)
        );
    }
}

#[test]
fn a_reason_of_the_pod_and_its_deletion_show() {
    let mut evicted = status(Phase::Failed, &[]);
    evicted.cause = Some(("Evicted".into(), "".into()));
    assert_eq!(shown(evicted, None).status, "Evicted");
    let mut going = status(Phase::Running, &[(READY, running())]);
    going.deleting = Some(30);
    assert_eq!(shown(going, None).status, "Terminating");
}

#[test]
fn restarts_count_from_where_kubectl_counts_them() {
    let mut crashed = status(Phase::Running, &[(READY, running())]);
    crashed.started = 100;
    crashed.containers[0].restarts = 4;
    let ContainerState::Terminated(last) = ended(1, "Error") else { unreachable!() };
    crashed.containers[0].last = Some(last);
    let summary = shown(crashed, None);
    assert_eq!((summary.restarts, summary.last_restart), (4, Some(1170)));
}

#[test]
fn a_pod_is_found_by_spec_and_by_status_and_a_silent_nodes_pod_is_unknown() {
    use crate::broker::Message;
    use mote_protocol::node::Will;
    use mote_protocol::object::Revision;
    use mote_protocol::topic::{Address, Topic};

    let mut fleet = Fleet::default();
    let mut absorb = |scope: Scope, topic: Topic, payload: Vec<u8>| {
        let fleet_name = FleetName::new("f").expect("label");
        let topic = Address { fleet: fleet_name, scope, topic }.to_string();
        fleet.absorb(&Message { topic, payload });
    };
    let node = |name: &str| Scope::parse(name).expect("node");
    let mut pod = Pod::default();
    pod.spec.containers = vec![Container::default()];
    let object = Object {
        revision: Revision { number: 7, ..Revision::default() },
        uid: None,
        intent: pod.to_intent().expect("encodes"),
        extensions: mote_protocol::extension::Extensions::default(),
    };
    let frame = |body: &Object| mote_protocol::frame::encode(body).expect("encodes");
    for name in ["a", "b"] {
        absorb(
            node(name),
            Topic::Birth,
            mote_protocol::frame::encode(&Birth {
                session: mote_protocol::node::Session { start: 1, connection: 1 },
                ..Birth::default()
            })
            .expect("encodes"),
        );
    }
    absorb(Scope::All, Topic::Spec(key()), frame(&object));
    let mut told = status(Phase::Running, &[(READY, running())]);
    told.accepted = object.revision;
    absorb(node("a"), Topic::Status(key()), mote_protocol::frame::encode(&told).expect("encodes"));
    let words = |fleet: &Fleet| -> Vec<_> {
        fleet
            .pods(None)
            .iter()
            .map(|pod| format!("{} {}", pod.place(), pod.summary(0).status))
            .collect()
    };
    assert_eq!(words(&fleet), ["a Running", "b NotSeen"]);
    assert_eq!(fleet.pods(None)[0].asked_in, Some(&Scope::All));

    let mut absorb = |scope: Scope, topic: Topic, payload: Vec<u8>| {
        let fleet_name = FleetName::new("f").expect("label");
        let topic = Address { fleet: fleet_name, scope, topic }.to_string();
        fleet.absorb(&Message { topic, payload });
    };
    let session = mote_protocol::node::Session { start: 1, connection: 1 };
    let will = Will { session, ..Will::default() };
    absorb(node("a"), Topic::Will, mote_protocol::frame::encode(&will).expect("encodes"));
    absorb(Scope::All, Topic::Spec(key()), Vec::new());
    assert_eq!(words(&fleet), ["a Unknown"]);
}
