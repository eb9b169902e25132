//! postStart and preStop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::world::{BUSYBOX, World, waiting};
use serde_json::json;

#[test]
fn a_pod_runs_only_when_its_post_start_hook_returned() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    // The hook waits for a file that the test makes.
    let wait = ["sh", "-c", "until [ -e /go ]; do sleep 0.1; done; echo hooked > /done"];
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sleep", "1001"])
        .with("lifecycle", json!({"postStart": {"exec": {"command": wait}}}))
        .container("after", BUSYBOX, &["sleep", "1002"]);
    world.operator.apply(&manifest, &node)?;
    world.wait_for_event(&node, "Started")?;
    let pid = node.process("sleep 1001")?;
    let waiting = world.wait_for(&node, "web", "a status", |_| true)?;
    assert_eq!(waiting.phase, Phase::Pending);
    assert!(node.processes("sleep 1002")?.is_empty(), "the next container was started");
    let root = format!("/proc/{}/root", pid.as_raw_nonzero());
    std::fs::write(format!("{root}/go"), "")?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    assert_eq!(std::fs::read_to_string(format!("{root}/done"))?, "hooked\n");
    Ok(())
}

#[test]
fn a_failing_post_start_hook_ends_the_container() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let fail = ["sh", "-c", "echo no good; exit 7"];
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sleep", "1001"])
        .with("lifecycle", json!({"postStart": {"exec": {"command": fail}}}));
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for(&node, "web", "PostStartHookError", |status| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "PostStartHookError")
    })?;
    let (_, message) = waiting(&status, "main").context("it waits")?;
    assert!(message.contains("Exec lifecycle hook ([sh -c echo no good; exit 7])"), "{message}");
    assert!(message.contains("no good"), "{message}");
    assert_eq!(world.wait_for_event(&node, "FailedPostStartHook")?, "PostStartHook failed");
    world.wait_for(&node, "web", "CrashLoopBackOff", |status| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "CrashLoopBackOff")
    })?;
    Ok(())
}

#[test]
fn a_pre_stop_hook_comes_before_sigterm() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let main = "trap 'echo term; exit 0' TERM; while :; do sleep 0.1; done";
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sh", "-c", main])
        .with(
            "lifecycle",
            json!({"preStop": {"exec": {"command": ["sh", "-c", "echo hook > /proc/1/fd/1"]}}}),
        )
        .spec("terminationGracePeriodSeconds", json!(20));
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    let logs = node.keep_logs(&status.uid.context("a uid")?)?;
    world.operator.delete("web", &node)?;
    let order = [logs.said_at("main", "hook")?, logs.said_at("main", "term")?];
    assert!(order.is_sorted(), "{order:?}");
    Ok(())
}

#[test]
fn a_pre_stop_hook_that_outlives_the_grace_is_given_up() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sleep", "1001"])
        .with("lifecycle", json!({"preStop": {"exec": {"command": ["sleep", "1000"]}}}))
        .spec("terminationGracePeriodSeconds", json!(3));
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    let begun = Instant::now();
    world.operator.delete("web", &node)?;
    // Three seconds for the hook, two to end by SIGTERM, which process 1 of a namespace ignores.
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    Ok(())
}
