//! How pods end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mote_protocol::status::{ContainerState, Phase};
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::process::wait_for_exit;
use mote_tests::wait::Deadline;
use mote_tests::world::{BUSYBOX, World, container, terminated, waiting};
use rustix::process::{Signal, kill_process};
use serde_json::json;

#[test]
fn a_container_that_ignores_sigterm_is_killed_after_its_grace() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"];
    let manifest = pod("deaf")
        .container("main", BUSYBOX, &deaf)
        .spec("terminationGracePeriodSeconds", json!(4));
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "deaf", Phase::Running)?;
    let begun = Instant::now();
    world.operator.delete("deaf", &node)?;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(30), "{took:?}");
    Ok(())
}

#[test]
fn a_second_delete_can_only_shorten_the_grace() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"];
    let manifest = pod("deaf")
        .container("main", BUSYBOX, &deaf)
        .spec("terminationGracePeriodSeconds", json!(600));
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "deaf", Phase::Running)?;
    let node_of = ["--node", "n1"];
    let delete = |more: &[&str]| -> Result<String> {
        let words = [&["delete", "pod", "deaf"], &node_of[..], more].concat();
        world.operator.run(&words)?.succeeded()
    };
    delete(&["--wait=false"])?;
    world.wait_for(&node, "deaf", "its end", |status| status.deleting == Some(600))?;
    let begun = Instant::now();
    delete(&["--grace-period=3"])?;
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_mins(1), "{took:?}");
    world.wait_until_gone(&node, "deaf")
}

#[test]
fn a_forced_delete_takes_two_seconds_at_most() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"];
    let manifest = pod("deaf")
        .container("main", BUSYBOX, &deaf)
        .with("lifecycle", json!({"preStop": {"exec": {"command": ["sleep", "1000"]}}}))
        .spec("terminationGracePeriodSeconds", json!(600));
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "deaf", Phase::Running)?;
    let words = ["delete", "pod", "deaf", "--node", "n1", "--grace-period=0", "--force"];
    world.operator.run(&words)?.succeeded()?;
    world.wait_until_gone(&node, "deaf")
}

#[test]
fn an_active_deadline_fails_the_pod() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let manifest = pod("late")
        .container("main", BUSYBOX, &["sleep", "1001"])
        .spec("activeDeadlineSeconds", json!(2));
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for_phase(&node, "late", Phase::Failed)?;
    let (reason, message) = status.cause.context("a cause")?;
    assert_eq!(&*reason, "DeadlineExceeded");
    assert_eq!(&*message, "Pod was active on the node longer than the specified deadline");
    assert!(node.processes("sleep 1001")?.is_empty());
    Ok(())
}

#[test]
fn a_finished_pod_costs_nothing_and_its_logs_can_be_read() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let job = ["sh", "-c", "echo worked; sleep 1001 & wait; echo rested"];
    // It runs when its shell has come so far.
    let sleeps = ["sh", "-c", "until pidof sleep; do usleep 1000; done"];
    let hook = json!({"postStart": {"exec": {"command": sleeps}}});
    let job = pod("job").container("main", BUSYBOX, &job).with("lifecycle", hook);
    world.operator.apply(&job.once(), &node)?;
    world.wait_for_phase(&node, "job", Phase::Running)?;
    let pauses = node.pauses()?;
    kill_process(node.process("sleep 1001")?, Signal::KILL)?;
    world.wait_for_phase(&node, "job", Phase::Succeeded)?;
    for pause in pauses {
        wait_for_exit(pause, Deadline::patient())?;
    }
    assert_eq!(node.footprint().processes()?, [], "it is over");
    let expect_logs = |node: &Node| -> Result<()> {
        let text = "worked\nrested\n";
        assert_eq!(world.operator.run(&["logs", "job"])?.succeeded()?, text);
        assert_eq!(node.ctl(&["logs", "job"])?, text);
        Ok(())
    };
    expect_logs(&node)?;
    node.kill()?;
    node.start()?;
    // Another pod's start shows that the agent has looked at what is there.
    world.operator.apply(&pod("next").container("main", BUSYBOX, &["sleep", "1002"]), &node)?;
    world.wait_for_phase(&node, "next", Phase::Running)?;
    assert_eq!(world.operator.field("job", &node, ".status.phase")?, "Succeeded");
    assert!(node.processes("sleep 1001")?.is_empty() && node.pauses()?.len() == 1);
    expect_logs(&node)?;
    world.operator.delete("job", &node)?;
    Ok(())
}

#[test]
fn logs_outlive_the_sandbox_that_they_were_written_in() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let script = ["sh", "-c", "echo up; exec sleep 1001"];
    world.operator.apply(&pod("web").container("main", BUSYBOX, &script), &node)?;
    let running = |restarts| {
        move |status: &mote_protocol::status::PodStatus| {
            container(status, "main").is_ok_and(|main| main.restarts == restarts && main.ready())
        }
    };
    world.wait_for(&node, "web", "its first attempt", running(0))?;
    // What has not gone through the sandbox yet would be lost with it.
    assert_eq!(
        world.operator.run(&["logs", "web", "-f", "--limit-bytes", "3"])?.succeeded()?,
        "up\n"
    );
    let [pause] = node.pauses()?[..] else { bail!("one sandbox") };
    kill_process(pause, Signal::KILL)?;
    world.wait_for(&node, "web", "its second attempt", running(1))?;
    assert_eq!(world.operator.run(&["logs", "web", "-p"])?.succeeded()?, "up\n");
    Ok(())
}

#[test]
fn a_pod_can_be_deleted_at_any_time() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let waits = |name: &'static str, reason: &'static str| {
        move |status: &mote_protocol::status::PodStatus| {
            waiting(status, name).is_some_and(|(why, _)| why == reason)
        }
    };
    // While its image is pulled: from an address that never answers.
    let pull = pod("pull").image("main", "192.0.2.1:5000/nothing:1");
    world.operator.apply(&pull, &node)?;
    world.wait_for(&node, "pull", "a status", waits("main", "ContainerCreating"))?;
    world.operator.delete("pull", &node)?;
    // While an init container runs.
    let init = pod("init").init("first", BUSYBOX, &["sleep", "1001"]).container(
        "main",
        BUSYBOX,
        &["sleep", "1002"],
    );
    world.operator.apply(&init, &node)?;
    world.wait_for(&node, "init", "its init container", |status| {
        container(status, "first").is_ok_and(|c| matches!(c.state, ContainerState::Running { .. }))
    })?;
    world.operator.delete("init", &node)?;
    // While it waits for its next attempt.
    let crash = pod("crash").container("main", BUSYBOX, &["false"]);
    world.operator.apply(&crash, &node)?;
    world.wait_for(&node, "crash", "a back-off", waits("main", "CrashLoopBackOff"))?;
    world.operator.delete("crash", &node)?;
    assert_eq!(node.pauses()?.len(), 0, "a sandbox is left");
    Ok(())
}

#[test]
fn a_container_out_of_memory_says_so() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    // `tail` keeps what it reads until a line ends.
    let manifest = pod("hungry")
        .container("main", BUSYBOX, &["tail", "/dev/zero"])
        .with("resources", json!({"limits": {"memory": "16Mi"}}))
        .once();
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for_phase(&node, "hungry", Phase::Failed)?;
    let end = terminated(&status, "main")?;
    assert_eq!((end.exit_code, &*end.reason), (137, "OOMKilled"));
    Ok(())
}
