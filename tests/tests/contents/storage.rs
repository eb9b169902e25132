//! What pods may keep on the node's disk.

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mote_protocol::node::NodeStatus;
use mote_protocol::status::{ContainerState, Phase, PodStatus};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::wait::PATIENCE;
use mote_tests::world::{BUSYBOX, World, container, status_topic, topic};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use serde_json::json;

use super::wait_for_line;

/// A container that fills something, says so, and stays.
fn sh(name: &str, script: &str) -> Manifest {
    pod(name).container("main", BUSYBOX, &["sh", "-c", script])
}

/// A limit of what containers keep.
fn limit(amount: &str) -> serde_json::Value {
    json!({"limits": {"ephemeral-storage": amount}})
}

/// Waits until a pod is evicted, and gives why.
fn evicted(world: &World, node: &Node, pod: &str) -> Result<(PodStatus, String)> {
    let status = world.wait_for_phase(node, pod, Phase::Failed)?;
    let (reason, message) = status.cause.clone().context("a reason")?;
    ensure!(reason == *"Evicted", "{reason}: {message}");
    Ok((status, message.to_string()))
}

/// Where a pod that runs has its volumes.
fn volumes(world: &World, node: &Node, pod: &str) -> Result<PathBuf> {
    let uid = world.wait_for_phase(node, pod, Phase::Running)?.uid.context("a uid")?;
    let path = node.state().join(format!("pods/{uid}/volumes"));
    ensure!(path.exists(), "{} is not there", path.display());
    Ok(path)
}

/// Waits until a directory is removed that was there.
fn wait_until_removed(path: &Path) -> Result<()> {
    let parent = path.parent().context("a parent")?;
    let events = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let wanted = inotify::WatchFlags::DELETE | inotify::WatchFlags::DELETE_SELF;
    // One that is gone with its parent is gone.
    if inotify::add_watch(&events, parent, wanted).is_err() {
        return Ok(());
    }
    let mut buffer = [const { MaybeUninit::uninit() }; 1024];
    let mut reader = inotify::Reader::new(&events, &mut buffer);
    while path.exists() {
        let timeout = PATIENCE.try_into()?;
        let ready = poll(&mut [PollFd::new(&events, PollFlags::IN)], Some(&timeout))?;
        ensure!(ready > 0, "{} is still there", path.display());
        reader.next()?;
    }
    Ok(())
}

#[test]
fn a_directory_beyond_its_limit_ends_its_pod_and_no_other() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let fill = |blocks: u32, sleep: u32| {
        format!(
            "dd if=/dev/zero of=/data/x bs=1k count={blocks} 2>/dev/null; echo full; exec sleep {sleep}"
        )
    };
    let source = || json!({"emptyDir": {"sizeLimit": "1Mi"}});
    // The other keeps less than it may.
    let other = sh("other", &fill(512, 1002)).volume("data", source(), "/data");
    world.operator.apply(&other, &node)?;
    world.wait_for_phase(&node, "other", Phase::Running)?;
    wait_for_line(&world, "other", "full")?;
    let pid = node.process("sleep 1002")?;
    let manifest = sh("web", &fill(2048, 1001)).volume("data", source(), "/data");
    world.operator.apply(&manifest, &node)?;
    let volumes = volumes(&world, &node, "web")?;
    let (status, message) = evicted(&world, &node, "web")?;
    assert_eq!(message, "Usage of EmptyDir volume \"data\" exceeds the limit \"1Mi\". ");
    assert_eq!(world.wait_for_event(&node, "Evicted")?, message);
    assert!(status.causes.iter().all(|cause| cause.condition != *"DisruptionTarget"));
    assert_eq!(node.processes("sleep 1001")?, []);
    // What it kept is free, though the pod is still told of.
    wait_until_removed(&volumes)?;
    let table = world.operator.run(&["get", "pods"])?.succeeded()?;
    let row = table.lines().find(|line| line.starts_with("web")).context("a row")?;
    // As kubectl has it: how the last container ended comes before why the pod did.
    assert!(row.contains("Error"), "{table}");
    let described = world.operator.run(&["describe", "pod", "web"])?.succeeded()?;
    let words = described.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = format!("Status: Failed Reason: Evicted Message: {}", message.trim());
    assert!(words.contains(&told), "{described}");
    node.kill()?;
    let told = world.statuses(&node, "web").len();
    node.start()?;
    let topic = status_topic(&node, "web");
    world.observer.wait("what the next agent says of it", |view| {
        (view.bodies::<PodStatus>(&topic).len() > told).then_some(())
    })?;
    let described = node.ctl(&["describe", "pod", "web"])?;
    assert!(described.contains("Evicted"), "{described}");
    assert_eq!(node.processes("sleep 1001")?, [], "the next agent does not start it");
    assert_eq!(node.process("sleep 1002")?, pid, "nobody else is disturbed");
    let states = world.statuses(&node, "other");
    let other = container(states.last().context("a status")?, "main")?.clone();
    assert!(matches!(other.state, ContainerState::Running { .. }) && other.restarts == 0);
    world.operator.delete("web", &node)?;
    Ok(())
}

