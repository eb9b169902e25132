//! `mote top`.

use crate::fleet::{TestFleet, pod};
use crate::node::Behaviour;

#[test]
fn pods_are_shown_as_kubectl_shows_them() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let apply = |name: &str, namespace: &str| {
        let file = fleet.file("pod.yaml", &pod(name, "web:1"));
        fleet.mote(&["apply", "-f", &file, "--node", "pi-7", "-n", namespace]).ok();
    };
    assert_eq!(fleet.mote(&["top", "pods"]).ok(), "");
    apply("web", "default");
    apply("sensor", "default");
    apply("lamp", "shop");
    assert_eq!(
        fleet.mote(&["top", "pods"]).ok(),
        "NAME     CPU(cores)   MEMORY(bytes)\n\
         sensor   600m         4Mi\n\
         web      300m         4Mi\n"
    );
    assert_eq!(
        fleet.mote(&["top", "po", "-A", "--sort-by=cpu", "--no-headers"]).ok(),
        "default   sensor   600m   4Mi\n\
         shop      lamp     400m   4Mi\n\
         default   web      300m   4Mi\n"
    );
    assert_eq!(
        fleet.mote(&["top", "pod", "web", "--containers"]).ok(),
        "POD   NAME   CPU(cores)   MEMORY(bytes)\n\
         web   main   30m          2Mi\n\
         web   new    <unknown>    1Mi\n"
    );
    assert_eq!(
        fleet.mote(&["top", "pods", "-l", "app=lamp", "-A", "--no-headers"]).ok(),
        "shop   lamp   400m   4Mi\n"
    );
    let failed = fleet.mote(&["top", "pod", "nothing"]).failed();
    assert!(failed.contains("pods \"nothing\" not found"), "{failed}");
}

#[test]
fn the_same_name_on_several_nodes_is_told_apart() {
    let fleet = TestFleet::start();
    let (_one, _other) = (fleet.node("pi-7"), fleet.node("pi-8"));
    let file = fleet.file("pod.yaml", &pod("web", "web:1"));
    fleet.mote(&["apply", "-f", &file, "--all-nodes"]).ok();
    assert_eq!(
        fleet.mote(&["top", "pods", "--sort-by=memory"]).ok(),
        "NAME   CPU(cores)   MEMORY(bytes)   NODE\n\
         web    300m         4Mi             pi-7\n\
         web    300m         4Mi             pi-8\n"
    );
    let one = fleet.mote(&["top", "pods", "--node", "pi-8", "--no-headers"]).ok();
    assert_eq!(one, "web   300m   4Mi\n");
}

#[test]
fn nodes_that_cannot_tell_are_unknown_and_it_is_said_why() {
    let fleet = TestFleet::start();
    let _well = fleet.node("pi-7");
    let _old = fleet.node_that("old", Behaviour::IsOld);
    let _busy = fleet.node_that("busy", Behaviour::Refuses);
    fleet.node("gone").vanish();
    let shown = fleet.mote(&["top", "nodes", "--show-capacity"]);
    assert_eq!(
        (shown.code, &*shown.out),
        (
            0,
            "NAME   CPU(cores)   CPU(%)      MEMORY(bytes)   MEMORY(%)\n\
             pi-7   413m         10%         512Mi           <unknown>\n\
             busy   <unknown>    <unknown>   <unknown>       <unknown>\n\
             gone   <unknown>    <unknown>   <unknown>       <unknown>\n\
             old    <unknown>    <unknown>   <unknown>       <unknown>\n"
        )
    );
    for why in [
        "no metrics of node gone: it is offline",
        "no metrics of node old: its agent is too old for this: update it",
        "no metrics of node busy: Busy: others ask what is used already",
    ] {
        assert!(shown.err.contains(why), "{}", shown.err);
    }
    let failed = fleet.mote(&["top", "node", "gone"]).failed();
    assert!(failed.contains("error: metrics not available yet"), "{failed}");
    let failed = fleet.mote(&["top", "node", "nobody"]).failed();
    assert!(failed.contains("nodes \"nobody\" not found"), "{failed}");
}

#[test]
fn without_metrics_of_any_pod_there_are_none_yet() {
    let fleet = TestFleet::start();
    let node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    node.vanish();
    let failed = fleet.mote(&["top", "pods"]).failed();
    assert!(failed.contains("error: metrics not available yet"), "{failed}");
}
