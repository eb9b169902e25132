//! `mote logs`.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use crate::fleet::{TestFleet, pod};
use crate::node::{Behaviour, FakeNode};

const TWO: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  initContainers:\n  - \
                   name: prepare\n    image: a\n  containers:\n  - name: main\n    image: a\n  - name: \
                   side\n    image: a\n";

fn with_pod(text: &str) -> (TestFleet, FakeNode) {
    let fleet = TestFleet::start();
    let node = fleet.node("pi-7");
    let file = fleet.file("pod.yaml", text);
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    (fleet, node)
}

#[test]
fn a_log_is_printed_whole_however_long_it_is() {
    let (fleet, _node) = with_pod(&pod("web", "a"));
    let text = fleet.mote(&["logs", "web"]).ok();
    let expected: Vec<_> = (0..1000).map(|line| format!("main {line}\n")).collect();
    let expected = expected.concat();
    assert_eq!(text, expected);
    assert_eq!(fleet.mote(&["logs", "pod/web", "--tail=2"]).ok(), "main 0\nmain 1\n");
    let prefixed = fleet.mote(&["logs", "web", "--tail=1", "--prefix"]).ok();
    assert_eq!(prefixed, "[pod/web/main] main 0\n");
}

#[test]
fn of_several_containers_the_first_is_shown_unless_others_are_named() {
    let (fleet, _node) = with_pod(TWO);
    let ran = fleet.mote(&["logs", "web", "--tail=1"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "main 0\n"));
    assert_eq!(ran.err, "Defaulted container \"main\" out of: main, side, prepare (init)\n");
    let ran = fleet.mote(&["logs", "web", "-c", "side", "--tail=1"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("side 0\n", ""));
    assert_eq!(fleet.mote(&["logs", "web", "side", "--tail=1"]).ok(), "side 0\n");
    let all = fleet.mote(&["logs", "web", "--all-containers", "--tail=1"]).ok();
    assert_eq!(all, "prepare 0\nmain 0\nside 0\n");
}

#[test]
fn pods_are_selected_by_label_wherever_they_are() {
    let fleet = TestFleet::start();
    let (_here, there) = (fleet.node("pi-7"), fleet.node("pi-8"));
    for (name, node) in [("a", "pi-7"), ("b", "pi-8"), ("other", "pi-7")] {
        let text = pod(name, "x").replace("app: a", "app: web").replace("app: b", "app: web");
        let file = fleet.file("x.yaml", &text);
        fleet.mote(&["apply", "-f", &file, "--node", node]).ok();
    }
    let all = fleet.mote(&["logs", "-l", "app=web", "--prefix"]).ok();
    let lines: Vec<_> = all.lines().collect();
    assert_eq!(lines.len(), 20, "ten lines of each: {all}");
    assert_eq!((lines[0], lines[10]), ("[pod/a/main] main 0", "[pod/b/main] main 0"));
    assert_eq!(fleet.mote(&["logs", "-l", "app=web", "--tail=1"]).ok(), "main 0\nmain 0\n");
    let error = fleet.mote(&["logs", "-f", "-l", "app=web", "--max-log-requests=1"]).failed();
    assert_eq!(
        error,
        "error: you are attempting to follow 2 log streams, but maximum allowed concurrency is 1, \
         use --max-log-requests to increase the limit\n"
    );
    let ran = fleet.mote(&["logs", "-l", "app=none"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "No resources found in default namespace.\n"));
    fleet.mote(&["logs"]).failed();

    there.vanish();
    let ran = fleet.mote(&["logs", "-l", "app=web", "--tail=1"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "main 0\n"), "{}", ran.err);
    assert_eq!(ran.err, "error: node pi-8 is offline: its logs can be read when it is back\n");
}

#[test]
fn what_cannot_be_shown_is_said_in_the_words_of_kubectl() {
    let (fleet, node) = with_pod(&pod("web", "a"));
    let failed = |words: &[&str]| fleet.mote(words).failed();
    assert_eq!(
        failed(&["logs", "web", "-p"]),
        "Error from server (BadRequest): previous terminated container \"main\" in pod \"web\" not found\n"
    );
    assert_eq!(
        failed(&["logs", "none"]),
        "Error from server (NotFound): pods \"none\" not found\n"
    );
    let error = failed(&["logs", "web", "-c", "other"]);
    assert_eq!(error, "error: container other is not valid for pod web\n");
    failed(&["logs", "web", "--since", "5s", "--since-time", "2026-01-01T00:00:00Z"]);
    failed(&["logs", "web", "--since-time", "yesterday"]);
    node.vanish();
    assert_eq!(
        failed(&["logs", "web"]),
        "error: node pi-7 is offline: its logs can be read when it is back\n"
    );
}

#[test]
fn a_node_that_does_not_obey_is_heard() {
    let fleet = TestFleet::start();
    let _node = fleet.node_that("pi-7", Behaviour::Refuses);
    let file = fleet.file("pod.yaml", &pod("web", "a"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7", "--wait=false"]).ok();
    let error = fleet.mote(&["logs", "web"]).failed();
    assert_eq!(error, "Error from server (Forbidden): not today\n");
}

#[test]
fn ctrl_c_ends_a_stream_at_the_node_and_a_lost_node_ends_it_here() {
    let (fleet, node) = with_pod(&pod("web", "a"));
    let follow = || {
        let mut child = fleet.command(&["logs", "-f", "web", "--tail=1"]).spawn().expect("mote");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "main 0");
        child
    };
    let mut child = follow();
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill is installed").success());
    assert!(child.wait().expect("it ends").success());
    assert_eq!(node.stream_ended(), "Closed");

    let child = follow();
    node.vanish();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "error: node pi-7 went offline\n");
}
