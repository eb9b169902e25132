//! `mote doctor`.

use crate::fleet::TestFleet;
use crate::node::Behaviour;

#[test]
fn a_node_says_what_ails_it() {
    let fleet = TestFleet::start();
    let _well = fleet.node("pi-7");
    let _ill = fleet.node_that("pi-8", Behaviour::Refuses);
    let well = fleet.mote(&["doctor", "pi-7"]).ok();
    assert_eq!(well, "Hint     ClockNotSynchronized: nobody\nno problems, 1 hint\n");
    let ill = fleet.mote(&["doctor", "pi-8"]);
    let expected =
        "Problem  DiskFull: no room\n         -> remove something\n1 problem, no hints\n";
    assert_eq!((ill.code, &*ill.out), (1, expected));
    let json = fleet.mote(&["doctor", "pi-8", "-o", "json"]);
    let value: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((json.code, &value["node"]), (1, &"pi-8".into()));
    assert_eq!(value["findings"][0]["reason"], "DiskFull");
    let path = "jsonpath={.findings[*].severity}";
    assert_eq!(fleet.mote(&["doctor", "pi-7", "-o", path]).ok(), "Hint");
}

#[test]
fn nodes_that_cannot_say_are_told_apart() {
    let fleet = TestFleet::start();
    let _old = fleet.node_that("old", Behaviour::IsOld);
    let gone = fleet.node("gone");
    gone.vanish();
    let failed = |name: &str| fleet.mote(&["doctor", name]).failed();
    assert!(failed("old").contains("its agent is too old"), "{}", failed("old"));
    assert!(failed("gone").contains("is offline"), "{}", failed("gone"));
    assert!(failed("nobody").contains("nodes \"nobody\" not found"));
}
