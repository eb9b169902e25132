//! Small boards whose memory is used up, for real: there is nothing else that it could be taken from.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_protocol::node::NodeCondition;
use mote_protocol::status::{ContainerState, Phase};
use mote_tests::board::machine::Machine;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::world::container;
use serde_json::json;

use crate::node::{BUSYBOX, BoardNode, Plan};

/// Times that memory is used up; and under `--long`.
const ROUNDS: u32 = 2;
const LONG_ROUNDS: u32 = 20;

/// All that a round may take, on an emulated processor.
const ROUND: Duration = Duration::from_mins(2);

/// As fast as the processor can, until it is stopped.
const LEAK: &str =
    "BEGIN { page = sprintf(\"%65536s\", \"\"); while (1) held[count++] = page count }";

/// The pods beside it.
const OTHERS: [&str; 2] = ["steady", "modest"];

#[test]
#[ignore = "boots a virtual machine: cargo verify --only boards"]
fn who_uses_up_the_memory_of_a_small_board_goes_before_anybody_is_killed() -> Result<()> {
    let rounds = if std::env::var_os("MOTE_LONG").is_some() { LONG_ROUNDS } else { ROUNDS };
    again_and_again("", rounds)
}

#[test]
#[ignore = "boots a virtual machine: cargo verify --only boards"]
fn nor_is_anybody_where_the_kernel_does_not_tell_of_stalls() -> Result<()> {
    again_and_again("psi=0", 2)
}

fn again_and_again(kernel: &str, rounds: u32) -> Result<()> {
    let mut node = BoardNode::boot_as(&Plan {
        machine: Machine::Pc,
        configuration: "[eviction]\ntransition_s = 1\n",
        kernel,
        time: ROUND * (rounds + 2),
    })?;
    node.start()?;
    let sleeps = ["sh", "-c", "while :; do busybox sleep 10; done"];
    // One of each kind: who has what it asked for, who asked for nothing and has little.
    let asks = json!({"requests": {"memory": "16Mi"}});
    node.apply(&pod("steady").container("main", BUSYBOX, &sleeps).with("resources", asks))?;
    node.apply(&pod("modest").container("main", BUSYBOX, &sleeps))?;
    for name in OTHERS {
        node.wait_for(name, "that it runs", |status| super::runs(status, "main"))?;
    }
    let total = node.guest.run("busybox grep MemTotal /proc/meminfo")?;
    println!("\n{}", total.trim());
    for round in 0..rounds {
        let greedy = if round % 2 == 0 { leaks() } else { fills() };
        one_round(&mut node, &greedy).with_context(|| format!("round {round} of {rounds}"))?;
    }
    println!("{rounds} times of {rounds}: evicted before anybody was killed");
    node.guest.leave()
}

/// One that takes memory of its own.
fn leaks() -> Manifest {
    pod("greedy").once().container("main", BUSYBOX, &["busybox", "awk", LEAK])
}

/// One that writes into volumes in memory, which no killing frees. One has no more room than all pods may
/// ask for together: two have.
fn fills() -> Manifest {
    let fills = "more() { busybox dd if=/dev/zero bs=1M count=2 >> $1/x 2> /dev/null; }; \
                 while more /data || more /other; do more /other; done; exit 7";
    let memory = || json!({"emptyDir": {"medium": "Memory"}});
    pod("greedy")
        .once()
        .container("main", BUSYBOX, &["sh", "-c", fills])
        .volume("data", memory(), "/data")
        .volume("other", memory(), "/other")
}

fn one_round(node: &mut BoardNode, greedy: &Manifest) -> Result<()> {
    node.apply(greedy)?;
    let status = node.wait_for("greedy", "its end", |status| status.phase.is_terminal())?;
    let (reason, message) = status.cause.clone().with_context(|| format!("{status:#?}"))?;
    ensure!(status.phase == Phase::Failed && *reason == *"Evicted", "{reason}: {message}");
    ensure!(message.starts_with("The node was low on resource: memory. "), "{message}");
    for name in OTHERS {
        let status = node.wait_for(name, "a status", |_| true)?;
        let main = container(&status, "main")?;
        let runs = matches!(main.state, ContainerState::Running { .. });
        ensure!(runs && main.restarts == 0, "{name}: {main:?}");
    }
    let killed = node.guest.run("dmesg | busybox grep -i 'out of memory' || true")?;
    ensure!(killed.trim().is_empty(), "the kernel killed somebody: {killed}");
    node.delete("greedy")?;
    // What was put up with is over: the next one is taken again.
    node.wait_for_condition(NodeCondition::MemoryPressure, false)
}
