//! Agents that end and come again, and others who change the node's network.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::network::{Mirror, seen};
use mote_tests::process::{Process, command};
use mote_tests::world::BUSYBOX;
use serde_json::json;

use crate::{BOTH, Machine, V4, sleeper};

const PORT: u16 = 9000;

#[test]
fn a_killed_agent_leaves_the_network_as_it_is() -> Result<()> {
    let machine = Machine::new()?;
    let mut node = machine.node(BOTH)?;
    let (one, two) = (machine.idle(&node, "one")?, machine.idle(&node, "two")?);
    let (cables, rules) = (machine.cables()?, machine.network.run("nft", &["list", "ruleset"])?);
    let _mirror = Mirror::start(&two.network, PORT)?;
    node.kill()?;
    ensure!(seen(&one.network, (two.v4()?, PORT))? == one.v4()?, "without an agent");
    // Somebody takes the node's end of one down, and a route with it; the other is removed.
    machine.network.run("ip", &["link", "set", &cables[0], "down"])?;
    machine.network.run("ip", &["link", "delete", &cables[1]])?;
    node.start()?;
    let third = machine.idle(&node, "three")?;
    ensure!(!one.addresses.contains(&third.v4()?) && !two.addresses.contains(&third.v4()?));
    for (name, before) in [("one", &one), ("two", &two)] {
        let after = machine.world.wait_for_phase(&node, name, Phase::Running)?;
        ensure!(after.addresses == before.status.addresses, "{name}: {:?}", after.addresses);
    }
    ensure!(seen(&one.network, (two.v4()?, PORT))? == one.v4()?, "the cables were mended");
    ensure!(seen(&third.network, (two.v4()?, PORT))? == third.v4()?);
    ensure!(machine.network.run("nft", &["list", "ruleset"])? == rules);
    ensure!(cables.iter().all(|cable| machine.cables().is_ok_and(|now| now.contains(cable))));
    Ok(())
}

#[test]
fn rules_that_somebody_flushed_come_back() -> Result<()> {
    let machine = Machine::new()?;
    let out = machine.network.neighbour("out0", &[("192.0.2.1/24", "192.0.2.2/24")])?;
    let node = machine.node(V4)?;
    let one = machine.idle(&node, "one")?;
    let _mirror = Mirror::start(&out.open()?, PORT)?;
    let world = ([192, 0, 2, 2], PORT);
    let rules = || machine.network.run("nft", &["list", "ruleset"]);
    let table = rules()?;
    ensure!(table.contains("table inet mote"), "{table}");
    for flush in [&["flush", "ruleset"][..], &["flush", "table", "inet", "mote"]] {
        let monitor =
            Process::spawn("nft monitor", command("nft").args(["monitor", "new", "rules"]))?;
        // It says nothing when it listens, so that something is said until it does.
        machine.network.run("nft", &["add", "table", "ip", "other"])?;
        machine.network.run("nft", flush)?;
        wait_for_rules(&machine, &monitor)?;
        ensure!(seen(&one.network, world)?.to_string() == "192.0.2.1", "masqueraded again");
    }
    machine.network.run("nft", &["delete", "table", "ip", "other"])?;
    // Others' rules are none of ours, whatever pods come and go.
    machine.network.run("nft", &["add", "table", "ip", "other"])?;
    machine.idle(&node, "two")?;
    machine.world.operator.delete("two", &node)?;
    let now = rules()?;
    ensure!(now.contains("table ip other") && now.contains("table inet mote"), "{now}");
    Ok(())
}

/// Whoever edits a firewall loads it again and again.
#[test]
fn rules_come_back_soon_however_often() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(V4)?;
    machine.idle(&node, "one")?;
    for time in 0..8 {
        let monitor =
            Process::spawn("nft monitor", command("nft").args(["monitor", "new", "rules"]))?;
        let begun = Instant::now();
        machine.network.run("nft", &["flush", "ruleset"])?;
        wait_for_rules(&machine, &monitor)?;
        let took = begun.elapsed();
        ensure!(took < Duration::from_secs(6), "the {time}th time it took {took:?}");
    }
    Ok(())
}

