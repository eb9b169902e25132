//! `ConfigMap` and Secret, from applying to deleting.

use std::process::Command;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::fleet::{TestFleet, golden, pod};
use crate::node::Behaviour;

/// A `ConfigMap` with one key.
fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         data: {{key: {value}}}\n"
    )
}

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: keys}
type: kubernetes.io/basic-auth
data: {password: aHVudGVyMg==}
stringData: {username: root}
";

fn applied(fleet: &TestFleet, text: &str, target: &[&str]) -> String {
    let file = fleet.file("x.yaml", text);
    let mut arguments = vec!["apply", "-f", &file];
    arguments.extend(target);
    fleet.mote(&arguments).ok()
}

fn json(fleet: &TestFleet, arguments: &[&str]) -> Value {
    let mut arguments = arguments.to_vec();
    arguments.extend(["-o", "json"]);
    serde_json::from_str(&fleet.mote(&arguments).ok()).expect("json")
}

/// What is retained below a scope.
fn retained(fleet: &TestFleet, below: &str) -> String {
    let topic = format!("mote/v1/lab/{below}");
    let output = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &fleet.broker.port.to_string()])
        .args(["-t", &topic, "-F", "%t", "-W", "1", "--retained-only"])
        .output();
    String::from_utf8(output.expect("mosquitto_sub is installed").stdout).expect("text")
}

#[test]
fn data_is_created_then_unchanged_then_configured() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let to = ["--node", "pi-7"];
    let map = |value| applied(&fleet, &config_map("web", value), &to);
    assert_eq!(map("a"), "configmap/web created (node pi-7)\n");
    assert_eq!(map("a"), "configmap/web unchanged (node pi-7)\n");
    assert_eq!(map("b"), "configmap/web configured (node pi-7)\n");
    assert_eq!(applied(&fleet, SECRET, &to), "secret/keys created (node pi-7)\n");
    assert_eq!(applied(&fleet, SECRET, &to), "secret/keys unchanged (node pi-7)\n");
}

#[test]
fn immutable_data_needs_force() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let fixed = |value: &str| format!("{}immutable: true\n", config_map("web", value));
    applied(&fleet, &fixed("a"), &["--node", "pi-7"]);
    let apply = |text: &str, more: &[&str]| {
        let file = fleet.file("x.yaml", text);
        let mut arguments = vec!["apply", "-f", &file, "--node", "pi-7"];
        arguments.extend(more);
        fleet.mote(&arguments)
    };
    let field = |name| format!("{name}: Forbidden: field is immutable when `immutable` is set");
    assert_eq!(
        apply(&fixed("b"), &[]).failed(),
        format!("The ConfigMap \"web\" is invalid: {}\n", field("data"))
    );
    assert_eq!(
        apply(&config_map("web", "b"), &[]).failed(),
        format!(
            "The ConfigMap \"web\" is invalid: \n* {}\n* {}\n",
            field("immutable"),
            field("data")
        )
    );
    let out = apply(&fixed("b"), &["--force"]).ok();
    assert_eq!(out, "configmap/web replaced (node pi-7)\n");
    assert_eq!(json(&fleet, &["get", "cm", "web"])["data"]["key"], "b");
}

#[test]
fn pods_come_after_what_they_are_made_of() {
    let fleet = TestFleet::start();
    let file = fleet.file(
        "all.yaml",
        &format!("{}---\n{SECRET}---\n{}", pod("web", "a"), config_map("web", "a")),
    );
    let out = fleet.mote(&["apply", "-f", &file, "--node", "pi-7", "-o", "name"]).ok();
    assert_eq!(out, "secret/keys\nconfigmap/web\npod/web\n");
    let error = fleet.mote(&["apply", "-f", &file]).failed();
    assert!(
        error.contains("(document 2): no node: use --node, -l, --group or --all-nodes"),
        "{error}"
    );
    // As long as one of them cannot be sent, none is.
    let named = pod("named", "a").replace("spec:\n", "spec:\n  nodeName: pi-7\n");
    let text = format!("{}---\n{named}", config_map("first", "a"));
    let file = fleet.file("all.yaml", &text);
    let error = fleet.mote(&["apply", "-f", &file, "--all-nodes"]).failed();
    assert!(error.contains("-l, --group and --all-nodes are for pods without it"), "{error}");
    assert_eq!(retained(&fleet, "@all/spec/configmap/default/first"), "");
}

