//! Nodes that lack what a network takes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::{Result, ensure};
use mote_protocol::node::NodeCondition;
use mote_protocol::status::Phase;
use mote_tests::binaries;
use mote_tests::world::waiting;
use serde_json::json;

use crate::{BOTH, Machine, V4, sleeper};

#[test]
fn pods_wait_for_nft() -> Result<()> {
    let machine = Machine::new()?;
    let programs = machine.world.directory().join("programs");
    fs::create_dir(&programs)?;
    let script = machine.world.directory().join("agent");
    let (agent, path) = (binaries::agent()?, programs.display());
    fs::write(&script, format!("#!/bin/sh\nPATH={path} exec {} \"$@\"\n", agent.display()))?;
    fs::set_permissions(&script, Permissions::from_mode(0o755))?;
    let mut node = machine.world.prepare(machine.options(V4))?.with_program(&script);
    node.start()?;
    machine.world.wait_for_condition(&node, NodeCondition::NetworkUnavailable)?;
    machine.world.operator.apply(&sleeper("waits"), &node)?;
    let status = machine.world.wait_for(&node, "waits", "waiting for the network", |status| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "NetworkNotReady")
    })?;
    let (_, message) = waiting(&status, "main").unwrap_or_default();
    ensure!(message.contains("`nft` is not there: install nftables"), "{message}");
    let event = machine.world.wait_for_event(&node, "NetworkNotReady")?;
    ensure!(event.contains("network is not ready: the program `nft`"), "{event}");
    // Pods that have the host's go on.
    let host = sleeper("host").spec("hostNetwork", json!(true));
    machine.run(&node, &host, "host")?;
    symlink("/usr/sbin/nft", programs.join("nft"))?;
    let status = machine.world.wait_for_phase(&node, "waits", Phase::Running)?;
    ensure!(status.addresses.len() == 1);
    machine.world.wait_for_event(&node, "NetworkAvailable")?;
    Ok(())
}

#[test]
fn pods_wait_where_their_range_is_the_nodes_own() -> Result<()> {
    let machine = Machine::new()?;
    let address = "10.188.0.7/32";
    machine.network.run("ip", &["address", "add", address, "dev", "lo"])?;
    let node = machine.node(BOTH)?;
    machine.world.wait_for_condition(&node, NodeCondition::NetworkUnavailable)?;
    machine.world.operator.apply(&sleeper("waits"), &node)?;
    let status = machine.world.wait_for(&node, "waits", "waiting for the network", |status| {
        waiting(status, "main").is_some_and(|(reason, _)| reason == "NetworkNotReady")
    })?;
    let (_, message) = waiting(&status, "main").unwrap_or_default();
    ensure!(message.contains("10.188.0.7, which is in 10.188.0.0/20"), "{message}");
    let rules = machine.network.run("nft", &["list", "ruleset"])?;
    ensure!(rules.is_empty(), "nothing is done by halves: {rules}");
    machine.network.run("ip", &["address", "delete", address, "dev", "lo"])?;
    let status = machine.world.wait_for_phase(&node, "waits", Phase::Running)?;
    ensure!(status.addresses.len() == 2);
    Ok(())
}