/// A pod of which something is left keeps its address: its record names it.
#[test]
fn an_address_is_given_anew_when_nothing_is_left_of_who_had_it() -> Result<()> {
    let machine = Machine::new()?;
    let mut node = machine.node(V4)?;
    let script = ["sh", "-c", "touch /immutable; exec sleep 1002"];
    let stuck = pod("stuck").container("main", BUSYBOX, &script);
    machine.world.operator.apply(&stuck, &node)?;
    let status = machine.world.wait_for_phase(&node, "stuck", Phase::Running)?;
    let kept = status.addresses.first().copied().context("an address")?;
    let file = machine
        .network
        .run("find", &[&node.state().display().to_string(), "-name", "immutable"])?;
    let file = file.lines().find(|line| line.ends_with("/immutable")).context("its file")?;
    machine.network.run("chattr", &["+i", file])?;
    let removed = || -> Result<()> {
        let words = ["delete", "pod", "stuck", "--wait=false", "--now"];
        machine.world.operator.run(&words)?.succeeded()?;
        machine.world.wait_for_event(&node, "FailedKillPod")?;
        Ok(())
    };
    let removed = removed();
    let others = removed.and_then(|()| {
        let one = machine.idle(&node, "one")?;
        node.kill()?;
        node.start()?;
        let two = machine.idle(&node, "two")?;
        node.kill()?;
        node.start()?;
        Ok(vec![one, two])
    });
    machine.network.run("chattr", &["-i", file])?;
    let others = others?;
    machine.world.wait_until_gone(&node, "stuck")?;
    let _mirrors =
        [Mirror::start(&others[0].network, PORT)?, Mirror::start(&others[1].network, PORT)?];
    for other in &others {
        ensure!(other.v4()? != kept, "two pods have {kept}");
        seen(&machine.network.open()?, (other.v4()?, PORT))?;
    }
    Ok(())
}

/// The kernel tells of each rule: what it tells of ours is no change of somebody else's.
#[test]
fn many_rules_are_made_once() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(BOTH)?;
    let port = |number: u16| json!({"containerPort": number, "hostPort": number});
    let ports: Vec<_> = (7000..7064).map(port).collect();
    machine.run(&node, &sleeper("web").with("ports", json!(ports)), "web")?;
    let monitor = Process::spawn("nft monitor", command("nft").args(["monitor", "new", "rules"]))?;
    machine.network.run("nft", &["flush", "table", "inet", "mote"])?;
    wait_for_rules(&machine, &monitor)?;
    let log = node.log();
    ensure!(log.matches("somebody changed our rules").count() == 1, "{log}");
    Ok(())
}

/// Waits until the node's rules are there again.
pub(crate) fn wait_for_rules(machine: &Machine, monitor: &Process) -> Result<()> {
    let there = || -> Result<bool> {
        Ok(machine.network.run("nft", &["list", "ruleset"])?.contains("masquerade"))
    };
    if there()? {
        return Ok(());
    }
    monitor.wait_for_line("masquerade").map(drop).or_else(|error| {
        // They may have come before it listened.
        there()?.then_some(()).context(error)
    })
}

#[test]
fn nothing_is_left_of_a_pod() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(BOTH)?;
    let names = ["a", "b", "c", "d"];
    for name in names {
        machine.idle(&node, name)?;
    }
    let shown = |words: &[&str]| machine.network.run("ip", words);
    // One route to each, and what is for nobody stays here.
    for (family, range) in [("-4", "10.188.0."), ("-6", "fd00:188::")] {
        let routes = shown(&[family, "route"])?;
        ensure!(routes.matches(range).count() == names.len() + 1, "{routes}");
        ensure!(routes.contains(&format!("unreachable {range}")), "{routes}");
    }
    ensure!(shown(&["route", "get", "10.188.15.77"]).is_err(), "to nobody");
    for name in names {
        machine.world.operator.delete(name, &node)?;
    }
    ensure!(machine.cables()?.is_empty());
    for family in ["-4", "-6"] {
        let left = [shown(&[family, "route"])?, shown(&[family, "address"])?].concat();
        ensure!(!left.contains("188") && !left.contains("169.254"), "{left}");
    }
    Ok(())
}

#[test]
fn what_is_left_of_pods_that_are_no_more_is_removed() -> Result<()> {
    let machine = Machine::new()?;
    let mut node = machine.node(V4)?;
    let one = machine.idle(&node, "one")?;
    let ours = machine.cables()?;
    node.kill()?;
    let add = |name: &str| {
        machine.network.run("ip", &["link", "add", name, "type", "veth", "peer", "name", "x"])?;
        machine.network.run("ip", &["link", "set", "x", "name", &format!("x{}", name.len())])
    };
    add("mote-0abc0fff")?;
    // Others are none of ours.
    add("mote-0abc")?;
    node.start()?;
    let two = machine.idle(&node, "two")?;
    let _mirror = Mirror::start(&one.network, PORT)?;
    ensure!(seen(&two.network, (one.v4()?, PORT))? == two.v4()?);
    let cables = machine.cables()?;
    ensure!(cables.contains(&ours[0]) && cables.contains(&"mote-0abc".into()), "{cables:?}");
    ensure!(!cables.contains(&"mote-0abc0fff".into()) && cables.len() == 3, "{cables:?}");
    Ok(())
}
