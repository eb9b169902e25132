//! Memory and CPU.

use anyhow::{Context, Result};
use mote_protocol::status::{ContainerState, ContainerStatus, Terminated};
use mote_tests::image::{Builder, Layer};
use mote_tests::world::{container, waiting};

use super::Reader;

/// As much of `stress` as the pages use: it takes memory and holds it. What nobody reads from the
/// pipe is held by whoever writes it.
const STRESS: &[u8] = br#"#!/bin/sh
[ "$1 $2 $3 $5" = "--vm 1 --vm-bytes --vm-hang" ] || exit 64
mkfifo /tmp/hang
exec 3<>/tmp/hang
exec dd if=/dev/zero of=/tmp/hang bs="$4" count=1
"#;

const MEMORY: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: memory-demo
  namespace: mem-example
spec:
  containers:
  - name: memory-demo-ctr
    image: polinux/stress
    resources:
      requests:
        memory: "100Mi"
      limits:
        memory: "200Mi"
    command: ["stress"]
    args: ["--vm", "1", "--vm-bytes", "150M", "--vm-hang", "1"]
"#;

const TOO_MUCH_MEMORY: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: memory-demo-2
  namespace: mem-example
spec:
  containers:
  - name: memory-demo-2-ctr
    image: polinux/stress
    resources:
      requests:
        memory: "50Mi"
      limits:
        memory: "100Mi"
    command: ["stress"]
    args: ["--vm", "1", "--vm-bytes", "250M", "--vm-hang", "1"]
"#;

const MORE_THAN_ANY_NODE_HAS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: memory-demo-3
  namespace: mem-example
spec:
  containers:
  - name: memory-demo-3-ctr
    image: polinux/stress
    resources:
      requests:
        memory: "1000Gi"
      limits:
        memory: "1000Gi"
    command: ["stress"]
    args: ["--vm", "1", "--vm-bytes", "150M", "--vm-hang", "1"]
"#;

const CPU: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: cpu-demo
  namespace: cpu-example
spec:
  containers:
  - name: cpu-demo-ctr
    image: vish/stress
    resources:
      limits:
        cpu: "1"
      requests:
        cpu: "0.5"
    args:
    - -cpus
    - "2"
"#;

const MORE_CPU_THAN_ANY_NODE_HAS: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: cpu-demo-2
  namespace: cpu-example
spec:
  containers:
  - name: cpu-demo-ctr-2
    image: vish/stress
    resources:
      limits:
        cpu: "100"
      requests:
        cpu: "100"
    args:
    - -cpus
    - "2"
"#;

const GUARANTEED: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: qos-demo
  namespace: qos-example
spec:
  containers:
  - name: qos-demo-ctr
    image: nginx
    resources:
      limits:
        memory: "200Mi"
        cpu: "700m"
      requests:
        memory: "200Mi"
        cpu: "700m"
"#;

const BURSTABLE: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: qos-demo-2
  namespace: qos-example
spec:
  containers:
  - name: qos-demo-2-ctr
    image: nginx
    resources:
      limits:
        memory: "200Mi"
      requests:
        memory: "100Mi"
"#;

const BEST_EFFORT: &str = r"
apiVersion: v1
kind: Pod
metadata:
  name: qos-demo-3
  namespace: qos-example
spec:
  containers:
  - name: qos-demo-3-ctr
    image: nginx
";

const BURSTABLE_OF_TWO: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: qos-demo-4
  namespace: qos-example
spec:
  containers:

  - name: qos-demo-4-ctr-1
    image: nginx
    resources:
      requests:
        memory: "200Mi"

  - name: qos-demo-4-ctr-2
    image: redis
"#;

const FRONTEND: &str = r#"
---
apiVersion: v1
kind: Pod
metadata:
  name: frontend
spec:
  containers:
  - name: app
    image: images.my-company.example/app:v4
    resources:
      requests:
        memory: "64Mi"
        cpu: "250m"
      limits:
        memory: "128Mi"
        cpu: "500m"
  - name: log-aggregator
    image: images.my-company.example/log-aggregator:v6
    resources:
      requests:
        memory: "64Mi"
        cpu: "250m"
      limits:
        memory: "128Mi"
        cpu: "500m"
