//! `mote get` and `mote wait`.

use std::io::{BufRead as _, BufReader};

use crate::fleet::{TestFleet, pod};
use crate::node::Behaviour;

#[test]
fn tables_have_kubectls_columns() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines()
            .map(|line| {
                line.split("   ")
                    .map(|cell| cell.trim().to_owned())
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect()
    };
    let table = words(&fleet.mote(&["get", "pods"]).ok());
    assert_eq!(table[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(table[1][..4], ["web", "1/1", "Running", "0"]);
    let table = words(&fleet.mote(&["get", "po", "-A", "-o", "wide", "--show-labels"]).ok());
    assert_eq!(
        table[0],
        [
            "NAMESPACE",
            "NAME",
            "READY",
            "STATUS",
            "RESTARTS",
            "AGE",
            "IP",
            "NODE",
            "NOMINATED NODE",
            "READINESS GATES",
            "LABELS"
        ]
    );
    assert_eq!(table[1][6..], ["10.88.0.2", "pi-7", "<none>", "<none>", "app=web"]);
    let table = words(&fleet.mote(&["get", "nodes", "-o", "wide"]).ok());
    assert_eq!(
        table[0],
        [
            "NAME",
            "STATUS",
            "ROLES",
            "AGE",
            "VERSION",
            "INTERNAL-IP",
            "EXTERNAL-IP",
            "OS-IMAGE",
            "KERNEL-VERSION",
            "CONTAINER-RUNTIME",
            "GROUPS"
        ]
    );
    assert_eq!(
        table[1],
        [
            "pi-7",
            "Ready",
            "edge",
            "10m",
            "v0.1.0",
            "10.0.0.7",
            "<none>",
            "Debian GNU/Linux 12 (bookworm)",
            "6.6.31",
            "mote://0.1.0",
            "<none>"
        ]
    );
}

#[test]
fn nothing_found_is_said_as_kubectl_says_it() {
    let fleet = TestFleet::start();
    let ran = fleet.mote(&["get", "pods"]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "", "No resources found in default namespace.\n")
    );
    assert_eq!(fleet.mote(&["get", "nodes"]).err, "No resources found\n");
    let error = fleet.mote(&["get", "pod", "web"]).failed();
    assert_eq!(error, "Error from server (NotFound): pods \"web\" not found\n");
    let error = fleet.mote(&["get", "ingress"]).failed();
    assert!(
        error.starts_with("error: the server doesn't have a resource type \"ingress\""),
        "{error}"
    );
    let error = fleet.mote(&["get", "endpoints"]).failed();
    assert!(error.contains("\"endpoints\": `mote describe service NAME` lists those"), "{error}");
    let error = fleet.mote(&["get", "pods", "-o", "foo"]).failed();
    assert!(
        error.contains("unable to match a printer suitable for the output format \"foo\""),
        "{error}"
    );
}

#[test]
fn objects_are_kubernetes_objects() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let list: serde_json::Value =
        serde_json::from_str(&fleet.mote(&["get", "pods", "-o", "json"]).ok()).expect("json");
    assert_eq!(list["kind"], "List");
    let pod = &list["items"][0];
    assert_eq!(pod["metadata"]["labels"]["app"], "web");
    assert_eq!(pod["spec"]["nodeName"], "pi-7");
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["podIP"], "10.88.0.2");
    assert_eq!(pod["status"]["hostIP"], "10.0.0.7");
    assert_eq!(
        pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
            .as_str()
            .map(str::len),
        Some(20)
    );
    let one: serde_json::Value =
        serde_json::from_str(&fleet.mote(&["get", "pod", "web", "-o", "json"]).ok()).expect("json");
    assert_eq!(one, *pod);
    // What was read can be applied again, and is the same.
    let yaml = fleet.mote(&["get", "pod", "web", "-o", "yaml"]).ok();
    let file = fleet.file("again.yaml", &yaml);
    let ran = fleet.mote(&["apply", "-f", &file]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("pod/web unchanged (node pi-7)\n", ""));
}

#[test]
fn templates_print_what_they_ask_for() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    for name in ["a", "b"] {
        let file = fleet.file("x.yaml", &pod(name, "a"));
        fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    }
    let get = |template: &str| fleet.mote(&["get", "pods", "-o", template]);
    let names = get("jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}").ok();
    assert_eq!(names, "a\nb\n");
    let file = fleet.file("template", "{.items[?(@.metadata.name==\"b\")].status.phase}");
    assert_eq!(get(&format!("jsonpath-file={file}")).ok(), "Running");
    let error = get("jsonpath={.items[").failed();
    assert!(error.contains("error parsing jsonpath {.items[: unterminated array"), "{error}");
    let error = get("jsonpath={.items[7]}").failed();
    assert_eq!(
        error,
        "error: error executing jsonpath \"{.items[7]}\": array index out of bounds: index 7, length 2\n"
    );
    let ran =
        fleet.mote(&["wait", "pod/a", "--for=jsonpath={.status.phase}=Running", "--timeout=5s"]);
    assert_eq!(ran.ok(), "pod/a condition met\n");
}

