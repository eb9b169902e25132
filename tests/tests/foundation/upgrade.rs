//! The agent's program is replaced: its pods do not notice, and the new one works with what it finds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::binaries;
use mote_tests::manifest::pod;
use mote_tests::world::{BUSYBOX, World, container};
use rustix::process::{Pid, Signal, kill_process};

/// Puts the program to be started into its place as a package would: another file of the same name.
fn install(place: &Path) -> Result<()> {
    let new = place.with_extension("new");
    fs::copy(binaries::agent()?, &new).context("copy the agent")?;
    fs::rename(&new, place).context("replace the agent")
}

/// The file that a process executes, also after its name means another.
fn executes(pid: Pid) -> Result<PathBuf> {
    Ok(fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()))?)
}

#[test]
fn a_replaced_agent_takes_over_what_the_one_before_began() -> Result<()> {
    let world = World::new()?;
    let node = world.prepare(world.options("n1"))?;
    let place = node.state().join("mote-agent");
    install(&place)?;
    let mut node = node.with_program(&place);
    node.start()?;
    world.wait_for_birth(&node)?;
    for (name, seconds) in [("stays", "1001"), ("falls", "1002")] {
        let sleeper = pod(name).container("main", BUSYBOX, &["sleep", seconds]);
        world.operator.apply(&sleeper, &node)?;
        world.wait_for_phase(&node, name, Phase::Running)?;
    }
    let (stays, falls) = (node.process("sleep 1001")?, node.process("sleep 1002")?);

    install(&place)?;
    let before = executes(node.pid()?)?;
    ensure!(before.to_string_lossy().ends_with(" (deleted)"), "{} was replaced", before.display());
    // What the old one still starts is started from its own file, which has no name any more.
    let late = pod("late").container("main", BUSYBOX, &["sleep", "1003"]);
    world.operator.apply(&late, &node)?;
    world.wait_for_phase(&node, "late", Phase::Running)?;
    let late = node.process("sleep 1003")?;
    node.terminate()?;
    node.start()?;
    ensure!(executes(node.pid()?)? == place, "the new one runs");

    // Its helper, in a sandbox of the one before.
    kill_process(falls, Signal::KILL)?;
    world.wait_for(&node, "falls", "running again", |status| {
        status.phase == Phase::Running
            && container(status, "main").is_ok_and(|main| main.restarts == 1)
    })?;
    ensure!(node.process("sleep 1002")? != falls, "it was started anew");
    ensure!(node.process("sleep 1001")? == stays, "it was left alone");
    ensure!(node.process("sleep 1003")? == late, "it was left alone");
    for name in ["stays", "late"] {
        for status in world.statuses(&node, name) {
            let restarts = container(&status, "main").map_or(0, |main| main.restarts);
            ensure!(restarts == 0, "{name}: {status:#?}");
        }
    }
    let pods = node.ctl(&["pods"])?;
    ensure!(pods.matches("Running").count() == 3, "{pods}");
    Ok(())
}
