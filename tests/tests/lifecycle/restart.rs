//! Restart policies and the pauses between restarts.

use anyhow::{Context, Result};
use mote_protocol::status::{ContainerState, Phase};
use mote_tests::manifest::pod;
use mote_tests::world::{BUSYBOX, World, container, terminated, waiting};
use serde_json::json;

#[test]
fn a_crash_loop_waits_ten_seconds_after_the_second_end() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let manifest = pod("web").container("main", BUSYBOX, &["sh", "-c", "exit 1"]);
    world.operator.apply(&manifest, &node)?;
    let held = world.wait_for(&node, "web", "CrashLoopBackOff", |status| {
        container(status, "main").is_ok_and(|main| main.restarts == 1)
            && waiting(status, "main").is_some_and(|(reason, _)| reason == "CrashLoopBackOff")
    })?;
    let (_, message) = waiting(&held, "main").context("it waits")?;
    assert!(message.starts_with("back-off 10s restarting failed container=main"), "{message}");
    assert_eq!(held.phase, Phase::Running, "a crash loop is a pod that runs");
    let ended = container(&held, "main")?.last.clone().context("how it ended")?.finished;
    let again = world.wait_for(&node, "web", "a third attempt", |status| {
        container(status, "main").is_ok_and(|main| main.restarts == 2)
    })?;
    let next = match &container(&again, "main")?.state {
        ContainerState::Running { since } => *since,
        ContainerState::Terminated(end) => end.started,
        ContainerState::Waiting { .. } => {
            container(&again, "main")?.last.clone().context("how it ended")?.started
        }
    };
    assert!((10..=12).contains(&(next - ended)), "ended at {ended} s, started at {next} s");
    Ok(())
}

#[test]
fn a_success_is_final_under_on_failure_and_a_failure_is_not() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let manifest = pod("job")
        .container("good", BUSYBOX, &["true"])
        .container("second", BUSYBOX, &["sh", "-c", "exit 3"])
        .spec("restartPolicy", json!("OnFailure"));
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for(&node, "job", "a restart", |status| {
        container(status, "second").is_ok_and(|second| second.restarts >= 1)
    })?;
    assert_eq!(terminated(&status, "good")?.exit_code, 0);
    assert_eq!(container(&status, "good")?.restarts, 0);
    assert_eq!(status.phase, Phase::Running);
    Ok(())
}

#[test]
fn a_program_that_is_not_there_ends_its_attempt_with_128() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let program = ["/no/such/program"];
    let once =
        pod("once").container("main", BUSYBOX, &program).spec("restartPolicy", json!("Never"));
    world.operator.apply(&once, &node)?;
    let status = world.wait_for_phase(&node, "once", Phase::Failed)?;
    let end = terminated(&status, "main")?;
    assert_eq!((end.exit_code, &*end.reason), (128, "StartError"));
    assert!(end.message.contains("executable `/no/such/program` is not in the image"), "{end:?}");
    world.operator.apply(&pod("loop").container("main", BUSYBOX, &program), &node)?;
    let held = world.wait_for(&node, "loop", "CrashLoopBackOff", |status| {
        container(status, "main").is_ok_and(|main| main.restarts == 1)
            && waiting(status, "main").is_some_and(|(reason, _)| reason == "CrashLoopBackOff")
    })?;
    assert_eq!(held.phase, Phase::Running);
    Ok(())
}
