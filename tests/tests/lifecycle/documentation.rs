//! Pods as Kubernetes' own pages show them (tasks/configure-pod-container and
//! concepts/workloads/pods), unchanged. Images of the same names are brought along.

use std::process::Command;

use anyhow::{Context, Result};
use mote_protocol::status::{ContainerState, Phase, PodCondition, PodStatus};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::manifest::INIT_CONTAINERS;
use mote_tests::node::Node;
use mote_tests::process::Process;
use mote_tests::workload;
use mote_tests::world::{World, container, runs};

const EXEC_LIVENESS: &str = r"
apiVersion: v1
kind: Pod
metadata:
  labels:
    test: liveness
  name: liveness-exec
spec:
  containers:
  - name: liveness
    image: registry.k8s.io/busybox:1.27.2
    args:
    - /bin/sh
    - -c
    - touch /tmp/healthy; sleep 30; rm -f /tmp/healthy; sleep 600
    livenessProbe:
      exec:
        command:
        - cat
        - /tmp/healthy
      initialDelaySeconds: 5
      periodSeconds: 5
";

const HTTP_LIVENESS: &str = r"
apiVersion: v1
kind: Pod
metadata:
  labels:
    test: liveness
  name: liveness-http
spec:
  containers:
  - name: liveness
    image: registry.k8s.io/e2e-test-images/agnhost:2.40
    args:
    - liveness
    livenessProbe:
      httpGet:
        path: /healthz
        port: 8080
        httpHeaders:
        - name: Custom-Header
          value: Awesome
      initialDelaySeconds: 3
      periodSeconds: 3
";

const TCP_LIVENESS_READINESS: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: goproxy
  labels:
    app: goproxy
spec:
  containers:
  - name: goproxy
    image: registry.k8s.io/goproxy:0.1
    ports:
    - containerPort: 8080
    readinessProbe:
      tcpSocket:
        port: 8080
      initialDelaySeconds: 15
      periodSeconds: 10
    livenessProbe:
      tcpSocket:
        port: 8080
      initialDelaySeconds: 15
      periodSeconds: 10
";

const LIFECYCLE_EVENTS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: lifecycle-demo
spec:
  containers:
  - name: lifecycle-demo-container
    image: nginx
    lifecycle:
      postStart:
        exec:
          command: ["/bin/sh", "-c", "echo Hello from the postStart handler > /usr/share/message"]
      preStop:
        exec:
          command: ["/bin/sh","-c","nginx -s quit; while killall -0 nginx; do sleep 1; done"]
"#;

const TERMINATION: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: termination-demo
spec:
  containers:
  - name: termination-demo-container
    image: debian
    command: ["/bin/sh"]
    args: ["-c", "sleep 10 && echo Sleep expired > /dev/termination-log"]
"#;

fn apply(world: &World, node: &Node, manifest: &str) -> Result<()> {
    let words = ["apply", "-f", "-", "--node", node.name()];
    world.operator.run_with(&words, manifest)?.succeeded()?;
    Ok(())
}

fn ready(status: &PodStatus) -> bool {
    status.conditions.is_true(PodCondition::Ready)
}

#[test]
fn liveness_by_exec() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let layer = Layer::busybox()?.directory("tmp", 0o1777);
    node.import(&Builder::default().layer(layer).build()?, "registry.k8s.io/busybox:1.27.2")?;
    apply(&world, &node, EXEC_LIVENESS)?;
    world.wait_for(&node, "liveness-exec", "Ready", ready)?;
    let told = world.wait_for_event(&node, "Killing")?;
    assert_eq!(told, "Container liveness failed liveness probe, will be restarted");
    let told = world.wait_for_event(&node, "Unhealthy")?;
    assert!(told.contains("can't open '/tmp/healthy': No such file or directory"), "{told}");
    Ok(())
}

#[test]
fn liveness_by_http() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let program = world.directory().join("workload");
    workload::compile(&program)?;
    let layer = Layer::default().root().file("workload", 0o755, &std::fs::read(&program)?);
    let image = Builder::default().layer(layer).entrypoint(&["/workload"]).build()?;
    node.import(&image, "registry.k8s.io/e2e-test-images/agnhost:2.40")?;
    apply(&world, &node, HTTP_LIVENESS)?;
    let told = world.wait_for_event(&node, "Unhealthy")?;
    assert_eq!(told, "Liveness probe failed: HTTP probe failed with statuscode: 500");
    world.wait_for(&node, "liveness-http", "a restart", |status| {
        container(status, "liveness").is_ok_and(|liveness| liveness.restarts == 1)
    })?;
    Ok(())
}

