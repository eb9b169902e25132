//! `mote apply`.

use std::io::Write as _;
use std::process::Stdio;

use crate::fleet::{TestFleet, pod};
use crate::node::Behaviour;

#[test]
fn a_pod_is_created_then_unchanged_then_configured() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    let apply = |file: &str| fleet.mote(&["apply", "-f", file, "--node", "pi-7"]).ok();
    assert_eq!(apply(&file), "pod/web created (node pi-7)\n");
    assert_eq!(apply(&file), "pod/web unchanged (node pi-7)\n");
    let file = fleet.file("web.yaml", &pod("web", "web:2"));
    assert_eq!(apply(&file), "pod/web configured (node pi-7)\n");
}

#[test]
fn what_cannot_change_in_place_needs_force_and_gets_another_uid() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let uid = || {
        let yaml = fleet.mote(&["get", "pod", "web", "-o", "yaml"]).ok();
        yaml.lines().find(|line| line.starts_with("  uid:")).expect("uid").to_owned()
    };
    let before = uid();
    let file = fleet.file("web.yaml", &format!("{}    command: [sh]\n", pod("web", "web:1")));
    let error = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).failed();
    assert!(
        error.starts_with("The Pod \"web\" is invalid: spec.containers[0].command: Forbidden: pod updates may not change"),
        "{error}"
    );
    assert_eq!(uid(), before);
    let out = fleet.mote(&["apply", "-f", &file, "--node", "pi-7", "--force"]).ok();
    assert_eq!(out, "pod/web replaced (node pi-7)\n");
    assert_ne!(uid(), before);
}

#[test]
fn a_node_that_refuses_says_why() {
    let fleet = TestFleet::start();
    let _node = fleet.node_that("pi-7", Behaviour::Refuses);
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    let error = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).failed();
    assert_eq!(
        error,
        "Error from server (Unsupported): node pi-7 refused pods \"web\": spec.hostIPC: this node does not do that\n"
    );
    let table = fleet.mote(&["get", "pods"]).ok();
    assert!(table.contains("web"), "{table}");
    let page = fleet.mote(&["describe", "pod", "web", "--show-events=false"]).ok();
    let labels: Vec<_> = page.lines().filter_map(|line| line.split_once(':')).collect();
    let of = |label| labels.iter().find(|(known, _)| *known == label).map(|(_, text)| text.trim());
    assert_eq!(of("Status"), Some("Pending"), "{page}");
    assert_eq!(of("Reason"), Some("Unsupported"), "{page}");
    assert_eq!(of("Message"), Some("spec.hostIPC: this node does not do that"), "{page}");
}

#[test]
fn what_was_refused_is_judged_anew_when_it_is_applied_once_more() {
    let fleet = TestFleet::start();
    let refusing = fleet.node_that("pi-7", Behaviour::Refuses);
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
                   spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}\n";
    let text = format!("{service}---\n{}", pod("web", "web:1"));
    let file = fleet.file("web.yaml", &text);
    let apply = || fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]);
    for _ in 0..2 {
        let error = apply().failed();
        assert_eq!(error.matches("node pi-7 refused").count(), 2, "{error}");
    }
    // The reason goes, and nobody says anything to the node: its answer is still the old one.
    refusing.relents();
    let created = apply().ok();
    let mut lines: Vec<_> = created.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["pod/web created (node pi-7)", "service/web created (node pi-7)"]);
    assert_eq!(apply().ok().matches("unchanged").count(), 2);
}

#[test]
fn the_slower_of_two_operators_is_told_conflict() {
    let fleet = TestFleet::start();
    let _node = fleet.node_that("pi-7", Behaviour::Prefers);
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    let error = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).failed();
    assert!(
        error.starts_with(
            "Error from server (Conflict): Operation cannot be fulfilled on pods \"web\": node pi-7"
        ),
        "{error}"
    );
}