"#;

const FRONTEND_WITH_STORAGE: &str = r#"
apiVersion: v1
kind: Pod
metadata:
  name: frontend
spec:
  containers:
  - name: app
    image: images.my-company.example/app:v4
    resources:
      requests:
        ephemeral-storage: "2Gi"
      limits:
        ephemeral-storage: "4Gi"
    volumeMounts:
    - name: ephemeral
      mountPath: "/tmp"
  - name: log-aggregator
    image: images.my-company.example/log-aggregator:v6
    resources:
      requests:
        ephemeral-storage: "2Gi"
      limits:
        ephemeral-storage: "4Gi"
    volumeMounts:
    - name: ephemeral
      mountPath: "/tmp"
  volumes:
    - name: ephemeral
      emptyDir:
        sizeLimit: 500Mi
"#;

const MEBIBYTE: u64 = 1024 * 1024;

fn reader_with_stress() -> Result<Reader> {
    let reader = Reader::with(&[])?;
    let layer = Layer::busybox()?.file("bin/stress", 0o755, STRESS);
    let image = Builder::default().layer(layer).env("PATH", "/bin").build()?;
    reader.bring(&image, "docker.io/polinux/stress:latest")?;
    // Busy on as many CPUs as it is told.
    let busy = b"#!/bin/sh\n[ \"$1\" = -cpus ] || exit 64\ni=0\nwhile [ $i -lt $2 ]; do \
                 yes > /dev/null & i=$((i + 1)); done\nwait\n";
    let layer = Layer::busybox()?.file("bin/stress", 0o755, busy);
    let image = Builder::default().layer(layer).env("PATH", "/bin").entrypoint(&["stress"]);
    reader.bring(&image.build()?, "docker.io/vish/stress:latest")?;
    Ok(reader)
}

/// How an attempt of a container ended, this one or the last.
fn end(status: &ContainerStatus) -> Option<&Terminated> {
    match &status.state {
        ContainerState::Terminated(end) => Some(end),
        _ => status.last.as_ref(),
    }
}

#[test]
fn a_container_has_as_much_memory_as_its_limit() -> Result<()> {
    let reader = reader_with_stress()?;
    reader.apply(MEMORY)?;
    let pod = "mem-example/memory-demo";
    let demo = reader.inside(pod, "memory-demo-ctr")?;
    let limit = demo.cgroup("memory", "memory.limit_in_bytes", "memory.max")?;
    assert_eq!(limit, (200 * MEBIBYTE).to_string());
    let resources = reader.field(pod, ".spec.containers[0].resources")?;
    assert!(resources.contains("\"limits\":{\"memory\":\"200Mi\"}"), "{resources}");
    assert!(resources.contains("\"requests\":{\"memory\":\"100Mi\"}"), "{resources}");
    Ok(())
}

#[test]
fn a_container_that_takes_more_is_killed_and_started_again() -> Result<()> {
    let reader = reader_with_stress()?;
    reader.apply(TOO_MUCH_MEMORY)?;
    let (pod, name) = ("mem-example/memory-demo-2", "memory-demo-2-ctr");
    let status = reader.world.wait_for(&reader.node, pod, "its end", |status| {
        container(status, name).is_ok_and(|found| end(found).is_some())
    })?;
    let ended = end(container(&status, name)?).context("waited for")?;
    assert_eq!(ended.exit_code, 137);
    assert_eq!(&*ended.reason, "OOMKilled");
    let status = reader.world.wait_for(&reader.node, pod, "CrashLoopBackOff", |status| {
        waiting(status, name).is_some_and(|(reason, _)| reason == "CrashLoopBackOff")
    })?;
    assert_eq!(container(&status, name)?.last.as_ref().map(|end| &*end.reason), Some("OOMKilled"));
    let told = reader.world.wait_for_event(&reader.node, "BackOff")?;
    assert!(told.starts_with("Back-off restarting failed container"), "{told}");
    Ok(())
}