#[test]
fn a_secret_that_is_wrong_is_told_without_its_contents() {
    let fleet = TestFleet::start();
    let wrong = SECRET.replace("aHVudGVyMg==", "hunter2!");
    let file = fleet.file("x.yaml", &wrong);
    let error = fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).failed();
    assert_eq!(
        error,
        "The Secret \"keys\" is invalid: data[password]: Invalid value: \
         \"<secret contents redacted>\": illegal base64 data at input byte 7\n"
    );
    let file = fleet.file("x.yaml", &format!("{SECRET}stringdata: {{a: b}}\n"));
    let ran = fleet.mote(&["apply", "-f", &file, "--dry-run=client"]);
    let told = "unknown field \"stringdata\" (did you mean \"stringData\"?)";
    assert!(ran.err.contains(told), "{ran:?}");
}

#[test]
fn a_node_that_refuses_or_knows_better_says_so() {
    let fleet = TestFleet::start();
    let _deaf = fleet.node_that("pi-7", Behaviour::Refuses);
    let _stubborn = fleet.node_that("pi-8", Behaviour::Prefers);
    let file = fleet.file("x.yaml", &config_map("web", "a"));
    let apply = |node: &str| fleet.mote(&["apply", "-f", &file, "--node", node]).failed();
    assert_eq!(
        apply("pi-7"),
        "Error from server (TooLarge): node pi-7 refused configmaps \"web\": data: the node has \
         no room\n"
    );
    let start = "Error from server (Conflict): Operation cannot be fulfilled on configmaps \"web\"";
    assert!(apply("pi-8").starts_with(start));
    let map = json(&fleet, &["get", "cm", "web", "--node", "pi-7"]);
    let condition = &map["status"]["conditions"][0];
    assert_eq!(condition["status"], "False");
    assert_eq!(condition["message"], "node pi-7: data: the node has no room");
    let page = fleet.mote(&["describe", "cm", "web", "--node", "pi-7", "--show-events=false"]);
    assert!(page.ok().contains("  pi-7   False      TooLarge   data: the node has no room\n"));
}

#[test]
fn tables_have_kubectls_columns_and_tell_places_apart() {
    let fleet = TestFleet::start();
    let (_a, _b) = (fleet.node("pi-7"), fleet.node("pi-8"));
    let cells = |arguments: &[&str]| -> Vec<Vec<String>> {
        let table = fleet.mote(arguments).ok();
        table.lines().map(|line| line.split_whitespace().map(String::from).collect()).collect()
    };
    applied(&fleet, SECRET, &["--all-nodes"]);
    let table = cells(&["get", "secrets"]);
    assert_eq!(table[0], ["NAME", "TYPE", "DATA", "AGE"]);
    assert_eq!(table[1][..3], ["keys", "kubernetes.io/basic-auth", "2"]);
    assert_eq!(table.len(), 2, "one object, however many nodes have it: {table:?}");
    applied(&fleet, &config_map("web", "a"), &["--all-nodes"]);
    assert_eq!(cells(&["get", "cm"])[0], ["NAME", "DATA", "AGE"]);
    applied(&fleet, &config_map("web", "b"), &["--node", "pi-8"]);
    let table = cells(&["get", "configmaps"]);
    assert_eq!(table[0], ["NAME", "DATA", "AGE", "NODE"]);
    assert_eq!([&table[1][3], &table[2][3]], ["@all", "pi-8"]);
    let table = cells(&["get", "cm", "-A", "-o", "wide", "--show-labels"]);
    assert_eq!(table[0], ["NAMESPACE", "NAME", "DATA", "AGE", "NODE", "ACCEPTED", "LABELS"]);
    assert_eq!(table[1][4..], ["@all", "1/1", "app=web"]);
    assert_eq!(cells(&["get", "cm,secret", "-o", "name"]).concat().len(), 3);
    let error = fleet.mote(&["get", "cm", "web"]).failed();
    let told = "error: configmap \"web\" was applied in several places: @all, pi-8; use --node\n";
    assert_eq!(error, told);
    assert_eq!(json(&fleet, &["get", "cm", "web", "--node", "pi-8"])["data"]["key"], "b");
    assert_eq!(json(&fleet, &["get", "cm", "web", "--node", "pi-7"])["data"]["key"], "a");
    assert_eq!(cells(&["get", "cm", "-l", "app=other"]), Vec::<Vec<String>>::new());
    let none = fleet.mote(&["get", "secrets", "-n", "lab"]);
    assert_eq!(none.err, "No resources found in lab namespace.\n");
    assert_eq!(cells(&["get", "all"]), Vec::<Vec<String>>::new());
}

