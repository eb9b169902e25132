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

/// Processes and threads of this machine, and how many it may have.
fn processes() -> Result<(u64, u64)> {
    let read = |path: &str| -> Result<String> { Ok(fs::read_to_string(path)?) };
    let load = read("/proc/loadavg")?;
    let used = load.split([' ', '/']).nth(4).context("processes in /proc/loadavg")?;
    let most = |path: &str| -> Result<u64> { Ok(read(path)?.trim().parse()?) };
    let bounds = [most("/proc/sys/kernel/pid_max")?, most("/proc/sys/kernel/threads-max")?];
    Ok((used.parse()?, bounds.into_iter().min().unwrap_or(0)))
}

/// Processes of a bomb: its first, and those that it makes, which stay.
const BOMB: u64 = 600;

/// Makes processes until it may make no more.
fn bomb(sleep: u32) -> Manifest {
    let script = format!(
        "i=0; while [ $i -lt {BOMB} ]; do sleep {sleep} & i=$((i+1)); done; echo all; wait"
    );
    pod("bomb").once().container("main", BUSYBOX, &["sh", "-c", &script])
}

/// A node with a steady pod, for which this machine is short of processes once it has so many more.
fn node_short_of_processes(world: &World, limits: &str, more: u64) -> Result<Node> {
    let (used, most) = processes()?;
    let free = most.saturating_sub(used + more);
    let mut options = world.options("n1");
    options.extra = format!(
        "[limits]\n{limits}\n[eviction]\nhard = [\"pid.available<{free}\"]\n\
         transition_s = 1\n"
    );
    let node = world.node_with(options)?;
    let steady = pod("steady").container("main", BUSYBOX, &["sleep", "1001"]);
    world.operator.apply(&steady, &node)?;
    world.wait_for_phase(&node, "steady", Phase::Running)?;
    Ok(node)
}

#[test]
fn a_fork_bomb_within_its_limit_touches_nobody() -> Result<()> {
    let world = World::new()?;
    let node = node_short_of_processes(&world, "pod_pids = 40", 400)?;
    world.operator.apply(&bomb(1002), &node)?;
    // The shell gives up once it may not fork.
    world.wait_for(&node, "bomb", "its end", |status| status.phase.is_terminal())?;
    let begun = node.ctl(&["logs", "bomb"])?;
    ensure!(begun.contains("can't fork") && !begun.contains("all"), "{begun}");
    ensure!(!node.log().contains("PIDPressure"), "{}", node.log());
    is_unharmed(&world, &node, "steady")
}

#[test]
fn a_fork_bomb_without_a_limit_is_evicted_and_the_pressure_goes_with_it() -> Result<()> {
    let world = World::new()?;
    let node = node_short_of_processes(&world, "pod_pids = 0", 300)?;
    world.operator.apply(&bomb(1002), &node)?;
    world.wait_for_condition(&node, NodeCondition::PIDPressure)?;
    let message = evicted(&world, &node, "bomb")?;
    ensure!(message.starts_with("The node was low on resource: pids. "), "{message}");
    is_unharmed(&world, &node, "steady")?;
    node.agent()?.wait_for_line("condition=PIDPressure truth=false")?;
    ensure!(node.processes("sleep 1002")?.is_empty());
    Ok(())
}

#[test]
fn a_critical_pod_takes_the_place_of_another() -> Result<()> {
    let world = World::new()?;
    let mut options = world.options("n1");
    options.extra = "[limits]\npods = 2\n".into();
    let node = world.node_with(options)?;
    let sleeper = |name: &str, seconds| pod(name).container("main", BUSYBOX, &["sleep", seconds]);
    let requests = json!({"requests": {"cpu": "10m"}});
    let burstable = sleeper("burstable", "1001").with("resources", requests);
    for one in [burstable, sleeper("best", "1002")] {
        world.operator.apply(&one, &node)?;
    }
    for name in ["burstable", "best"] {
        world.wait_for_phase(&node, name, Phase::Running)?;
    }
    let error = world.operator.try_apply(&sleeper("third", "1003"), &node)?.refused()?;
    let why = "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2";
    ensure!(error.contains("(OutOfpods)") && error.contains(why), "{error}");
    let critical =
        sleeper("critical", "1004").spec("priorityClassName", json!("system-node-critical"));
    world.operator.apply(&critical, &node)?;
    let status = world.wait_for_phase(&node, "best", Phase::Failed)?;
    let (reason, message) = status.cause.context("a reason")?;
    let told = "Preempted in order to admit critical pod";
    ensure!((&*reason, &*message) == ("Preempting", told), "{reason}: {message}");
    let shown =
        world.operator.run(&["describe", "pod", "best", "--show-events=false"])?.succeeded()?;
    ensure!(shown.lines().any(|line| line.trim().starts_with("DisruptionTarget")), "{shown}");
    ensure!(world.wait_for_event(&node, "Preempting")?.contains("critical pod"));
    world.wait_for_phase(&node, "critical", Phase::Running)?;
    is_unharmed(&world, &node, "burstable")
}