#[test]
fn layers_logs_and_the_whole_pod_are_bounded() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let fill = |path: &str, kib: u32| {
        format!("dd if=/dev/zero of={path} bs=1k count={kib} 2>/dev/null; exec sleep 1001")
    };
    // One that has room keeps the limit of the pod away.
    let roomy = |manifest: Manifest| {
        manifest.container("roomy", BUSYBOX, &["sleep", "1002"]).with("resources", limit("64Mi"))
    };
    let layer = sh("layer", &fill("/x", 2048)).with("resources", limit("1Mi"));
    let logs = "dd if=/dev/zero bs=1k count=200 2>/dev/null | tr '\\0' '\\n'; exec sleep 1001";
    let logs = sh("logs", logs).with("resources", limit("128Ki"));
    let total = sh("total", &fill("/data/x", 3072))
        .with("resources", limit("1Mi"))
        .volume("data", json!({"emptyDir": {}}), "/data")
        .container("second", BUSYBOX, &["sleep", "1002"])
        .with("resources", limit("1Mi"));
    let below = sh("below", &fill("/x", 512)).with("resources", limit("1Mi"));
    for manifest in [&roomy(layer), &roomy(logs), &total, &below] {
        world.operator.apply(manifest, &node)?;
    }
    let rows = [
        ("layer", "Container main exceeded its local ephemeral storage limit \"1Mi\". "),
        ("logs", "Container main exceeded its local ephemeral storage limit \"128Ki\". "),
        ("total", "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "),
    ];
    for (pod, expected) in rows {
        assert_eq!(evicted(&world, &node, pod)?.1, expected, "{pod}");
    }
    let below = world.statuses(&node, "below").pop().context("a status")?;
    assert_eq!((below.phase, below.cause), (Phase::Running, None));
    Ok(())
}

/// A directory chain that is deeper than a stack: nobody ends of walking it, or of removing it; nor
/// does it hide anything.
#[test]
fn a_tree_without_end_ends_its_pod_and_is_removed() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let script = "cd /data; i=0; while [ $i -lt 4000 ]; do mkdir d; cd d; i=$((i+1)); done; \
                  echo deep; exec sleep 1001";
    // Far from what they take, a block of 4 KiB each.
    let source = json!({"emptyDir": {"sizeLimit": "1Gi"}});
    let manifest = sh("web", script).volume("data", source, "/data");
    let agent = node.pid()?;
    world.operator.apply(&manifest, &node)?;
    let volumes = volumes(&world, &node, "web")?;
    let (_, message) = evicted(&world, &node, "web")?;
    let expected = "Files of EmptyDir volume \"data\" cannot be counted: they have more than 1000000 \
                    names, or are in more than 256 directories below each other. ";
    assert_eq!(message, expected);
    wait_until_removed(&volumes)?;
    assert_eq!(node.pid()?, agent, "the agent lives");
    world.operator.delete("web", &node)?;
    Ok(())
}

#[test]
fn pods_ask_for_no_more_than_the_node_has() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let status = world
        .observer
        .wait("its status", |view| view.body::<NodeStatus>(&topic(&node, "status/node")))?;
    let capacity = status.allocatable.ephemeral_kib * 1024;
    let asks = |name: &str, amount: u64| {
        let requests = json!({"requests": {"ephemeral-storage": amount.to_string()}});
        pod(name).once().container("main", BUSYBOX, &["sleep", "1001"]).with("resources", requests)
    };
    let most = capacity / 10 * 6;
    let refused = world.operator.try_apply(&asks("huge", capacity + 1), &node)?.refused()?;
    let text = format!(
        "Node didn't have enough resource: ephemeral-storage, requested: {}, used: 0, capacity: \
         {capacity}",
        capacity + 1
    );
    assert!(refused.contains("OutOfephemeral-storage") && refused.contains(&text), "{refused}");
    world.operator.apply(&asks("first", most), &node)?;
    world.wait_for_phase(&node, "first", Phase::Running)?;
    let refused = world.operator.try_apply(&asks("second", most), &node)?.refused()?;
    let text = format!("requested: {most}, used: {most}, capacity: {capacity}");
    assert!(refused.contains(&text), "{refused}");
    // Who asks for nothing is taken all the same, and what is over asks for nothing any more.
    world.operator.apply(&pod("none").once().container("main", BUSYBOX, &["true"]), &node)?;
    rustix::process::kill_process(node.process("sleep 1001")?, rustix::process::Signal::KILL)?;
    world.wait_for_phase(&node, "first", Phase::Failed)?;
    world.operator.delete("second", &node)?;
    world.operator.apply(&asks("second", most), &node)?;
    world.wait_for_phase(&node, "second", Phase::Running)?;
    Ok(())
}
