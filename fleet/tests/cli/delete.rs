//! `mote delete`.

use crate::fleet::{TestFleet, pod};
use crate::node::Behaviour;

fn applied(fleet: &TestFleet, name: &str, nodes: &[&str]) {
    let file = fleet.file(&format!("{name}.yaml"), &pod(name, "a"));
    for node in nodes {
        fleet.mote(&["apply", "-f", &file, "--node", node, "--wait=false"]).ok();
    }
}

/// Everything that is retained below a node.
fn retained(fleet: &TestFleet, below: &str) -> Vec<String> {
    let topic = format!("mote/v1/lab/{below}");
    let output = std::process::Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &fleet.broker.port.to_string()])
        .args(["-t", &topic, "-F", "%t", "-W", "1", "--retained-only"])
        .output()
        .expect("mosquitto_sub is installed");
    String::from_utf8(output.stdout).expect("text").lines().map(String::from).collect()
}

#[test]
fn a_deleted_pod_leaves_nothing_behind() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "a"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    assert_eq!(retained(&fleet, "pi-7/+/pod/#").len(), 2);
    assert_eq!(fleet.mote(&["delete", "pod", "web"]).ok(), "pod \"web\" deleted (node pi-7)\n");
    assert_eq!(retained(&fleet, "pi-7/+/pod/#"), Vec::<String>::new());
    let error = fleet.mote(&["delete", "pod", "web"]).failed();
    assert_eq!(error, "Error from server (NotFound): pods \"web\" not found\n");
    fleet.mote(&["delete", "pod", "web", "--ignore-not-found"]).ok();
}