#[test]
fn an_offline_node_gets_it_later_and_a_silent_one_times_out() {
    let fleet = TestFleet::start();
    fleet.node("pi-7").vanish();
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    let out = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    assert_eq!(out, "pod/web created (node pi-7): sent, node offline\n");
    let table = fleet.mote(&["get", "pods", "--no-headers"]).ok();
    assert!(table.starts_with("web   0/1   NotSeen   0"), "{table}");

    let _silent = fleet.node_that("pi-8", Behaviour::Ignores);
    let out = fleet.mote(&["apply", "-f", &file, "--node", "pi-8", "--timeout", "100ms"]).failed();
    assert!(out.starts_with("error: timed out waiting for node pi-8 to accept pod/web"), "{out}");
    let out = fleet.mote(&["apply", "-f", &file, "--node", "pi-8", "--wait=false"]).ok();
    assert_eq!(out, "pod/web unchanged (node pi-8): sent\n");
}

#[test]
fn targets_are_named_selected_or_all_and_never_guessed() {
    let fleet = TestFleet::start();
    let (_a, _b) = (fleet.node("pi-7"), fleet.node("pi-8"));
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    let error = fleet.mote(&["apply", "-f", &file]).failed();
    assert!(error.contains("no node: set spec.nodeName, or use --node, -l, --group or --all-nodes; known nodes: pi-7, pi-8"), "{error}");
    let out = fleet.mote(&["apply", "-f", &file, "-l", "kubernetes.io/hostname in (pi-8)"]).ok();
    assert_eq!(out, "pod/web created (node pi-8)\n");
    let error = fleet.mote(&["apply", "-f", &file, "-l", "a=b"]).failed();
    assert!(error.starts_with("error: no node's labels match the selector"), "{error}");

    let file = fleet.file("log.yaml", &pod("log", "log:1"));
    let out = fleet.mote(&["apply", "-f", &file, "--all"]).ok();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["pod/log created (node pi-7)", "pod/log created (node pi-8)"]);

    let named = pod("named", "a").replace("spec:\n", "spec:\n  nodeName: pi-7\n");
    let file = fleet.file("named.yaml", &named);
    assert_eq!(fleet.mote(&["apply", "-f", &file]).ok(), "pod/named created (node pi-7)\n");
    let error = fleet.mote(&["apply", "-f", &file, "--node", "pi-8"]).failed();
    assert!(error.contains("spec.nodeName is \"pi-7\", but --node is \"pi-8\""), "{error}");
}

#[test]
fn a_group_is_waited_for_as_far_as_nodes_say_that_they_are_in_it() {
    let fleet = TestFleet::start();
    let _member = fleet.node_in("pi-7", Some(&["blue", "kiosk"]));
    let (_stranger, _old) = (fleet.node("pi-8"), fleet.node_in("pi-9", None));
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    let apply = |target: &[&str]| {
        let mut arguments = vec!["apply", "-f", &file];
        arguments.extend(target);
        fleet.mote(&arguments)
    };
    assert_eq!(apply(&["--group", "kiosk"]).ok(), "pod/web created (node pi-7)\n");
    assert_eq!(apply(&["--group", "green"]).ok(), "pod/web created (@green): sent\n");
    let get = |more: &[&str]| {
        let mut arguments = vec!["get", "pods", "--no-headers", "-o", "wide"];
        arguments.extend(more);
        fleet.mote(&arguments).ok()
    };
    assert!(get(&["--node", "pi-7"]).contains("Running"), "{}", get(&[]));
    assert_eq!(get(&["--node", "pi-8"]), "");
    let ready = fleet.mote(&["wait", "pod/web", "--node", "pi-7", "--for=condition=Ready"]);
    assert_eq!(ready.ok(), "pod/web condition met\n");
    // What was asked of a group is nearer than what is asked of all.
    let all = apply(&["--all"]);
    let keeps = "node pi-7 keeps the pod \"web\" that was applied to its group kiosk";
    assert!(all.err.contains(keeps), "{all:?}");
    let nodes = ["jsonpath={range .items[*]}{.metadata.name}{.status.groups}{\"\\n\"}{end}"];
    let nodes = fleet.mote(&["get", "nodes", "-o", nodes[0]]).ok();
    assert_eq!(nodes, "pi-7[\"blue\",\"kiosk\"]\npi-8[]\npi-9\n");
}

