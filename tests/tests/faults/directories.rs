//! The directories of a node: wiped by somebody who cleans up too much, or wanted by a second agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::process::wait_for_exit;
use mote_tests::wait::Deadline;
use mote_tests::world::{BUSYBOX, World, container};
use rustix::process::Pid;

use crate::traces::Traces;

const PODS: [(&str, &str); 3] = [("a", "1001"), ("b", "1002"), ("c", "1003")];

fn run(world: &World, node: &Node, name: &str, seconds: &str) -> Result<()> {
    world.operator.apply(&pod(name).container("main", BUSYBOX, &["sleep", seconds]), node)?;
    world.wait_for_phase(node, name, Phase::Running).map(drop)
}

fn processes(node: &Node) -> Result<Vec<Pid>> {
    PODS.iter().map(|(_, seconds)| node.process(&format!("sleep {seconds}"))).collect()
}

/// Removes what can be removed: of what is mounted, the files.
fn wipe(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            wipe(&path);
            let _ = fs::remove_dir(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
}

#[test]
fn a_run_directory_that_is_wiped_costs_restarts_and_nothing_else() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    run(&world, &node, "first", "1000")?;
    world.operator.delete("first", &node)?;
    world.wait_until_gone(&node, "first")?;
    let traces = Traces::of(&node)?;
    for (name, seconds) in PODS {
        run(&world, &node, name, seconds)?;
    }
    let before = processes(&node)?;
    wipe(&node.run());
    // The agent has no need of what is gone: another pod starts, and those that run go on.
    run(&world, &node, "late", "1004")?;
    ensure!(processes(&node)? == before, "what ran was restarted");
    world.operator.delete("late", &node)?;
    world.wait_until_gone(&node, "late")?;

    // The next agent knows nothing of them, and cannot talk to what holds them.
    node.terminate()?;
    node.start()?;
    for (name, _) in PODS {
        world.wait_for(&node, name, "running again", |status| {
            status.phase == Phase::Running
                && container(status, "main").is_ok_and(|main| main.restarts > 0)
        })?;
    }
    let now: BTreeSet<_> = processes(&node)?.into_iter().map(Pid::as_raw_nonzero).collect();
    for pid in before {
        ensure!(!now.contains(&pid.as_raw_nonzero()), "it runs without anybody who holds it");
        wait_for_exit(pid, Deadline::patient())?;
    }
    for (name, _) in PODS {
        world.operator.delete(name, &node)?;
        world.wait_until_gone(&node, name)?;
    }
    // Said after the node heard that the last was told: what it forgets is forgotten before this.
    run(&world, &node, "last", "1005")?;
    world.operator.delete("last", &node)?;
    traces.wait_for(&node)
}

#[test]
fn a_second_agent_is_refused_and_harms_nothing() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    for (name, seconds) in PODS {
        run(&world, &node, name, seconds)?;
    }
    let (before, held) = (processes(&node)?, Traces::of(&node)?);
    let mut second = node.another_agent()?;
    let status = second.wait()?;
    second.drain()?;
    let said = second.log();
    ensure!(status.code() == Some(70), "it ends with {status}:\n{said}");
    let told = format!("mote-agent: another agent runs on {}", node.state().display());
    ensure!(said.lines().any(|line| line == told), "{said}");
    ensure!(processes(&node)? == before, "a pod was touched");
    let after = Traces::of(&node)?;
    ensure!(after == held, "it left something: {after:#?}\nbefore: {held:#?}");
    ensure!(node.ctl(&["pods"])?.matches("Running").count() == 3, "the first one does not answer");
    run(&world, &node, "late", "1004")
}
