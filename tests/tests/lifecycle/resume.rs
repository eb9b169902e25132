//! An agent that dies in the middle of something, and the next one that goes on.

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{ContainerState, Phase, PodCondition};
use mote_tests::manifest::pod;
use mote_tests::wait::Deadline;
use mote_tests::world::{BUSYBOX, World, container, terminated, waiting};
use serde_json::json;

#[test]
fn a_restart_count_and_its_back_off_survive_the_agent() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    world.operator.apply(&pod("crash").container("main", BUSYBOX, &["false"]), &node)?;
    let held = |status: &mote_protocol::status::PodStatus| {
        container(status, "main").is_ok_and(|main| main.restarts == 1)
            && waiting(status, "main").is_some()
    };
    let before = world.wait_for(&node, "crash", "a back-off", held)?;
    let ended = container(&before, "main")?.last.clone().context("an end")?.finished;
    node.kill()?;
    node.start()?;
    let after = world.wait_for(&node, "crash", "a third attempt", |status| {
        container(status, "main").is_ok_and(|main| main.restarts == 2)
    })?;
    let main = container(&after, "main")?;
    let next = match &main.state {
        ContainerState::Running { since } => *since,
        ContainerState::Terminated(end) => end.started,
        ContainerState::Waiting { .. } => main.last.clone().context("an end")?.started,
    };
    assert!(next - ended >= 10, "ended at {ended} s, started at {next} s");
    Ok(())
}

#[test]
fn a_pod_that_ends_goes_on_ending() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"];
    let manifest = pod("deaf")
        .container("main", BUSYBOX, &deaf)
        .spec("terminationGracePeriodSeconds", json!(5));
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "deaf", Phase::Running)?;
    let words = ["delete", "pod", "deaf", "--node", "n1", "--wait=false"];
    world.operator.run(&words)?.succeeded()?;
    world.wait_for(&node, "deaf", "its end", |status| status.deleting.is_some())?;
    node.kill()?;
    node.start()?;
    world.wait_until_gone(&node, "deaf")
}

#[test]
fn an_init_container_that_runs_is_adopted() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let wait = ["sh", "-c", "until [ -e /go ]; do sleep 0.1; done"];
    let manifest =
        pod("web").init("first", BUSYBOX, &wait).container("main", BUSYBOX, &["sleep", "1001"]);
    world.operator.apply(&manifest, &node)?;
    world.wait_for(&node, "web", "its init container", |status| {
        container(status, "first").is_ok_and(|c| matches!(c.state, ContainerState::Running { .. }))
    })?;
    let first = node.process("until [ -e /go ]; do sleep 0.1; done")?;
    node.kill()?;
    node.start()?;
    std::fs::write(format!("/proc/{}/root/go", first.as_raw_nonzero()), "")?;
    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    assert_eq!(container(&status, "first")?.restarts, 0);
    Ok(())
}

#[test]
fn probes_go_on_after_the_agent_was_killed() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sh", "-c", "touch /healthy; exec sleep 1001"])
        .with("livenessProbe", json!({"exec": {"command": ["cat", "/healthy"]}, "periodSeconds": 1, "failureThreshold": 1}))
        .with("readinessProbe", json!({"exec": {"command": ["cat", "/healthy"]}, "periodSeconds": 1}));
    world.operator.apply(&manifest, &node)?;
    let ready =
        |status: &mote_protocol::status::PodStatus| status.conditions.is_true(PodCondition::Ready);
    world.wait_for(&node, "web", "Ready", ready)?;
    node.kill()?;
    let main = node.process("sleep 1001")?;
    std::fs::remove_file(format!("/proc/{}/root/healthy", main.as_raw_nonzero()))?;
    node.start()?;
    world.wait_for(&node, "web", "a restart", |status| {
        ready(status) && container(status, "main").is_ok_and(|main| main.restarts == 1)
    })?;
    Ok(())
}

#[test]
fn a_pod_that_waits_for_its_image_goes_on_waiting() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let missing = "test.local/late:1";
    let manifest = pod("late").container("main", missing, &["sleep", "1001"]);
    let manifest = manifest.with("imagePullPolicy", json!("Never"));
    world.operator.apply(&manifest, &node)?;
    let waits = |status: &mote_protocol::status::PodStatus| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "ErrImageNeverPull")
    };
    world.wait_for(&node, "late", "a missing image", waits)?;
    node.kill()?;
    node.start()?;
    assert_eq!(node.pauses()?.len(), 0, "nothing can run yet");
    world.operator.delete("late", &node)?;
    world.wait_until_gone(&node, "late")
}

#[test]
fn a_pod_past_its_deadline_goes_on_stopping() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"];
    let manifest = pod("late")
        .container("main", BUSYBOX, &deaf)
        .spec("activeDeadlineSeconds", json!(1))
        .spec("terminationGracePeriodSeconds", json!(5));
    world.operator.apply(&manifest, &node)?;
    world.wait_for_event(&node, "DeadlineExceeded")?;
    node.kill()?;
    node.start()?;
    let status = world.wait_for_phase(&node, "late", Phase::Failed)?;
    assert_eq!(&*status.cause.context("a cause")?.0, "DeadlineExceeded");
    assert_eq!(node.processes("sleep 0.1; done")?, []);
    Ok(())
}

#[test]
fn a_finished_pod_stays_finished() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let manifest = pod("job").container("main", BUSYBOX, &["sh", "-c", "exit 3"]).once();
    world.operator.apply(&manifest, &node)?;
    let before = world.wait_for_phase(&node, "job", Phase::Failed)?;
    world.replace_agent(&mut node)?;
    let after = world.wait_for_phase(&node, "job", Phase::Failed)?;
    assert_eq!(before.uid, after.uid);
    assert_eq!(terminated(&after, "main")?, terminated(&before, "main")?);
    assert_eq!(container(&after, "main")?.restarts, 0);
    Ok(())
}

#[test]
fn a_hook_goes_on_when_the_agent_is_asked_to_end() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let hook = json!({"postStart": {"exec": {"command": ["sleep", "1003"]}}});
    let manifest = pod("web").container("main", BUSYBOX, &["sleep", "1001"]);
    world.operator.apply(&manifest.with("lifecycle", hook), &node)?;
    world.wait_for_event(&node, "Started")?;
    let main = node.process("sleep 1001")?;
    let deadline = Deadline::patient();
    while node.processes("sleep 1003")?.is_empty() {
        ensure!(deadline.remaining().is_some(), "the hook was not started");
        std::thread::yield_now();
    }
    let hook = node.process("sleep 1003")?;
    node.terminate()?;
    node.start()?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    assert_eq!((node.process("sleep 1001")?, node.process("sleep 1003")?), (main, hook));
    world.operator.delete("web", &node)?;
    assert_eq!(node.processes("sleep 1003")?, [], "nothing outlives its container");
    Ok(())
}