#[test]
fn a_pod_on_several_nodes_is_listed_and_fails() {
    let fleet = TestFleet::start();
    let (_a, _b) = (fleet.node("pi-7"), fleet.node("pi-8"));
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    for node in ["pi-7", "pi-8"] {
        fleet.mote(&["apply", "-f", &file, "--node", node]).ok();
    }
    let ran = fleet.mote(&["get", "pod", "web"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.out.lines().count(), 3, "{ran:?}");
    assert_eq!(ran.err, "error: pod \"web\" exists on several nodes: pi-7, pi-8; use --node\n");
    assert_eq!(fleet.mote(&["get", "pod", "web", "--node", "pi-8"]).ok().lines().count(), 2);
}

#[test]
fn watching_shows_each_change_once() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let mut child = fleet.command(&["get", "pods", "-w"]).spawn().expect("mote runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    // The watcher may connect after this: then it lists the pod, and shows it once all the same.
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let mut line = || lines.next().expect("more").expect("text");
    let mut shown = line();
    while !shown.contains("Running") {
        shown = line();
    }
    fleet.mote(&["delete", "pod", "web"]).ok();
    let last = line();
    assert!(last.starts_with("web "), "{last}");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn waiting_ends_when_it_is_so_or_when_time_is_up() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    let created = fleet.command(&["wait", "pod/web", "--for=create"]).spawn().expect("mote runs");
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let created = created.wait_with_output().expect("ends");
    assert_eq!(String::from_utf8_lossy(&created.stdout), "pod/web condition met\n");
    let wait = |more: &[&str]| {
        let mut arguments = vec!["wait", "pod/web", "--timeout", "200ms"];
        arguments.extend(more);
        fleet.mote(&arguments)
    };
    assert_eq!(wait(&["--for=condition=Ready"]).ok(), "pod/web condition met\n");
    let error = wait(&["--for=condition=Ready=False"]).failed();
    assert_eq!(error, "error: timed out waiting for the condition on pods/web\n");
    let gone = fleet.command(&["wait", "pod/web", "--for=delete"]).spawn().expect("mote runs");
    fleet.mote(&["delete", "pod", "web"]).ok();
    assert!(gone.wait_with_output().expect("ends").status.success());
    assert_eq!(
        wait(&["--for=condition=Ready"]).failed(),
        "Error from server (NotFound): pods \"web\" not found\n"
    );
    assert_eq!(
        fleet.mote(&["wait", "node", "pi-7", "--for=condition=ready"]).ok(),
        "node/pi-7 condition met\n"
    );
    let error = wait(&["--for=luck"]).failed();
    assert!(error.starts_with("error: unrecognized condition: \"luck\""), "{error}");
}

#[test]
fn pods_of_several_nodes_are_told_apart_and_a_refused_pod_is_called_so() {
    let fleet = TestFleet::start();
    let _a = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "a"));
    let ran = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]);
    assert_eq!(ran.err, "");
    let table = fleet.mote(&["get", "pods"]).ok();
    assert!(table.lines().all(|line| line.split_whitespace().count() == 5), "{table}");
    let _b = fleet.node_that("pi-8", Behaviour::Refuses);
    fleet.mote(&["apply", "-f", &file, "--node", "pi-8"]).failed();
    let table = fleet.mote(&["get", "pods"]).ok();
    let ends: Vec<_> = table.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(ends, ["NODE", "pi-7", "pi-8"], "{table}");
    assert!(table.contains("Refused:Unsupported"), "{table}");
}

#[test]
fn several_kinds_are_shown_below_each_other() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", &pod("web", "web:1"));
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let both = fleet.mote(&["get", "pods,nodes"]).ok();
    let firsts: Vec<_> =
        both.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(firsts, ["NAME", "pod/web", "", "NAME", "node/pi-7"], "{both}");
    assert_eq!(
        fleet.mote(&["get", "pod/web", "node/pi-7", "-o", "name"]).ok(),
        "pod/web\nnode/pi-7\n"
    );
    let kinds = fleet.mote(&["get", "no,po", "-o", "jsonpath={.items[*].kind}"]).ok();
    assert_eq!(kinds, "Node Pod");
    let all = fleet.mote(&["get", "all"]).ok();
    assert!(all.lines().nth(1).is_some_and(|line| line.starts_with("pod/web ")), "{all}");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n\
                   spec: {clusterIP: None, selector: {app: web}}\n";
    let file = fleet.file("shop.yaml", service);
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    assert_eq!(fleet.mote(&["get", "all", "-o", "name"]).ok(), "pod/web\nservice/shop\n");
    let error = fleet.mote(&["get", "pods,nodes", "-w"]).failed();
    assert_eq!(error, "error: you may only specify a single resource type with --watch\n");
    let described = fleet.mote(&["describe", "pod/web", "node/pi-7", "--show-events=false"]).ok();
    let names: Vec<_> = described.lines().filter(|line| line.starts_with("Name:")).collect();
    assert_eq!(names.len(), 2, "{described}");
}
