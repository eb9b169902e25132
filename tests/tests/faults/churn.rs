//! An agent that is killed at any instant, in the middle of everything.
//!
//! A hundred kills; `MOTE_LONG` makes them five hundred. A failure tells its seed: `MOTE_FAULT_SEED`
//! repeats what is done and how long each agent lives, as far as a machine can be repeated.

use std::env;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mote_protocol::status::Phase;
use mote_tests::manifest::{config_map, pod};
use mote_tests::node::Node;
use mote_tests::random::Random;
use mote_tests::wait::let_pass;
use mote_tests::world::{BUSYBOX, World};
use serde_json::json;

use crate::pods::Pods;
use crate::traces::Traces;

/// How often the agent is killed.
const KILLS: usize = 100;
const LONG_KILLS: usize = 500;

/// Of so many agents, one is killed while it starts.
const EARLY: usize = 3;

/// The longest life of such an agent, and of the others behind what is said to them.
const LONGEST_START: usize = 400;
const LONGEST_LIFE: usize = 600;

/// Of so many agents, one lives to see a pod lose what holds it.
const ORPHANS: usize = 8;

#[test]
fn twenty_pods_outlive_an_agent_that_is_killed_at_any_instant() -> Result<()> {
    let kills = if env::var_os("MOTE_LONG").is_some() { LONG_KILLS } else { KILLS };
    let seed = match env::var("MOTE_FAULT_SEED") {
        Ok(text) => text.parse().context("MOTE_FAULT_SEED is no number")?,
        Err(_) => u64::from(std::process::id()),
    };
    let begin = Instant::now();
    let mut random = Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let mut pods = Pods::new(&world, &node)?;
    let before = warm(&world, &node)?;
    pods.begin(&world, &node)?;
    let mut logs = vec![node.kill()?];
    let outcome = (|| {
        for _ in 0..kills {
            one_life(&world, &mut node, &mut pods, &mut random)?;
            logs.push(node.kill()?);
        }
        node.start()?;
        pods.settle(&world, &node)?;
        pods.check(&world, &node)?;
        pods.end(&world, &node)?;
        before.wait_for(&node)
    })();
    let told = format!("{kills} kills of MOTE_FAULT_SEED={seed}, {}", pods.summary());
    if outcome.is_err() {
        logs.push(node.log());
        let path = format!(concat!(env!("CARGO_TARGET_TMPDIR"), "/churn-{}.log"), seed);
        fs::write(&path, logs.join("\n--- killed ---\n"))?;
        return outcome.with_context(|| format!("{told}; logs are in {path}"));
    }
    let time = begin.elapsed();
    Ok(write!(std::io::stdout(), "\nfigure: {told}, in {time:.0?}\n")?)
}

/// What a node holds that has had a pod, and settings, and has none any more.
fn warm(world: &World, node: &Node) -> Result<Traces> {
    world.operator.apply(&config_map("first", json!({"a": "b"})), node)?;
    let first = pod("first").container("main", BUSYBOX, &["sleep", "1000"]).volume(
        "first",
        json!({"configMap": {"name": "first"}}),
        "/first",
    );
    world.operator.apply(&first, node)?;
    world.wait_for_phase(node, "first", Phase::Running)?;
    world.operator.delete("first", node)?;
    world.operator.run(&["delete", "configmap", "first", "--node", "n1"])?.succeeded()?;
    world.wait_until_gone(node, "first")?;
    Traces::of(node)
}

/// An agent that hears something and is about to be killed.
fn one_life(world: &World, node: &mut Node, pods: &mut Pods, random: &mut Random) -> Result<()> {
    node.launch()?;
    if random.below(EARLY) == 0 {
        let_pass(milliseconds(random.below(LONGEST_START)));
        return Ok(());
    }
    if random.below(2) == 0 {
        let_pass(milliseconds(random.below(LONGEST_START)));
    }
    if random.below(ORPHANS) == 0 {
        pods.orphan_one(node, random)?;
    }
    for _ in 0..=random.below(2) {
        pods.say(world, node, random)?;
    }
    let_pass(milliseconds(random.below(LONGEST_LIFE)));
    Ok(())
}

fn milliseconds(count: usize) -> Duration {
    Duration::from_millis(count as u64)
}