#[test]
fn a_directory_and_stdin_are_applied_document_by_document() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    fleet.file("all/a.yaml", &format!("{}---\n{}", pod("a", "a"), pod("b", "b")));
    let list = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","metadata":{"name":"c"},"spec":{"containers":[{"name":"c","image":"c"}]}}]}"#;
    fleet.file("all/c.json", list);
    fleet.file("all/readme.txt", "no manifest");
    fleet.file("all/below/d.yaml", &pod("d", "d"));
    let folder = fleet.path("all").display().to_string();
    let out = fleet.mote(&["apply", "-f", &folder, "--node", "pi-7"]).ok();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    let expected =
        ["pod/a created (node pi-7)", "pod/b created (node pi-7)", "pod/c created (node pi-7)"];
    assert_eq!(lines, expected);
    let out = fleet.mote(&["apply", "-R", "-f", &folder, "--node", "pi-7"]).ok();
    assert!(out.contains("pod/d created"), "{out}");

    let mut child = fleet
        .command(&["apply", "-f", "-", "--node", "pi-7", "-o", "name"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mote runs");
    child.stdin.take().expect("piped").write_all(pod("e", "e").as_bytes()).expect("write");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "pod/e\n");
}

#[test]
fn what_has_no_effect_is_reported_and_strict_refuses_it() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let text =
        pod("web", "a").replace("spec:\n", "spec:\n  affinity: {podAffinity: {}}\n  nodName: x\n");
    let file = fleet.file("web.yaml", &text);
    let ran = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]);
    assert!(
        ran.err.contains("field \"spec.affinity\" is not supported by mote and has no effect"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("unknown field \"spec.nodName\" (did you mean \"nodeName\"?)"),
        "{ran:?}"
    );
    ran.ok();
    let error = fleet.mote(&["apply", "-f", &file, "--node", "pi-7", "--strict"]).failed();
    assert!(error.starts_with("error: error validating"), "{error}");
    assert!(error.contains("strict decoding error"), "{error}");
}

#[test]
fn a_bad_document_does_not_keep_the_good_ones_back() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let bad = pod("bad", "a").replace("image: a", "image: ''");
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
    let file = fleet.file("web.yaml", &format!("{bad}---\n{}---\n{other}", pod("good", "a")));
    let ran = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "pod/good created (node pi-7)\n"), "{ran:?}");
    assert!(
        ran.err.contains("The Pod \"bad\" is invalid: spec.containers[0].image: Required value"),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("(document 3): no matches for kind \"Deployment\" in version \"apps/v1\""),
        "{ran:?}"
    );
}

#[test]
fn a_dry_run_asks_nobody() {
    let fleet = TestFleet::start();
    let file = fleet.file("web.yaml", &pod("web", "a"));
    let nowhere = fleet.file(
        "nowhere",
        "current-context: a\ncontexts: [{name: a, broker: 'mqtt://127.0.0.1:1', fleet: f}]\n",
    );
    let run = |more: &[&str]| {
        let mut arguments = vec!["apply", "-f", &file, "--dry-run=client", "--config", &nowhere];
        arguments.extend(more);
        fleet.mote(&arguments).ok()
    };
    assert_eq!(run(&[]), "pod/web created (dry run)\n");
    let yaml = run(&["-o", "yaml"]);
    assert!(yaml.contains("  containers:\n  - image: a\n    name: main\n"), "{yaml}");
}

#[test]
fn a_node_or_group_that_nobody_knows_is_told_and_asked_all_the_same() {
    let fleet = TestFleet::start();
    let _node = fleet.node_in("pi-7", Some(&["kiosk"]));
    let file = fleet.file("web.yaml", &pod("web", "a"));
    let ran = fleet.mote(&["apply", "-f", &file, "--node", "pi-77"]);
    assert_eq!(ran.err, "Warning: no node \"pi-77\" is known to the broker\n");
    assert_eq!(ran.ok(), "pod/web created (node pi-77): sent, node offline\n");
    let ran = fleet.mote(&["apply", "-f", &file, "--group", "kisok"]);
    assert_eq!(ran.err, "Warning: no node of group \"kisok\" is known to the broker\n");
    let ran = fleet.mote(&["apply", "-f", &file, "--group", "kiosk"]);
    assert_eq!(ran.err, "");
}
