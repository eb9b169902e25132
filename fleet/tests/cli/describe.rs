//! `mote describe`.

use std::fmt::Write as _;

use crate::fleet::{TestFleet, golden};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web, tier: front}
  annotations: {note: careful}
spec:
  nodeSelector: {disk: ssd}
  tolerations: [{key: gpu, operator: Exists, effect: NoExecute, tolerationSeconds: 30}]
  volumes:
  - name: data
    emptyDir: {sizeLimit: 64Mi}
  - name: secret
    secret: {secretName: keys}
  containers:
  - name: main
    image: web:1
    command: [/web, --fast]
    ports: [{name: http, containerPort: 8080}]
    env: [{name: A, value: b}, {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    resources: {limits: {cpu: 500m, memory: 64Mi}}
    volumeMounts: [{name: data, mountPath: /data, readOnly: true}]
    livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 3}
";

/// A page without what differs from run to run.
fn steady(page: &str) -> String {
    let mut text = String::new();
    for line in page.lines() {
        let label = line.trim_start();
        let differs = [
            "UID:",
            "Start Time:",
            "Revision:",
            "Started:",
            "Container ID:",
            "Booted:",
            "Last Heartbeat:",
        ];
        match differs.iter().find(|known| label.starts_with(**known)) {
            Some(known) => {
                let indent = line.len() - label.len();
                write!(text, "{:indent$}{known} ...", "").expect("a string takes it");
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[test]
fn a_pods_page_has_all_that_is_known() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", POD);
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let page = fleet.mote(&["describe", "pod", "web", "--show-events=false"]).ok();
    golden("describe-pod", &steady(&page));
    let page = fleet.mote(&["describe", "pod/web"]).ok();
    assert!(page.contains("Warning   BackOff"), "{page}");
    assert!(page.contains("mote-agent, pi-7"), "{page}");
    let error = fleet.mote(&["describe", "pod", "none"]).failed();
    assert_eq!(error, "Error from server (NotFound): pods \"none\" not found\n");
}

#[test]
fn of_a_pod_that_the_broker_lost_the_node_still_tells() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", POD);
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    fleet.clear("pi-7/spec/pod/default/web");
    let page = fleet.mote(&["describe", "pod", "web", "--show-events=false"]).ok();
    assert!(page.contains("Containers:\n  main:\n"), "{page}");
    assert!(page.contains("    State:          Running\n"), "{page}");
}

#[test]
fn a_nodes_page_has_its_pods_and_conditions() {
    let fleet = TestFleet::start();
    let _node = fleet.node("pi-7");
    let file = fleet.file("web.yaml", POD);
    fleet.mote(&["apply", "-f", &file, "--node", "pi-7"]).ok();
    let page = fleet.mote(&["describe", "node", "pi-7", "--show-events=false"]).ok();
    let page = steady(&page);
    // The condition's line has a time, the pod's line an age: both are in other tests.
    let lines = page.lines().filter(|line| !line.starts_with("  Ready ") && !line.contains("web "));
    let page = lines.fold(String::new(), |text, line| text + line + "\n");
    golden("describe-node", &page);
}
