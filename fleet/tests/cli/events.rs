//! `mote events`.

use std::io::{BufRead as _, BufReader};

use mote_protocol::event::Event;
use mote_protocol::topic::Topic;

use crate::fleet::TestFleet;
use crate::node::Behaviour;
use crate::told::backed_off;

#[test]
fn nodes_are_asked_for_what_happened() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let table = fleet.mote(&["events"]).ok();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("LAST SEEN"), "{table}");
    assert!(lines[1].contains("Normal") && lines[1].contains("Node/pi-7"), "{table}");
    assert!(
        lines[2].starts_with("10s (x4 over 5m") || lines[2].contains("s (x4 over 5m"),
        "{table}"
    );
    assert!(
        lines[2].contains("Warning   BackOff   Pod/web     Back-off restarting failed container"),
        "{table}"
    );

    let only = fleet.mote(&["events", "--for", "pod/web", "--no-headers", "-o", "wide"]).ok();
    assert_eq!(only.lines().count(), 1, "{only}");
    assert!(only.contains("spec.containers{main}   pi-7"), "{only}");
    let none = fleet.mote(&["events", "--types", "normal", "--for=pod/web"]);
    assert_eq!((none.code, none.err.as_str()), (0, "No events found in default namespace.\n"));
    let reasons = fleet.mote(&["events", "-o", "jsonpath={.items[*].involvedObject.kind}"]).ok();
    assert_eq!(reasons, "Node Pod");
    let error = fleet.mote(&["events", "--for=pods"]).failed();
    assert_eq!(error, "error: --for must be in resource/name form\n");
}

#[test]
fn a_node_that_refuses_is_named_and_an_offline_one_not_asked() {
    let fleet = TestFleet::start();
    let _refuses = fleet.node_that("pi-7", Behaviour::Refuses);
    fleet.node("pi-8").vanish();
    let ran = fleet.mote(&["events", "-A"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    assert_eq!(ran.err, "Warning: no events of node pi-7: Forbidden: not today\nNo events found\n");
}

#[test]
fn watching_shows_what_happens() {
    let fleet = TestFleet::start();
    let node = fleet.node("pi-7");
    let mut child = fleet.command(&["events", "-w", "--for=pod/web"]).spawn().expect("mote runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().expect("more").expect("text");
    assert!(line().starts_with("LAST SEEN"));
    assert!(line().contains("BackOff"));
    // Both were shown, so the watcher is subscribed.
    node.tell(Topic::Event, &Event::default());
    node.tell(Topic::Event, &Event { reason: "Started".into(), ..backed_off() });
    let shown = line();
    assert!(shown.contains("Warning   Started   Pod/web"), "{shown}");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn events_are_got_as_well() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    fleet.mote(&["wait", "node/pi-7", "--for=condition=Ready"]).ok();
    let words = ["-A", "--no-headers", "-o", "json"];
    let got = |first: &[&str]| fleet.mote(&[first, &words].concat()).ok();
    assert_eq!(got(&["get", "ev"]), got(&["events"]));
    let error = fleet.mote(&["get", "events", "web"]).failed();
    assert!(error.starts_with("error: events have no names"), "{error}");
}