#[test]
fn a_pod_on_several_nodes_needs_a_node() {
    let fleet = TestFleet::start();
    let (_a, _b) = (fleet.node("pi-7"), fleet.node("pi-8"));
    applied(&fleet, "web", &["pi-7", "pi-8"]);
    let error = fleet.mote(&["delete", "pod/web"]).failed();
    assert_eq!(error, "error: pod \"web\" exists on several nodes: pi-7, pi-8; use --node\n");
    let out = fleet.mote(&["delete", "pod/web", "--node", "pi-8"]).ok();
    assert_eq!(out, "pod \"web\" deleted (node pi-8)\n");
    let file = fleet.file("again.yaml", &pod("web", "a"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-8"]).ok();
    let out = fleet.mote(&["delete", "-f", &file, "--all-nodes"]).ok();
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn an_offline_node_hears_of_it_later() {
    let fleet = TestFleet::start();
    let node = fleet.node("pi-7");
    applied(&fleet, "web", &["pi-7"]);
    fleet.mote(&["wait", "pod/web", "--for=condition=Ready"]).ok();
    node.vanish();
    let out = fleet.mote(&["delete", "pod", "web", "--now"]).ok();
    assert_eq!(out, "pod \"web\" deleted (node pi-7): sent, node offline\n");
    assert_eq!(retained(&fleet, "pi-7/+/pod/#").len(), 2, "tombstone and status stay");
    let table = fleet.mote(&["get", "pods", "--no-headers"]).ok();
    assert!(table.starts_with("web   0/1   Unknown"), "{table}");
}

#[test]
fn a_node_that_does_not_answer_times_out_and_force_does_not_wait() {
    let fleet = TestFleet::start();
    let node = fleet.node("pi-7");
    applied(&fleet, "web", &["pi-7"]);
    fleet.mote(&["wait", "pod/web", "--for=condition=Ready"]).ok();
    node.vanish();
    let deaf = fleet.node_that("pi-7", Behaviour::Ignores);
    // Its will of the first life is as new as its birth: say that a newer session began.
    let session = mote_protocol::node::Session { start: 2, connection: 1 };
    let birth = mote_protocol::node::Birth { session, ..mote_protocol::node::Birth::default() };
    deaf.say(mote_protocol::topic::Topic::Birth, &birth);
    fleet.mote(&["wait", "node/pi-7", "--for=condition=Ready"]).ok();
    let error = fleet.mote(&["delete", "pod", "web", "--timeout", "100ms"]).failed();
    assert_eq!(error, "error: timed out waiting for the condition on pods/web (node pi-7)\n");
    let out = fleet.mote(&["delete", "pod", "web", "--force"]).ok();
    assert_eq!(out, "pod \"web\" force deleted (node pi-7): sent\n");
}

#[test]
fn a_dead_node_is_forgotten_whole_and_a_live_one_is_not() {
    let fleet = TestFleet::start();
    let node = fleet.node("pi-7");
    applied(&fleet, "web", &["pi-7"]);
    let error = fleet.mote(&["delete", "node", "pi-7"]).failed();
    assert!(error.starts_with("error: node pi-7 is online"), "{error}");
    node.vanish();
    assert_eq!(fleet.mote(&["delete", "node", "pi-7"]).ok(), "node \"pi-7\" deleted\n");
    assert_eq!(retained(&fleet, "#"), Vec::<String>::new());
    let error = fleet.mote(&["delete", "node", "pi-7"]).failed();
    assert_eq!(error, "Error from server (NotFound): nodes \"pi-7\" not found\n");
}

#[test]
fn pods_are_selected_by_label() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    for name in ["a", "b"] {
        let file = fleet.file("x.yaml", &pod(name, "a"));
        fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    }
    let error = fleet.mote(&["delete", "pods"]).failed();
    assert!(error.contains("no name was specified"), "{error}");
    assert_eq!(
        fleet.mote(&["delete", "pods", "-l", "app=b"]).ok(),
        "pod \"b\" deleted (node pi-7)\n"
    );
    assert_eq!(fleet.mote(&["get", "pods", "-o", "name"]).ok(), "pod/a\n");
}

#[test]
fn what_was_applied_to_all_or_a_group_is_not_deleted_by_one_node() {
    let fleet = TestFleet::start();
    let (_a, _b) = (fleet.node("pi-7"), fleet.node("pi-8"));
    let file = fleet.file("x.yaml", &pod("web", "a"));
    fleet.mote(&["apply", "-f", &file, "--all-nodes"]).ok();
    let error = fleet.mote(&["delete", "pod", "web", "--node", "pi-7"]).failed();
    let told = "error: pod \"web\" was applied to all nodes; delete it there with --all-nodes\n";
    assert_eq!(error, told);
    assert_eq!(fleet.mote(&["get", "pods", "-o", "name"]).ok(), "pod/web\npod/web\n");
    let out = fleet.mote(&["delete", "pod", "web", "--all-nodes"]).ok();
    assert_eq!(out.lines().count(), 2, "{out}");

    let file = fleet.file("y.yaml", &pod("edge", "a"));
    fleet.mote(&["apply", "-f", &file, "--group", "gateways", "--wait=false"]).ok();
    let error = fleet.mote(&["delete", "pod", "edge", "--group", "others"]).failed();
    assert_eq!(error, "Error from server (NotFound): pods \"edge\" not found\n");
    let out = fleet.mote(&["delete", "pod", "edge", "--group", "gateways", "--force"]).ok();
    assert!(out.starts_with("pod \"edge\" force deleted"), "{out}");
    assert_eq!(fleet.mote(&["get", "pods", "-o", "name"]).ok(), "");
}

#[test]
fn all_namespaces_are_emptied_at_once() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    for namespace in ["default", "lab"] {
        let file = fleet.file("x.yaml", &pod("web", "a"));
        fleet.mote(&["apply", "-n", namespace, "-f", &file, "--node", "pi-7"]).ok();
    }
    let error = fleet.mote(&["delete", "pod", "web", "-A"]).failed();
    assert_eq!(error, "error: a resource cannot be deleted by name across all namespaces\n");
    let out = fleet.mote(&["delete", "pods", "--all", "-A"]).ok();
    assert_eq!(out.lines().count(), 2, "{out}");
    assert_eq!(fleet.mote(&["get", "pods", "-A", "-o", "name"]).ok(), "");
}
