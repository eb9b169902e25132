//! A card that has no room for others, and one that becomes read-only: what runs goes on, nothing is
//! accepted that is not stored, and all of it is once the card takes it.

use anyhow::{Context, Result, ensure};
use mote_protocol::node::{NodeCondition, NodeStatus};
use mote_protocol::status::Phase;
use mote_tests::card::Card;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World, container, status_topic, topic};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A pod that goes on through all of it.
const STAY: &str = "sleep 1001";

/// What ends when it is asked to.
const JOB: &str = "trap 'exit 7' TERM; sleep 1002 & wait";

/// A node whose state lies on a small card, and two pods: one that stays, one that runs once.
fn node_on_a_card(world: &World) -> Result<(Card, Node, Pid)> {
    let card = Card::new(&world.directory().join("n1/state"), "300m")?;
    let mut options = world.options("n1");
    // It is told that the card is full, and nobody is evicted for it.
    options.extra = "[eviction]\nhard = []\nsoft = [\"nodefs.available<10%\"]\n\
                     soft_grace = [\"nodefs.available=24h\"]\n"
        .into();
    let node = world.node_with(options)?;
    world.operator.apply(&stay(), &node)?;
    let job = pod("job").container("main", BUSYBOX, &["sh", "-c", JOB]).once();
    world.operator.apply(&job, &node)?;
    for name in ["stay", "job"] {
        world.wait_for_phase(&node, name, Phase::Running)?;
    }
    let process = node.process(STAY)?;
    Ok((card, node, process))
}

fn stay() -> Manifest {
    pod("stay").container("main", BUSYBOX, &["sleep", "1001"])
}

fn late() -> Manifest {
    pod("late").container("main", BUSYBOX, &["sleep", "1003"])
}

fn say(world: &World, manifest: &Manifest) -> Result<()> {
    let words = ["apply", "-f", "-", "--wait=false", "--node", "n1"];
    world.operator.run_with(&words, &manifest.text())?.succeeded().map(drop)
}

fn wait_until_recovered(world: &World, node: &Node) -> Result<()> {
    let topic = topic(node, "status/node");
    let recovered = |status: &NodeStatus| {
        let mut conditions = status.conditions.iter();
        !conditions.any(|one| one.condition == NodeCondition::StorageErrors && one.truth)
    };
    world
        .observer
        .wait("StorageErrors to end", |view| {
            view.body::<NodeStatus>(&topic).filter(&recovered).map(drop)
        })
        .with_context(|| node.log())
}

/// Says things that the card does not take, has a pod end, and looks that nothing of it counts, also for
/// the next agent.
fn say_in_vain(world: &World, node: &mut Node, process: Pid) -> Result<()> {
    say(world, &late())?;
    say(world, &stay().label("version", "2"))?;
    kill_process(node.process(JOB)?, Signal::TERM)?;
    world.wait_for_condition(node, NodeCondition::StorageErrors)?;
    node.agent()?.wait_for_line("write the record of pod")?;
    check_vain(world, node, process)?;
    node.kill()?;
    node.start()?;
    // The next one has seen how the pod ended, and heard what was said.
    node.agent()?.wait_for_line("write the record of pod")?;
    node.agent()?.wait_for_line("write pod/default/late")?;
    check_vain(world, node, process)
}

fn check_vain(world: &World, node: &Node, process: Pid) -> Result<()> {
    let retained = world.observer.retained()?;
    ensure!(!retained.contains_key(&status_topic(node, "late")), "it was accepted, and not stored");
    let ended = world.statuses(node, "job").into_iter().any(|status| status.phase.is_terminal());
    ensure!(!ended, "its end was told, and not stored");
    ensure!(node.process(STAY)? == process, "it was restarted");
    ensure!(node.processes("sleep 1003")?.is_empty(), "it runs, and is not stored");
    Ok(())
}

/// What the card takes now is as it was asked for.
fn check_stored(world: &World, node: &Node, process: Pid) -> Result<()> {
    world.wait_for_phase(node, "late", Phase::Running)?;
    let job = world.wait_for_phase(node, "job", Phase::Failed)?;
    ensure!(container(&job, "main")?.restarts == 0, "a pod that runs once ran again");
    world.wait_until_accepted(node, "stay", |_| true)?;
    wait_until_recovered(world, node)?;
    ensure!(node.process(STAY)? == process, "it was restarted");
    Ok(())
}

#[test]
fn a_full_card_stops_no_pod_and_what_is_said_is_kept() -> Result<()> {
    let world = World::new()?;
    let (card, mut node, process) = node_on_a_card(&world)?;
    card.fill()?;
    // The agent writes to what it reserved for itself.
    say(&world, &late().spec("priorityClassName", json!("system-node-critical")))?;
    kill_process(node.process(JOB)?, Signal::TERM)?;
    world.wait_for_phase(&node, "late", Phase::Running)?;
    world.wait_for_phase(&node, "job", Phase::Failed)?;
    world.wait_for_event(&node, "DiskFull")?;
    let late = node.process("sleep 1003")?;
    node.kill()?;
    node.start()?;
    world.wait_for_condition(&node, NodeCondition::DiskPressure)?;
    card.make_room()?;
    say(&world, &stay().label("version", "2"))?;
    world.wait_for_event(&node, "DiskHasRoom")?;
    check_stored(&world, &node, process)?;
    ensure!(node.process("sleep 1003")? == late, "it was restarted");
    Ok(())
}

#[test]
fn a_card_that_becomes_read_only_stops_no_pod() -> Result<()> {
    let world = World::new()?;
    let (card, mut node, process) = node_on_a_card(&world)?;
    card.make_read_only()?;
    say_in_vain(&world, &mut node, process)?;
    card.make_writable()?;
    check_stored(&world, &node, process)
}
