//! Static pods: files of a node that ask for pods, with and without a broker.

use std::fs;

use anyhow::{Result, ensure};
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World, container, status_topic};
use serde_json::json;

fn sleeper(name: &str, seconds: &str) -> Manifest {
    pod(name).container("main", BUSYBOX, &["sleep", seconds])
}

/// Writes the file of a pod where a node looks, as an operator would; what was printed.
fn compile(world: &World, node: &Node, manifest: &Manifest) -> Result<String> {
    fs::create_dir_all(node.static_pods())?;
    let directory = node.static_pods().display().to_string();
    world
        .operator
        .run_with(&["compile", "-f", "-", "-o", &directory], &manifest.text())?
        .succeeded()
}

fn runs(restarts: u32) -> impl Fn(&PodStatus) -> bool {
    move |status| {
        container(status, "main").is_ok_and(|main| main.ready() && main.restarts == restarts)
    }
}

#[test]
fn a_file_is_a_pod_that_nothing_published_ends() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    // The directory comes later than the agent.
    let printed = compile(&world, &node, &sleeper("web", "1001"))?;
    let path = node.static_pods().join("default_web.pod");
    assert_eq!(printed, format!("pod/web compiled to {}\n", path.display()));
    let first = world.wait_for(&node, "web-n1", "that it runs", runs(0))?;
    let shown = world.operator.run(&["get", "pods"])?.succeeded()?;
    ensure!(shown.lines().any(|line| line.starts_with("web-n1 ")), "{shown}");

    let error = world.operator.run(&["delete", "pod", "web-n1", "--timeout", "10s"])?.refused()?;
    ensure!(error.contains("it is a static pod of this node"), "{error}");
    let error = world.operator.try_apply(&sleeper("web-n1", "1003"), &node)?.refused()?;
    ensure!(error.contains("it is a static pod of this node"), "{error}");
    let same = world.wait_for(&node, "web-n1", "that it still runs", runs(0))?;
    assert_eq!(same.uid, first.uid);

    // Another file in its place is another pod.
    compile(&world, &node, &sleeper("web", "1002"))?;
    let second = world.wait_for(&node, "web-n1", "its successor", |status| {
        status.uid != first.uid && runs(0)(status)
    })?;
    ensure!(second.uid.is_some(), "a life");
    assert_eq!((node.processes("sleep 1001")?.len(), node.processes("sleep 1002")?.len()), (0, 1));
    // The same once more is not.
    compile(&world, &node, &sleeper("web", "1002"))?;
    fs::remove_file(&path)?;
    world.wait_until_gone(&node, "web-n1")?;
    assert_eq!(node.pauses()?.len(), 0);
    ensure!(!world.observer.retained()?.contains_key(&status_topic(&node, "web-n1")), "a status");
    let began = node.log().matches("reason=Started").count();
    assert_eq!(began, 2, "two lives and no more");
    Ok(())
}

#[test]
fn it_needs_no_broker_and_survives_what_happens_to_its_file() -> Result<()> {
    let mut world = World::new()?;
    let mut node = world.prepare(world.options("n1"))?;
    compile(&world, &node, &sleeper("web", "1001"))?;
    world.broker.stop()?;
    node.start()?;
    node.agent()?.wait_for_line("reason=Started")?;
    let pid = node.process("sleep 1001")?;

    // The card with the directory is not mounted when the node comes back.
    node.terminate()?;
    let away = node.static_pods().with_extension("away");
    fs::rename(node.static_pods(), &away)?;
    node.start()?;
    let pods = node.ctl(&["pods"])?;
    ensure!(pods.contains("web-n1"), "{pods}");
    assert_eq!(node.process("sleep 1001")?, pid);

    // It comes, with a file that somebody spoiled and one that was never compiled.
    fs::write(away.join("default_web.pod"), b"spoiled")?;
    fs::write(away.join("other.yaml"), b"kind: Pod")?;
    fs::rename(&away, node.static_pods())?;
    node.agent()?.wait_for_line("reason=InvalidStaticPod")?;
    node.agent()?.wait_for_line("about=pod/default/web-n1 reason=")?;
    ensure!(node.log().contains("other.yaml is no compiled pod"), "{}", node.log());
    assert_eq!(node.process("sleep 1001")?, pid);

    // And is mended.
    compile(&world, &node, &sleeper("web", "1002"))?;
    node.agent()?.wait_for_line("reason=Killing")?;
    node.agent()?.wait_for_line("reason=Started")?;
    ensure!(node.processes("sleep 1001")?.is_empty());
    node.process("sleep 1002")?;
    world.broker.resume()?;
    world.wait_for(&node, "web-n1", "that it is told", runs(0))?;
    Ok(())
}

#[test]
fn a_node_that_is_drained_keeps_it() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    compile(&world, &node, &sleeper("web", "1001"))?;
    world.wait_for(&node, "web-n1", "that it runs", runs(0))?;
    world.operator.apply(&sleeper("guest", "1002"), &node)?;
    world.wait_for_phase(&node, "guest", Phase::Running)?;
    let drained = world.operator.run(&["drain", "n1"])?.succeeded()?;
    ensure!(drained.contains("guest") && !drained.contains("web-n1"), "{drained}");
    world.wait_for(&node, "web-n1", "that it goes on", runs(0))?;
    assert_eq!((node.processes("sleep 1001")?.len(), node.processes("sleep 1002")?.len()), (1, 0));
    // One that comes now begins.
    compile(&world, &node, &sleeper("late", "1003"))?;
    world.wait_for(&node, "late-n1", "that it runs", runs(0))?;
    Ok(())
}

#[test]
fn what_cannot_be_static_is_said_before_it_gets_to_a_node() -> Result<()> {
    let world = World::new()?;
    let directory = tempfile::tempdir()?;
    let output = directory.path().display().to_string();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}});
    let run = |input: &str| world.operator.run_with(&["compile", "-f", "-", "-o", &output], input);
    let error = run(&map.to_string())?.refused()?;
    ensure!(error.contains("a ConfigMap cannot be static"), "{error}");
    let error = run("")?.refused()?;
    ensure!(error.contains("no objects passed to compile"), "{error}");
    assert_eq!(fs::read_dir(directory.path())?.count(), 0);
    Ok(())
}
