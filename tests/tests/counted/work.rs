//! What starting a pod makes the node do, and what it does when there is nothing to do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_cross::release;
use mote_cross::target::Target;
use mote_protocol::status::Phase;
use mote_tests::bench::exec;
use mote_tests::host::voluntary_switches;
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::process::{Process, command};
use mote_tests::verify;
use mote_tests::wait::let_pass;
use mote_tests::workload;
use mote_tests::world::{BUSYBOX, World};
use rustix::process::Signal;

use crate::budget;

/// An image that is only here.
const WORKLOAD: &str = "test.local/workload:1";

/// Pods that are started while something counts.
const PODS: u64 = 5;

/// How long a node is watched doing nothing.
const REST: Duration = Duration::from_secs(20);

/// A node as it is shipped, which has started one pod already: the next finds all in its place.
fn warm(world: &World) -> Result<Node> {
    let agent = release::agent(Target::here()?)?;
    let mut node = world.prepare(world.options("n1"))?.with_program(&agent).quiet();
    node.start()?;
    world.wait_for_birth(&node)?;
    start(world, &node, "warm")?;
    Ok(node)
}

fn start(world: &World, node: &Node, name: &str) -> Result<()> {
    world.operator.apply(&pod(name).container("main", BUSYBOX, &["sleep", "1001"]), node)?;
    world.wait_for_phase(node, name, Phase::Running)?;
    Ok(())
}

fn start_all(world: &World, node: &Node) -> Result<()> {
    (0..PODS).try_for_each(|number| start(world, node, &format!("p{number}")))
}

#[test]
fn system_calls_per_pod_start() -> Result<()> {
    let world = World::new()?;
    let node = warm(&world)?;
    let report = world.directory().join("strace");
    let pid = node.pid()?.as_raw_nonzero().to_string();
    let mut strace = command("strace");
    // Everything the agent starts counts, down to the container's own first calls.
    strace.args(["-f", "-c", "-U", "count,name", "-p", &pid, "-o"]).arg(&report);
    let mut strace = Process::spawn("strace", &mut strace)?;
    strace.wait_for_line("attached")?;
    start_all(&world, &node)?;
    strace.signal(Signal::INT)?;
    strace.wait()?;
    let text = std::fs::read_to_string(&report)?;
    println!("{text}");
    let total = text.lines().rev().find_map(|line| line.trim().strip_suffix(" total"));
    let total: u64 = total.context("strace gives a total")?.trim().parse()?;
    budget::check("system_calls_per_pod_start", total / PODS);
    Ok(())
}

#[test]
fn a_probe_costs_less_than_crun_exec() -> Result<()> {
    let world = World::new()?;
    let node = warm(&world)?;
    let program = world.directory().join("workload");
    workload::compile(&program)?;
    node.import(&workload::image(&program)?, WORKLOAD)?;
    let cost = exec::cost(&world, &node, WORKLOAD, &program)?;
    println!(
        "an exec probe takes {:.2} ms of processor time, crun exec {:.2}",
        cost.probe_ms, cost.crun_ms
    );
    ensure!(cost.probe_ms < cost.crun_ms, "{cost:?}");
    Ok(())
}

/// Histories of the simulator that are counted.
const HISTORIES: u64 = 20;

#[test]
fn instructions_of_deciding() -> Result<()> {
    // The whole agent does not run under valgrind, which knows no open_tree(2). What it decides
    // does: the real steward, store, machines and outbox of the simulator's nodes.
    let simulator = verify::program("agent", "simulator")?;
    let mut callgrind = command("valgrind");
    callgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(simulator)
        .args(["--exact", "the_node_keeps_its_promises_in_every_history"])
        .env("MOTE_SEEDS", HISTORIES.to_string());
    let mut callgrind = Process::spawn("callgrind", &mut callgrind)?;
    let status = callgrind.wait()?;
    callgrind.drain()?;
    let log = callgrind.log();
    ensure!(status.success(), "callgrind ended with {status}:\n{log}");
    let line = log.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.with_context(|| format!("callgrind gives a count:\n{log}"))?;
    let count: u64 = count.trim().parse()?;
    budget::check("instructions_per_simulated_history", count / HISTORIES);
    Ok(())
}

#[test]
fn a_node_at_rest_sleeps() -> Result<()> {
    let world = World::new()?;
    let node = warm(&world)?;
    start_all(&world, &node)?;
    // What a start leaves to be done is done.
    let_pass(Duration::from_secs(5));
    let before = wakeups(&node)?;
    let_pass(REST);
    budget::check("wakeups_in_20_s", wakeups(&node)? - before);
    Ok(())
}

/// Wakeups so far of the agent and of every pause.
fn wakeups(node: &Node) -> Result<u64> {
    let mut sum = voluntary_switches(node.pid()?)?;
    for pause in node.pauses()? {
        sum += voluntary_switches(pause)?;
    }
    Ok(sum)
}