#[test]
fn objects_are_kubernetes_objects_and_can_be_applied_again() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    applied(&fleet, SECRET, &["--node", "pi-7"]);
    let secret = json(&fleet, &["get", "secret", "keys"]);
    assert_eq!(secret["kind"], "Secret");
    assert_eq!(secret["type"], "kubernetes.io/basic-auth");
    assert_eq!(secret["data"], json!({ "password": "aHVudGVyMg==", "username": "cm9vdA==" }));
    assert_eq!(secret["status"]["nodes"], json!([{ "name": "pi-7", "accepted": true }]));
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n\
                data: {'on': \"a\\nb\\n\"}\nbinaryData: {raw: AAH/}\n";
    applied(&fleet, text, &["--node", "pi-7"]);
    for what in [["secret", "keys"], ["configmap", "web"]] {
        let yaml = fleet.mote(&["get", what[0], what[1], "-o", "yaml"]).ok();
        let ran = applied(&fleet, &yaml, &["--node", "pi-7"]);
        assert_eq!(ran, format!("{}/{} unchanged (node pi-7)\n", what[0], what[1]));
    }
    let yaml = fleet.mote(&["get", "cm/web", "-o", "yaml"]).ok();
    assert!(
        yaml.contains("binaryData:\n  raw: AAH/\ndata:\n  \"on\": |\n    a\n    b\n"),
        "{yaml}"
    );
}

#[test]
fn pages_show_data_but_no_secret() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, annotations: {note: x}}\n\
                data: {a.conf: \"a\\n\\tb\\n\", one: 'line'}\nbinaryData: {raw: AAH/}\n";
    applied(&fleet, text, &["--all-nodes"]);
    let steady = |page: String| -> String {
        let lines = page.lines().filter(|line| !line.starts_with("Revision:"));
        lines.fold(String::new(), |text, line| text + line + "\n")
    };
    let page = fleet.mote(&["describe", "cm", "web", "--show-events=false"]).ok();
    golden("describe-configmap", &steady(page));
    let copy = "kubectl.kubernetes.io/last-applied-configuration: hunter2";
    let text = SECRET.replace("{name: keys}", &format!("{{name: keys, annotations: {{{copy}}}}}"));
    applied(&fleet, &text, &["--node", "pi-7"]);
    let page = fleet.mote(&["describe", "secret/keys"]).ok();
    assert!(!page.contains("hunter2"), "{page}");
    golden("describe-secret", &steady(page));
}

#[test]
fn deleting_waits_until_the_nodes_let_go() {
    let fleet = TestFleet::start();
    let (_a, _b) = (fleet.node("pi-7"), fleet.node("pi-8"));
    applied(&fleet, &config_map("web", "a"), &["--all-nodes"]);
    let out = fleet.mote(&["delete", "configmap", "web"]).ok();
    // In the order of their answers.
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    let nodes = ["pi-7", "pi-8"].map(|node| format!("configmap \"web\" deleted (node {node})"));
    assert_eq!(lines, nodes);
    assert_eq!(retained(&fleet, "+/+/configmap/#"), "");
    let error = fleet.mote(&["delete", "cm", "web"]).failed();
    assert_eq!(error, "Error from server (NotFound): configmaps \"web\" not found\n");

    let text = format!("{}---\n{SECRET}---\n{}", config_map("web", "a"), pod("web", "a"));
    let file = fleet.file("mixed.yaml", &text);
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let out = fleet.mote(&["delete", "-f", &file]).ok();
    let deleted = ["configmap \"web\"", "secret \"keys\"", "pod \"web\""];
    assert_eq!(out, deleted.map(|what| format!("{what} deleted (node pi-7)\n")).concat());
}

#[test]
fn data_is_deleted_by_label_kind_and_place() {
    let fleet = TestFleet::start();
    let _node = fleet.node_in("pi-7", Some(&["blue"]));
    for name in ["a", "b", "c"] {
        applied(&fleet, &config_map(name, "x"), &["--node", "pi-7"]);
    }
    applied(&fleet, SECRET, &["--group", "blue"]);
    let error = fleet.mote(&["delete", "secrets"]).failed();
    assert!(error.contains("use --all for all secrets"), "{error}");
    let out = fleet.mote(&["delete", "cm", "-l", "app=b"]).ok();
    assert_eq!(out, "configmap \"b\" deleted (node pi-7)\n");
    let error = fleet.mote(&["delete", "secret", "keys", "--node", "pi-7"]).failed();
    let told =
        "error: secret \"keys\" was applied to group blue; delete it there with --group blue\n";
    assert_eq!(error, told);
    let error = fleet.mote(&["delete", "cm", "keys", "--group", "blue"]).failed();
    assert_eq!(error, "Error from server (NotFound): configmaps \"keys\" not found\n");
    let out = fleet.mote(&["delete", "secret", "keys", "--group", "blue"]).ok();
    assert_eq!(out, "secret \"keys\" deleted (node pi-7)\n");
    let out = fleet.mote(&["delete", "cm,secrets", "--all", "-o", "name"]).ok();
    assert_eq!(out, "configmap/a\nconfigmap/c\n");
}

