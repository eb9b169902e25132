//! Nodes that lack what a network takes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use anyhow::{Result, ensure};
use mote_protocol::node::NodeCondition;
use mote_protocol::status::Phase;
use mote_tests::binaries;
use mote_tests::manifest::service;
use mote_tests::network::{Mirror, seen};
use mote_tests::process::{Process, command};
use mote_tests::world::waiting;
use serde_json::json;

use crate::resume::wait_for_rules;
use crate::{BOTH, Machine, V4, sleeper};

const PORT: u16 = 9000;

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
    ensure!(rules.is_empty(), "none of the range that is another's: {rules}");
    machine.network.run("ip", &["address", "delete", address, "dev", "lo"])?;
    let status = machine.world.wait_for_phase(&node, "waits", Phase::Running)?;
    ensure!(status.addresses.len() == 2);
    Ok(())
}

#[test]
fn a_range_of_services_that_is_the_nodes_own_takes_nothing_from_pods() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(&format!("{V4}\nservice_cidr = \"10.189.0.0/24\""))?;
    let port = json!([{"containerPort": PORT, "hostPort": 8080}]);
    let web = machine.run(&node, &sleeper("web").with("ports", port), "web")?;
    let _mirror = Mirror::start(&web.network, PORT)?;
    machine.world.operator.apply(&service("web", "web", &json!([{"port": 80}])), &node)?;
    machine.network.run("ip", &["address", "add", "10.189.0.77/32", "dev", "lo"])?;
    // Noticed with the next pod, which begins all the same.
    machine.idle(&node, "next")?;
    machine.world.wait_for_condition(&node, NodeCondition::NetworkUnavailable)?;
    let examined = node.ctl_command(&["doctor"]).output()?;
    let examined = String::from_utf8_lossy(&examined.stdout).into_owned();
    ensure!(examined.contains("10.189.0.77, which is in 10.189.0.0/24"), "{examined}");
    let monitor = Process::spawn("nft monitor", command("nft").args(["monitor", "new", "rules"]))?;
    machine.network.run("nft", &["flush", "ruleset"])?;
    wait_for_rules(&machine, &monitor)?;
    seen(&machine.network.open()?, ([127, 0, 0, 1], 8080))?;
    machine.network.run("ip", &["address", "delete", "10.189.0.77/32", "dev", "lo"])?;
    machine.world.wait_for_event(&node, "NetworkAvailable")?;
    Ok(())
}
