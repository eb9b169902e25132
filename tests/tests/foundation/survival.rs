//! Agents die, machines reboot; pods must not notice the one and come back after the other.

use anyhow::Result;
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::process::wait_for_exit;
use mote_tests::wait::Deadline;
use mote_tests::world::{BUSYBOX, World, container, terminated};
use rustix::process::{Pid, Signal, kill_process};

const PODS: [(&str, &str); 5] =
    [("a", "1001"), ("b", "1002"), ("c", "1003"), ("d", "1004"), ("e", "1005")];

fn run_five_pods(world: &World, node: &Node) -> Result<Vec<Pid>> {
    for (name, seconds) in PODS {
        let sleeper = pod(name).container("main", BUSYBOX, &["sleep", seconds]);
        world.operator.apply(&sleeper, node)?;
    }
    for (name, _) in PODS {
        world.wait_for_phase(node, name, Phase::Running)?;
    }
    processes(node)
}

fn processes(node: &Node) -> Result<Vec<Pid>> {
    PODS.iter().map(|(_, seconds)| node.process(&format!("sleep {seconds}"))).collect()
}

fn assert_nothing_ever_restarted(world: &World, node: &Node) {
    for (name, _) in PODS {
        for status in world.statuses(node, name) {
            assert_eq!(restarts(&status), 0, "{name}: {status:#?}");
        }
    }
}

fn restarts(status: &PodStatus) -> u32 {
    container(status, "main").map_or(0, |main| main.restarts)
}

#[test]
fn five_pods_outlive_a_killed_agent() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let before = run_five_pods(&world, &node)?;
    node.kill()?;
    assert_eq!(processes(&node)?, before);
    node.start()?;
    // The next agent proves that it has adopted them by doing something with one.
    world.operator.delete("a", &node)?;
    world.wait_until_gone(&node, "a")?;
    let pods = node.ctl(&["pods"])?;
    assert_eq!(pods.matches("Running").count(), 4, "{pods}");
    let left: Vec<_> = before.get(1..).unwrap_or_default().to_vec();
    let now: Result<Vec<_>> =
        PODS.iter().skip(1).map(|(_, seconds)| node.process(&format!("sleep {seconds}"))).collect();
    assert_eq!(now?, left);
    assert_nothing_ever_restarted(&world, &node);
    Ok(())
}

#[test]
fn pods_outlive_an_agent_that_was_asked_to_stop() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let before = run_five_pods(&world, &node)?;
    node.terminate()?;
    assert_eq!(processes(&node)?, before);
    node.start()?;
    world.operator.apply(&pod("f").container("main", BUSYBOX, &["sleep", "1006"]), &node)?;
    world.wait_for_phase(&node, "f", Phase::Running)?;
    assert_eq!(processes(&node)?, before);
    assert_nothing_ever_restarted(&world, &node);
    Ok(())
}

#[test]
fn an_exit_without_an_agent_is_reported_with_its_code() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let job = "trap 'exit 7' TERM; sleep 1001 & wait";
    world
        .operator
        .apply(&pod("job").container("main", BUSYBOX, &["sh", "-c", job]).once(), &node)?;
    world.wait_for_phase(&node, "job", Phase::Running)?;
    let shell = node.process(job)?;
    node.kill()?;
    kill_process(shell, Signal::TERM)?;
    wait_for_exit(shell, Deadline::patient())?;
    node.start()?;
    let status = world.wait_for_phase(&node, "job", Phase::Failed)?;
    assert_eq!(terminated(&status, "main")?.exit_code, 7);
    assert!(node.processes(job)?.is_empty(), "it was started a second time");
    Ok(())
}

#[test]
fn a_reboot_starts_running_pods_and_leaves_finished_ones() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sleep", "1001"]), &node)?;
    world.operator.apply(&pod("done").container("main", BUSYBOX, &["true"]).once(), &node)?;
    world
        .operator
        .apply(&pod("cut").container("main", BUSYBOX, &["sleep", "1002"]).once(), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    world.wait_for_phase(&node, "cut", Phase::Running)?;
    let done = world.wait_for_phase(&node, "done", Phase::Succeeded)?;
    let before = node.process("sleep 1001")?;

    node.power_off()?;
    node.start()?;
    world.wait_for_phase(&node, "cut", Phase::Failed)?;
    world.wait_for(&node, "web", "running again", |status| {
        status.phase == Phase::Running && restarts(status) > 0
    })?;
    assert_ne!(node.process("sleep 1001")?, before);
    assert!(node.processes("sleep 1002")?.is_empty(), "a Never pod ran again");
    let finished = world.wait_for_phase(&node, "done", Phase::Succeeded)?;
    assert_eq!(terminated(&finished, "main")?.exit_code, terminated(&done, "main")?.exit_code);
    let again = world.statuses(&node, "done").into_iter().any(|status| restarts(&status) > 0);
    assert!(!again, "a finished pod ran again");
    Ok(())
}

#[test]
fn a_node_that_is_switched_off_ends_its_pods_first() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let asked = "trap 'exit 7' TERM; sleep 1001 & wait";
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sh", "-c", asked]), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    let refused = node.halt().expect_err("the agent would start them again").to_string();
    assert!(refused.contains("another agent runs on"), "{refused}");

    node.terminate()?;
    assert_eq!(node.halt()?, "pods ended; 0 processes had to be killed\n");
    assert!(node.processes(asked)?.is_empty() && node.pauses()?.is_empty());
    assert_eq!(node.halt()?, "pods ended; 0 processes had to be killed\n", "none are left");

    node.start()?;
    let again = world.wait_for(&node, "web", "running again", |status| {
        status.phase == Phase::Running && restarts(status) > 0
    })?;
    let last = container(&again, "main")?.last.as_ref().map(|last| last.exit_code);
    assert_eq!(last, Some(7));
    Ok(())
}