#[test]
fn what_was_applied_nearer_outlives_what_was_applied_to_all() {
    let fleet = TestFleet::start();
    let (_a, _b) = (fleet.node("pi-7"), fleet.node("pi-8"));
    applied(&fleet, &config_map("web", "near"), &["--node", "pi-7"]);
    let file = fleet.file("all.yaml", &config_map("web", "far"));
    let ran = fleet.mote(&["apply", "-f", &file, "--all-nodes"]);
    let keeps = "node pi-7 keeps the configmap \"web\" that was applied to it alone";
    assert!(ran.err.contains(keeps), "{ran:?}");
    assert_eq!(ran.ok(), "configmap/web created (node pi-8)\n");
    let map = json(&fleet, &["get", "cm", "web", "--node", "pi-8"]);
    assert_eq!(map["status"]["scope"], "@all");
    assert_eq!(map["status"]["conditions"][0]["status"], "True");
    assert_eq!(map["status"]["nodes"][0]["reason"], "Shadowed");
}

#[test]
fn an_offline_node_hears_later_and_is_waited_for() {
    let fleet = TestFleet::start();
    let node = fleet.node("pi-7");
    applied(&fleet, &config_map("web", "a"), &["--node", "pi-7"]);
    let ready = fleet.mote(&["wait", "cm/web", "--for=condition=Accepted", "--timeout=5s"]);
    assert_eq!(ready.ok(), "configmap/web condition met\n");
    let path = fleet.mote(&["wait", "cm", "web", "--for=jsonpath={.data.key}=a", "--timeout=5s"]);
    assert_eq!(path.ok(), "configmap/web condition met\n");
    node.vanish();
    let out = fleet.mote(&["delete", "cm", "web"]).ok();
    assert_eq!(out, "configmap \"web\" deleted (node pi-7): sent, node offline\n");
    let waited = fleet.mote(&["wait", "--for=delete", "configmap/web", "--timeout=100ms"]);
    let error = "error: timed out waiting for the condition on configmaps/web\n";
    assert_eq!(waited.failed(), error);
    let waiting = fleet.command(&["wait", "--for=delete", "cm/web"]).spawn().expect("mote runs");
    fleet.clear("pi-7/status/configmap/default/web");
    let waited = waiting.wait_with_output().expect("ends");
    assert!(waited.status.success(), "{waited:?}");
}

#[test]
fn watching_shows_a_change_that_no_column_shows() {
    use std::io::{BufRead as _, BufReader};
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    applied(&fleet, &config_map("web", "a"), &["--node", "pi-7"]);
    let mut child = fleet.command(&["get", "cm", "-w"]).spawn().expect("mote runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().expect("more").expect("text");
    assert!(line().starts_with("NAME"));
    assert!(line().starts_with("web "));
    applied(&fleet, &config_map("web", "b"), &["--node", "pi-7"]);
    assert!(line().starts_with("web "));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

/// Whoever lists pods or nodes needs no right to read secrets, and gets none to see.
#[test]
fn other_listings_do_not_ask_for_secrets() {
    let fleet = TestFleet::on(Broker::with("allow_anonymous true\nlog_type subscribe\n"));
    let _node = fleet.node("pi-7");
    applied(&fleet, SECRET, &["--node", "pi-7"]);
    for arguments in [
        &["get", "pods,nodes"][..],
        &["get", "cm"],
        &["describe", "node", "pi-7", "--show-events=false"],
        &["delete", "pods", "--all"],
    ] {
        fleet.mote(arguments).ok();
    }
    let asked = fleet.broker.subscriptions();
    assert!(asked.iter().any(|filter| filter.contains("/spec/pod/")), "{asked:?}");
    let secrets = asked.iter().filter(|filter| filter.contains("/spec/secret/"));
    // Applying asks for the one name that it applies.
    let expected = "mote/v1/lab/+/spec/secret/default/keys";
    assert!(secrets.clone().all(|filter| filter == expected), "{asked:?}");
    assert_eq!(secrets.count(), 1);
}

#[test]
fn the_most_that_data_may_be_goes_through_the_broker() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let map = config_map("big", &"x".repeat(1024 * 1024));
    assert_eq!(applied(&fleet, &map, &["--node", "pi-7"]), "configmap/big created (node pi-7)\n");
    let found = json(&fleet, &["get", "cm", "big"]);
    assert_eq!(found["data"]["key"].as_str().map(str::len), Some(1024 * 1024));
}