#[test]
fn readiness_by_tcp() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let image = Builder::busybox()?.entrypoint(&["/bin/httpd", "-f", "-p", "8080"]).build()?;
    node.import(&image, "registry.k8s.io/goproxy:0.1")?;
    apply(&world, &node, TCP_LIVENESS_READINESS)?;
    let status = world.wait_for_phase(&node, "goproxy", Phase::Running)?;
    assert!(!ready(&status), "it is not asked before 15 seconds have passed");
    let status = world.wait_for(&node, "goproxy", "Ready", ready)?;
    let ContainerState::Running { since } = container(&status, "goproxy")?.state else {
        anyhow::bail!("it runs")
    };
    let when = status.conditions.since[PodCondition::Ready as usize];
    assert!((15..=20).contains(&(when - since)), "started at {since} s, ready at {when} s");
    Ok(())
}

#[test]
fn hooks_at_both_ends() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let nginx = "#!/bin/sh\nif [ \"$1\" = -s ]; then kill 1; exit; fi\n\
        trap 'exit 0' TERM\nwhile :; do sleep 0.1; done\n";
    let layer =
        Layer::busybox()?.directory("usr/share", 0o755).file("bin/nginx", 0o755, nginx.as_bytes());
    let image = Builder::default().layer(layer).env("PATH", "/bin").command(&["nginx"]).build()?;
    node.import(&image, "docker.io/library/nginx:latest")?;
    apply(&world, &node, LIFECYCLE_EVENTS)?;
    world.wait_for(&node, "lifecycle-demo", "Ready", ready)?;
    let nginx = node.process("/bin/nginx")?;
    let message = format!("/proc/{}/root/usr/share/message", nginx.as_raw_nonzero());
    assert_eq!(std::fs::read_to_string(message)?, "Hello from the postStart handler\n");
    world.operator.delete("lifecycle-demo", &node)?;
    Ok(())
}

#[test]
fn the_last_words_of_a_container() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    node.import(&Image::busybox()?, "docker.io/library/debian:latest")?;
    apply(&world, &node, TERMINATION)?;
    world.wait_for(&node, "termination-demo", "its last words", |status| {
        container(status, "termination-demo-container").is_ok_and(|one| {
            let ended = one.last.as_ref().map(|end| end.message.to_string());
            let now = match &one.state {
                ContainerState::Terminated(end) => Some(end.message.to_string()),
                _ => None,
            };
            [ended, now].into_iter().flatten().any(|words| words == "Sleep expired\n")
        })
    })?;
    Ok(())
}

/// A real DNS server in the network namespace of a container, that knows one name.
fn dns(node: &Node, name: &str) -> Result<Process> {
    let waits = node
        .processes(&format!("until nslookup {name}; do echo waiting for {name}; sleep 2; done;"))?;
    let pid = waits.first().with_context(|| format!("nobody waits for {name}"))?;
    let mut server = Command::new("nsenter");
    server
        .args(["--target", &pid.as_raw_nonzero().to_string(), "--net", "dnsmasq"])
        .args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--pid-file", "--conf-file"])
        .args(["--listen-address=127.0.0.1", "--bind-interfaces", "--user=root"])
        .args([&format!("--address=/{name}/192.0.2.7"), &format!("--local=/{name}/")]);
    Process::spawn(&format!("dnsmasq for {name}"), &mut server)
}

#[test]
fn init_containers_wait_for_names() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    node.import(&Image::busybox()?, "docker.io/library/busybox:1.28")?;
    apply(&world, &node, INIT_CONTAINERS)?;
    let shown = || world.operator.run(&["get", "pod", "myapp-pod"])?.succeeded();
    let status =
        world.wait_for(&node, "myapp-pod", "its first init container", runs("init-myservice"))?;
    let uid = status.uid.context("a uid")?;
    let table = shown()?;
    assert!(table.contains("Init:0/2"), "{table}");

    let myservice = dns(&node, "myservice")?;
    world.wait_for(&node, "myapp-pod", "its second init container", runs("init-mydb"))?;
    let table = shown()?;
    assert!(table.contains("Init:1/2"), "{table}");
    drop(myservice);

    let _mydb = dns(&node, "mydb")?;
    world.wait_for(&node, "myapp-pod", "Ready", ready)?;
    let table = shown()?;
    assert!(table.contains("1/1") && table.contains("Running"), "{table}");
    assert!(node.printed(&uid, "init-mydb")?.contains("waiting for mydb"));
    assert!(node.printed(&uid, "myapp-container")?.contains("The app is running!"));
    Ok(())
}
