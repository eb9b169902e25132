//! A listing is complete, however much there is to list.

use mote_protocol::name::{Kind, Namespace, ObjectKey, ObjectName, Uid};
use mote_protocol::object::{Pod, Revision};
use mote_protocol::pod::Container;
use mote_protocol::topic::Topic;

use crate::fleet::{TestFleet, pod};
use crate::told::running;

/// More than brokers hold for a slow subscriber by default (mosquitto: 1000).
const PODS: u64 = 3000;

#[test]
fn thousands_of_retained_statuses_are_all_listed() {
    let fleet = TestFleet::start();
    let node = fleet.node("pi-7");
    let mut asked = Pod::default();
    let container = Container { name: "main".into(), image: "a".into(), ..Container::default() };
    asked.spec.containers = vec![container];
    for number in 0..PODS {
        let key = ObjectKey {
            kind: Kind::Pod,
            namespace: Namespace::new("default").expect("label"),
            name: ObjectName::new(&format!("pod-{number}")).expect("name"),
        };
        let revision = Revision { number, ..Revision::default() };
        let status = running(revision, Uid::from_random([1; 16]), &asked);
        node.say(Topic::Status(key), &status);
    }
    // The node says things in order: when it answers this, it has said all before.
    let file = fleet.file("last.yaml", &pod("last", "a"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let names = fleet.mote(&["get", "pods", "-o", "name"]).ok();
    let expected = usize::try_from(PODS).expect("small") + 1;
    assert_eq!(names.lines().count(), expected);
}
