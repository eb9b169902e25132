//! A small board whose memory is used up, for real: there is nothing else that it could be taken from.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_protocol::node::NodeCondition;
use mote_protocol::status::{ContainerState, Phase};
use mote_tests::board::machine::Machine;
use mote_tests::manifest::pod;
use mote_tests::world::container;
use serde_json::json;

use crate::node::{BUSYBOX, BoardNode};

/// Times that memory is used up; and under `--long`.
const ROUNDS: u32 = 2;
const LONG_ROUNDS: u32 = 20;

/// All that a round may take, on an emulated processor.
const ROUND: Duration = Duration::from_mins(2);

#[test]
#[ignore = "boots a virtual machine: cargo verify --only boards"]
fn who_uses_up_the_memory_of_a_small_board_goes_before_anybody_is_killed() -> Result<()> {
    let rounds = if std::env::var_os("MOTE_LONG").is_some() { LONG_ROUNDS } else { ROUNDS };
    let time = ROUND * (rounds + 2);
    let extra = "[eviction]\ntransition_s = 1\n";
    let mut node = BoardNode::boot_for(Machine::Pc, extra, time)?;
    node.start()?;
    let sleeps = ["sh", "-c", "while :; do busybox sleep 10; done"];
    let asks = json!({"requests": {"memory": "16Mi"}});
    // One of each kind: who has what it asked for, who asked for nothing and has little.
    node.apply(&pod("steady").container("main", BUSYBOX, &sleeps).with("resources", asks))?;
    node.apply(&pod("modest").container("main", BUSYBOX, &sleeps))?;
    for name in ["steady", "modest"] {
        node.wait_for(name, "that it runs", |status| super::runs(status, "main"))?;
    }
    let total = node.guest.run("busybox grep MemTotal /proc/meminfo")?;
    println!("\n{}", total.trim());
    for round in 0..rounds {
        one_round(&mut node).with_context(|| format!("round {round} of {rounds}"))?;
    }
    println!("{rounds} times of {rounds}: evicted before anybody was killed");
    node.guest.leave()
}

fn one_round(node: &mut BoardNode) -> Result<()> {
    // As a program that leaks: some megabytes in each tenth of a second.
    let leaks = "while busybox dd if=/dev/zero bs=1M count=4 >> /data/x 2> /dev/null; do \
                 busybox usleep 100000; done; exit 7";
    let greedy = pod("greedy").once().container("main", BUSYBOX, &["sh", "-c", leaks]).volume(
        "data",
        json!({"emptyDir": {"medium": "Memory"}}),
        "/data",
    );
    node.apply(&greedy)?;
    let status = node.wait_for("greedy", "its end", |status| status.phase.is_terminal())?;
    let (reason, message) = status.cause.clone().context("a reason")?;
    ensure!(status.phase == Phase::Failed && *reason == *"Evicted", "{reason}: {message}");
    ensure!(message.starts_with("The node was low on resource: memory. "), "{message}");
    for name in ["steady", "modest"] {
        let status = node.wait_for(name, "a status", |_| true)?;
        let main = container(&status, "main")?;
        let runs = matches!(main.state, ContainerState::Running { .. });
        ensure!(runs && main.restarts == 0, "{name}: {main:?}");
    }
    let killed = node.guest.run("dmesg | busybox grep -ci 'out of memory' || true")?;
    ensure!(killed.trim() == "0", "the kernel killed somebody: {killed}");
    node.delete("greedy")?;
    // What was put up with is over: the next one is taken again.
    node.wait_for_condition(NodeCondition::MemoryPressure, false)
}
