//! What a pod asks of a node beside memory and CPU, and which node it asks.

use anyhow::Result;
use mote_protocol::status::Phase;
use mote_tests::node::NodeOptions;
use mote_tests::world::World;

use super::{Reader, image};

const NGINX: &str = "docker.io/library/nginx:latest";

const EXTENDED: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: extended-resource-demo
spec:
  containers:
  - name: extended-resource-demo-ctr
    image: nginx
    resources:
      requests:
        example.com/dongle: 3
      limits:
        example.com/dongle: 3
";

const NODE_SELECTOR: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: nginx
  labels:
    env: test
spec:
  containers:
  - name: nginx
    image: nginx
    imagePullPolicy: IfNotPresent
  nodeSelector:
    disktype: ssd
";

const NODE_NAME: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: nginx
spec:
  nodeName: foo-node # schedule pod to specific node
  containers:
  - name: nginx
    image: nginx
    imagePullPolicy: IfNotPresent
";

const REQUIRED_AFFINITY: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: nginx
spec:
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
        - matchExpressions:
          - key: disktype
            operator: In
            values:
            - ssd
  containers:
  - name: nginx
    image: nginx
    imagePullPolicy: IfNotPresent
";

const POD_LEVEL: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: pod-resources-demo
  namespace: pod-resources-example
spec:
  resources:
    limits:
      cpu: "1"
      memory: "200Mi"
    requests:
      cpu: "1"
      memory: "100Mi"
  containers:
  - name: pod-resources-demo-ctr-1
    image: nginx
    resources:
      limits:
        cpu: "0.5"
        memory: "100Mi"
      requests:
        cpu: "0.5"
        memory: "50Mi"
  - name: pod-resources-demo-ctr-2
    image: fedora
    command:
    - sleep
    - inf
"#;

#[test]
fn a_device_that_no_node_has_is_refused() -> Result<()> {
    let reader = Reader::with(&[NGINX])?;
    let refused = reader.refusal(EXTENDED)?;
    let field = "spec.containers[0].resources.requests.example.com/dongle";
    assert!(
        refused.contains(&format!("{field}: this version of the agent cannot do it")),
        "{refused}"
    );
    Ok(())
}

/// Nobody chooses among nodes here, so affinity chooses none; what a pod as a whole may use is not
/// counted, only what its containers may. Both are said.
#[test]
fn what_has_no_effect_is_said() -> Result<()> {
    let reader = Reader::with(&[NGINX, "docker.io/library/fedora:latest"])?;
    for (manifest, pod, name, field) in [
        (REQUIRED_AFFINITY, "nginx", "nginx", "spec.affinity"),
        (
            POD_LEVEL,
            "pod-resources-example/pod-resources-demo",
            "pod-resources-demo-ctr-2",
            "spec.resources",
        ),
    ] {
        let said = reader.apply(manifest)?;
        let warning = format!("field \"{field}\" is not supported by mote and has no effect");
        assert!(said.contains(&warning), "{said}");
        reader.inside(pod, name)?;
    }
    Ok(())
}

#[test]
fn a_pod_runs_where_the_labels_are_that_it_selects() -> Result<()> {
    let reader = Reader::with(&[])?;
    let refused = reader.refusal(NODE_SELECTOR)?;
    let text = "spec.nodeSelector[disktype]: this node is not labelled `disktype=ssd`";
    assert!(refused.contains("NodeAffinity") && refused.contains(text), "{refused}");

    let labelled = "labels = { disktype = \"ssd\" }".into();
    let options = NodeOptions { extra: labelled, ..reader.world.options("n2") };
    let node = reader.world.node_with(options)?;
    node.import(&image()?, NGINX)?;
    let words = ["apply", "-f", "-", "-l", "disktype=ssd"];
    reader.world.operator.run_with(&words, NODE_SELECTOR)?.succeeded()?;
    reader.world.wait_for_phase(&node, "nginx", Phase::Running)?;
    Ok(())
}

#[test]
fn a_pod_runs_on_the_node_that_it_names() -> Result<()> {
    let world = World::new()?;
    let node = world.node("foo-node")?;
    node.import(&image()?, NGINX)?;
    world.operator.run_with(&["apply", "-f", "-"], NODE_NAME)?.succeeded()?;
    world.wait_for_phase(&node, "nginx", Phase::Running)?;
    Ok(())
}
