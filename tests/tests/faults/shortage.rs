//! A node that runs short of memory or of room on its card: who uses more than it asked for goes, in
//! the kubelet's order, and nobody else is harmed. Neither touches the machine that this runs on: the
//! memory is what the node's pods may have together, the card is a small one.

use std::fs;

use anyhow::{Context, Result, ensure};
use mote_protocol::node::NodeCondition;
use mote_protocol::status::{ContainerState, Phase};
use mote_tests::card::Card;
use mote_tests::image::Builder;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World, container};
use serde_json::json;

/// MiB that all pods of the node may have together.
const ALL_PODS: u64 = 300;

/// A node whose pods have so little memory together.
fn options() -> Result<String> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.context("the memory of this machine")?.trim().trim_end_matches(" kB");
    let reserved = total.parse::<u64>()?.div_ceil(1024) - ALL_PODS;
    Ok(format!(
        "[limits]\nreserved_memory_mib = {reserved}\n\
         [eviction]\nhard = [\"memory.available<100Mi\"]\n"
    ))
}

/// A pod that keeps so many MiB somewhere, and sleeps. Once it runs, they are written.
fn keeper(name: &str, mib: u32, medium: &str, sleep: u32) -> Manifest {
    let write = format!("dd if=/dev/zero of=/data/x bs=1M count={mib}");
    pod(name)
        .container("main", BUSYBOX, &["sleep", &sleep.to_string()])
        .with("lifecycle", json!({"postStart": {"exec": {"command": ["sh", "-c", write]}}}))
        .volume("data", json!({"emptyDir": {"medium": medium}}), "/data")
}

fn evicted(world: &World, node: &Node, pod: &str) -> Result<String> {
    let status = world.wait_for_phase(node, pod, Phase::Failed)?;
    let (reason, message) = status.cause.context("a reason")?;
    ensure!(reason == *"Evicted", "{reason}: {message}");
    Ok(message.to_string())
}

/// Neither ended nor started anew.
fn is_unharmed(world: &World, node: &Node, pod: &str) -> Result<()> {
    let statuses = world.statuses(node, pod);
    let status = statuses.last().context("a status")?;
    let main = container(status, "main")?;
    let runs = matches!(main.state, ContainerState::Running { .. });
    ensure!(runs && main.restarts == 0, "{main:?}");
    Ok(())
}

#[test]
fn who_uses_more_memory_than_it_asked_for_is_evicted_before_anybody_is_killed() -> Result<()> {
    let world = World::new()?;
    let mut options = world.options("n1");
    options.extra = self::options()?;
    let mut node = world.node_with(options)?;
    let amounts = json!({"cpu": "200m", "memory": "150Mi"});
    let guaranteed = json!({"requests": amounts, "limits": amounts});
    let steady = keeper("steady", 120, "Memory", 1001).with("resources", guaranteed.clone());
    world.operator.apply(&steady, &node)?;
    world.wait_for_phase(&node, "steady", Phase::Running)?;
    // The next agent finds at its start how little is left, and looks more often.
    node.kill()?;
    node.start()?;
    world.operator.apply(&keeper("greedy", 90, "Memory", 1002), &node)?;
    let message = evicted(&world, &node, "greedy")?;
    let told = "The node was low on resource: memory. Threshold quantity: 100Mi, available: ";
    ensure!(message.starts_with(told), "{message}");
    ensure!(message.contains("Container main was using "), "{message}");
    ensure!(message.ends_with(", request is 0, has larger consumption of memory. "), "{message}");
    ensure!(world.wait_for_event(&node, "Evicted")? == message);
    world.wait_for_event(&node, "EvictionThresholdMet")?;
    world.wait_for_condition(&node, NodeCondition::MemoryPressure)?;
    is_unharmed(&world, &node, "steady")?;
    // One that asks for nothing is not taken meanwhile, one that says what it needs is.
    let words = ["apply", "-f", "-", "--wait=false", "--node", "n1"];
    let late = pod("late").container("main", BUSYBOX, &["sleep", "1003"]);
    world.operator.run_with(&words, &late.text())?.succeeded()?;
    let refusal = world.wait_for_refusal(&node, "late")?;
    ensure!(refusal == "Evicted: The node had condition: [MemoryPressure]. ", "{refusal}");
    let modest = pod("modest").container("main", BUSYBOX, &["sleep", "1004"]);
    let small = json!({"requests": {"memory": "1Mi"}});
    world.operator.apply(&modest.with("resources", small), &node)?;
    world.wait_for_phase(&node, "modest", Phase::Running)?;
    is_unharmed(&world, &node, "steady")
}

#[test]
fn a_card_that_fills_up_loses_what_nobody_needs_and_then_who_filled_it() -> Result<()> {
    let world = World::new()?;
    let _card = Card::new(&world.directory().join("n1/state"), "200m")?;
    let mut options = world.options("n1");
    options.extra =
        "[images]\ngc_min_age_s = 0\n[eviction]\nhard = [\"nodefs.available<30%\"]\n".into();
    let mut node = world.node_with(options)?;
    let steady = keeper("steady", 100, "", 1001);
    let asks = json!({"requests": {"ephemeral-storage": "120Mi"}});
    world.operator.apply(&steady.with("resources", asks), &node)?;
    world.wait_for_phase(&node, "steady", Phase::Running)?;
    // The next agent finds at its start that little is left, and looks more often.
    node.kill()?;
    node.start()?;
    let nobodys = Builder::busybox()?.env("IS", "nobodys").build()?;
    node.import(&nobodys, "test.local/nobody:1")?;
    world.wait_for_event(&node, "ImageImported")?;
    world.operator.apply(&keeper("filler", 45, "", 1002), &node)?;
    let message = evicted(&world, &node, "filler")?;
    ensure!(message.starts_with("The node was low on resource: ephemeral-storage. "), "{message}");
    world.wait_for_condition(&node, NodeCondition::DiskPressure)?;
    is_unharmed(&world, &node, "steady")?;
    let images = node.ctl(&["images"])?;
    ensure!(!images.contains("nobody"), "{images}");
    Ok(())
}