/// On the pages these two are `Pending` for ever: no node is large enough. Here nobody chooses a node; the one that
/// they are sent to says what it lacks, as a kubelet says it that is sent such a pod.
#[test]
fn a_pod_that_is_too_large_is_refused_where_it_is_sent() -> Result<()> {
    let reader = Reader::with(&[])?;
    for (manifest, reason, lacks) in [
        (MORE_THAN_ANY_NODE_HAS, "OutOfmemory", "memory, requested: 1073741824000, used: 0"),
        (MORE_CPU_THAN_ANY_NODE_HAS, "OutOfcpu", "cpu, requested: 100000, used: 0"),
    ] {
        let told = reader.refusal(manifest)?;
        assert!(told.contains(&format!("({reason})")), "{told}");
        assert!(told.contains(&format!("Node didn't have enough resource: {lacks}")), "{told}");
    }
    let pods = reader.run(&["get", "pods", "-A"])?;
    assert!(pods.contains("Refused:OutOfmemory") && pods.contains("Refused:OutOfcpu"), "{pods}");
    Ok(())
}

#[test]
fn a_container_has_as_much_cpu_as_its_limit() -> Result<()> {
    let reader = reader_with_stress()?;
    reader.apply(CPU)?;
    let demo = reader.inside("cpu-example/cpu-demo", "cpu-demo-ctr")?;
    let quota = demo.cgroup("cpu", "cpu.cfs_quota_us", "cpu.max")?;
    assert_eq!(quota.split(' ').next(), Some("100000"), "of periods of 100 ms");
    let requested =
        reader.field("cpu-example/cpu-demo", ".spec.containers[0].resources.requests.cpu")?;
    assert_eq!(requested, "500m");
    Ok(())
}

/// Whether such a pod runs is another matter: a guaranteed one is protected from the kernel's choice
/// where memory runs out, and for that the agent needs `CAP_SYS_RESOURCE`.
#[test]
fn pods_are_of_the_classes_of_the_page() -> Result<()> {
    let reader =
        Reader::with(&["docker.io/library/nginx:latest", "docker.io/library/redis:latest"])?;
    for (manifest, pod, class) in [
        (GUARANTEED, "qos-example/qos-demo", "Guaranteed"),
        (BURSTABLE, "qos-example/qos-demo-2", "Burstable"),
        (BEST_EFFORT, "qos-example/qos-demo-3", "BestEffort"),
        (BURSTABLE_OF_TWO, "qos-example/qos-demo-4", "Burstable"),
    ] {
        reader.apply(manifest)?;
        assert_eq!(reader.field(pod, ".status.qosClass")?, class, "{pod}");
    }
    reader.inside("qos-example/qos-demo", "qos-demo-ctr")?;
    reader.inside("qos-example/qos-demo-2", "qos-demo-2-ctr")?;
    reader.inside("qos-example/qos-demo-3", "qos-demo-3-ctr")?;
    reader.inside("qos-example/qos-demo-4", "qos-demo-4-ctr-2")?;
    Ok(())
}

#[test]
fn a_pod_is_the_sum_of_its_containers() -> Result<()> {
    let images =
        ["images.my-company.example/app:v4", "images.my-company.example/log-aggregator:v6"];
    let reader = Reader::with(&images)?;
    reader.apply(FRONTEND)?;
    for name in ["app", "log-aggregator"] {
        let inside = reader.inside("frontend", name)?;
        let limit = inside.cgroup("memory", "memory.limit_in_bytes", "memory.max")?;
        assert_eq!(limit, (128 * MEBIBYTE).to_string());
        let quota = inside.cgroup("cpu", "cpu.cfs_quota_us", "cpu.max")?;
        assert_eq!(quota.split(' ').next(), Some("50000"));
    }
    let described = reader.run(&["describe", "pod", "frontend"])?;
    assert!(described.contains("Burstable"), "{described}");
    reader.delete("frontend")?;

    reader.apply(FRONTEND_WITH_STORAGE)?;
    let app = reader.inside("frontend", "app")?;
    app.sh("echo shared > /tmp/x")?;
    let other = reader.inside("frontend", "log-aggregator")?;
    assert_eq!(other.exec(&["cat", "/tmp/x"])?, "shared\n");
    Ok(())
}
