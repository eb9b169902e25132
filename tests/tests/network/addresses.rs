//! Who has which address, and who is told.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::world::BUSYBOX;
use serde_json::json;

use crate::{BOTH, Machine, V4, ensure_in_range, sleeper};

#[test]
fn a_pod_knows_its_address_and_so_does_everybody() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(BOTH)?;
    let (world, operator) = (&machine.world, &machine.world.operator);
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let asks = pod("asks")
        .once()
        .container("main", BUSYBOX, &["sh", "-c", "echo $ONE $ALL; ip address show dev eth0"])
        .with(
            "env",
            json!([
                {"name": "ONE", "valueFrom": field("status.podIP")},
                {"name": "ALL", "valueFrom": field("status.podIPs")},
            ]),
        );
    operator.apply(&asks, &node)?;
    let (phase, printed) = world.wait_for_end(&node, "asks")?;
    ensure!(phase == Phase::Succeeded, "{printed}");
    // It is over, and its address may be another's by now: the first status with a container says it.
    let told =
        world.statuses(&node, "asks").into_iter().find(|status| !status.addresses.is_empty());
    let addresses = told.map(|status| status.addresses).unwrap_or_default();
    let [four, six] = &addresses[..] else { anyhow::bail!("two addresses: {addresses:?}") };
    ensure_in_range(*four)?;
    ensure_in_range(*six)?;
    ensure!(printed.starts_with(&format!("{four} {four},{six}\n")), "{printed}");
    ensure!(printed.contains(&format!("inet {four}/32")), "{printed}");

    let idle = machine.idle(&node, "web")?;
    let address = idle.v4()?.to_string();
    ensure!(operator.field("web", &node, ".status.podIP")? == address);
    let wide = operator.run(&["get", "pods", "-o", "wide"])?.succeeded()?;
    ensure!(wide.lines().any(|line| line.contains("web ") && line.contains(&address)), "{wide}");
    let described = operator.run(&["describe", "pod", "web"])?.succeeded()?;
    ensure!(described.contains(&address), "{described}");
    for words in [&["describe", "pod", "web"][..], &["pods", "-o", "wide"]] {
        let local = node.ctl(words)?;
        ensure!(local.contains(&address), "{local}");
    }
    operator.delete("web", &node)?;
    operator.delete("asks", &node)?;
    ensure!(machine.cables()?.is_empty());
    Ok(())
}

#[test]
fn addresses_are_given_once() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(V4)?;
    let mut given = BTreeSet::new();
    for name in ["a", "b", "c"] {
        let idle = machine.idle(&node, name)?;
        ensure!(idle.addresses.len() == 1 && given.insert(idle.v4()?), "{:?}", idle.addresses);
    }
    ensure!(machine.cables()?.len() == 3);
    machine.world.operator.delete("b", &node)?;
    // What was just given back rests.
    let next = machine.idle(&node, "d")?;
    ensure!(given.insert(next.v4()?), "{:?} was another's a moment ago", next.addresses);
    Ok(())
}

#[test]
fn a_pod_in_the_hosts_network_has_the_hosts_address() -> Result<()> {
    let machine = Machine::new()?;
    // The way out that the node's own address is known by.
    let _out = machine.network.neighbour("out0", &[("192.0.2.1/24", "192.0.2.2/24")])?;
    let node = machine.node(V4)?;
    let host = sleeper("host").spec("hostNetwork", json!(true));
    let idle = machine.run(&node, &host, "host")?;
    ensure!(idle.v4()?.to_string() == "192.0.2.1", "{:?}", idle.addresses);
    ensure!(machine.cables()?.is_empty());
    Ok(())
}

#[test]
fn pods_of_a_node_without_a_range_have_localhost() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node("pod_cidr = \"none\"")?;
    let idle = machine.idle(&node, "web")?;
    ensure!(idle.addresses.is_empty() && machine.cables()?.is_empty(), "{:?}", idle.status);
    let rules = machine.network.run("nft", &["list", "ruleset"])?;
    ensure!(rules.is_empty(), "{rules}");
    let asks = pod("asks").container("main", BUSYBOX, &["true"]).with(
        "env",
        json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]),
    );
    machine.world.operator.try_apply(&asks, &node)?;
    let refusal = machine.world.wait_for_refusal(&node, "asks")?;
    ensure!(refusal.starts_with("Unsupported: pods have no addresses"), "{refusal}");
    Ok(())
}

#[test]
fn a_node_that_has_no_range_any_more_has_no_rules() -> Result<()> {
    let machine = Machine::new()?;
    let mut node = machine.node(V4)?;
    machine.idle(&node, "web")?;
    machine.world.operator.delete("web", &node)?;
    node.kill()?;
    let config = std::fs::read_to_string(node.config())?;
    ensure!(config.contains(V4), "{config}");
    std::fs::write(node.config(), config.replace(V4, "pod_cidr = \"none\""))?;
    let rules = || machine.network.run("nft", &["list", "ruleset"]);
    ensure!(rules()?.contains("table inet mote"));
    node.start()?;
    let web = machine.idle(&node, "web")?;
    ensure!(web.addresses.is_empty() && rules()?.is_empty(), "{}", rules()?);
    Ok(())
}
