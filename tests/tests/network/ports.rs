//! Ports of the node that lead to pods (`hostPort`).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::Manifest;
use mote_tests::network::{Mirror, inside, seen, seen_by_datagram, unreachable};
use serde_json::{Value, json};

use crate::{BOTH, Machine, V4, sleeper};

/// Where mirrors in pods are, and the node's port that leads there.
const PORT: u16 = 9000;
const HOST_PORT: u16 = 8080;

const ENDS: [(&str, &str); 2] =
    [("192.0.2.1/24", "192.0.2.2/24"), ("2001:db8::1/64", "2001:db8::2/64")];

fn at(address: &str) -> Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse()?, HOST_PORT))
}

fn with_ports(name: &str, ports: Value) -> Manifest {
    sleeper(name).with("ports", ports)
}

fn both_transports() -> Value {
    let port =
        |protocol| json!({"containerPort": PORT, "hostPort": HOST_PORT, "protocol": protocol});
    json!([port("TCP"), port("UDP")])
}

#[test]
fn a_port_of_the_node_leads_to_its_pod_from_everywhere() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &ENDS)?;
    let mut node = machine.node(BOTH)?;
    let web = machine.run(&node, &with_ports("web", both_transports()), "web")?;
    let other = machine.idle(&node, "other")?;
    let (here, there) = (machine.network.open()?, world.open()?);
    let _mirror = Mirror::start(&web.network, PORT)?;
    let check = || -> Result<()> {
        for (ours, theirs) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let theirs: IpAddr = theirs.parse()?;
            // The world is seen as who it is.
            ensure!(seen(&there, at(ours)?)? == theirs);
            ensure!(seen_by_datagram(&there, at(ours)?)? == theirs);
            // The node, other pods, and the pod itself.
            seen(&here, at(ours)?)?;
            ensure!(other.addresses.contains(&seen(&other.network, at(ours)?)?));
            ensure!(!web.addresses.contains(&seen(&web.network, at(ours)?)?), "the node for it");
        }
        ensure!(other.addresses.contains(&seen(&other.network, at("169.254.1.1")?)?));
        seen(&here, at("127.0.0.1")?)?;
        seen_by_datagram(&here, at("127.0.0.1")?)?;
        Ok(())
    };
    check()?;
    node.kill()?;
    check()?;
    node.start()?;
    // What was adopted is known: another pod changes nothing.
    machine.idle(&node, "third")?;
    check()?;
    machine.world.operator.delete("web", &node)?;
    unreachable(&there, at("192.0.2.1")?)?;
    let rules = machine.network.run("nft", &["list", "ruleset"])?;
    ensure!(!rules.contains(&HOST_PORT.to_string()), "{rules}");
    Ok(())
}

#[test]
fn an_address_of_the_node_bounds_a_port() -> Result<()> {
    let machine = Machine::new()?;
    let _world = machine.network.neighbour("out0", &ENDS)?;
    let node = machine.node(V4)?;
    let here = machine.network.open()?;
    let port = |ip: &str| json!([{"containerPort": PORT, "hostPort": HOST_PORT, "hostIP": ip}]);
    let one = machine.run(&node, &with_ports("one", port("192.0.2.1")), "one")?;
    let _mirror = Mirror::start(&one.network, PORT)?;
    seen(&here, at("192.0.2.1")?)?;
    unreachable(&here, at("127.0.0.1")?)?;
    // Another address is another port.
    let two = machine.run(&node, &with_ports("two", port("127.0.0.1")), "two")?;
    let _mirror = Mirror::start(&two.network, PORT)?;
    seen(&here, at("127.0.0.1")?)?;
    let six = with_ports("six", port("2001:db8::1"));
    machine.world.operator.try_apply(&six, &node)?;
    let refusal = machine.world.wait_for_refusal(&node, "six")?;
    ensure!(refusal.starts_with("Unsupported: pods have no IPv6 addresses"), "{refusal}");
    Ok(())
}

/// No cable, no DHCP: its own people reach its pods all the same.
#[test]
fn a_node_without_an_address_has_its_ports() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(V4)?;
    let web = machine.run(&node, &with_ports("web", both_transports()), "web")?;
    let _mirror = Mirror::start(&web.network, PORT)?;
    let here = machine.network.open()?;
    seen(&here, at("127.0.0.1")?)?;
    seen_by_datagram(&here, at("127.0.0.1")?)?;
    ensure!(seen(&web.network, at("169.254.1.1")?)? != web.v4()?, "itself, as the node");
    Ok(())
}

/// Whoever is on the same cable may send the node anything.
#[test]
fn the_world_reaches_no_port_of_localhost_and_does_not_speak_as_a_pod() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &ENDS)?;
    let node = machine.node(V4)?;
    let (here, there) = (machine.network.open()?, world.open()?);
    let local = json!([{"containerPort": PORT, "hostPort": HOST_PORT, "hostIP": "127.0.0.1"}]);
    let local = machine.run(&node, &with_ports("local", local), "local")?;
    let open = json!([{"containerPort": PORT, "hostPort": HOST_PORT + 1, "protocol": "UDP"}]);
    let open = machine.run(&node, &with_ports("open", open), "open")?;
    let _mirrors = [Mirror::start(&local.network, PORT)?, Mirror::start(&open.network, PORT)?];
    seen(&here, at("127.0.0.1")?)?;
    world.run("ip", &["address", "del", "127.0.0.1/8", "dev", "lo"])?;
    world.run("sysctl", &["-qw", "net.ipv4.conf.all.route_localnet=1"])?;
    let way = ["route", "add", "127.0.0.1/32", "via", "192.0.2.1", "src", "192.0.2.2"];
    world.run("ip", &way)?;
    unreachable(&there, at("127.0.0.1")?)?;

    let forged = local.v4()?;
    let to = SocketAddr::new("192.0.2.1".parse()?, HOST_PORT + 1);
    world.run("ip", &["address", "add", &format!("{forged}/32"), "dev", "lo"])?;
    machine.network.run("nft", &["add", "table", "inet", "count"])?;
    let chain = "{ type filter hook forward priority 0; }";
    machine.network.run("nft", &["add", "chain", "inet", "count", "c", chain])?;
    for from in [forged, "192.0.2.2".parse()?] {
        let rule = format!("iifname out0 ip saddr {from} counter");
        machine.network.run("nft", &["add", "rule", "inet", "count", "c", &rule])?;
        inside(&there, || {
            UdpSocket::bind((from, 0))?.send_to(b"forged", to)?;
            Ok(())
        })?;
    }
    // One comes after the other.
    ensure!(seen_by_datagram(&there, to)?.to_string() == "192.0.2.2");
    let counted = machine.network.run("nft", &["list", "table", "inet", "count"])?;
    let of =
        |address: IpAddr| counted.lines().find(|line| line.contains(&format!("saddr {address} ")));
    ensure!(of(forged).is_some_and(|line| line.contains("packets 0 ")), "{counted}");
    ensure!(of("192.0.2.2".parse()?).is_some_and(|line| !line.contains("packets 0 ")), "{counted}");
    Ok(())
}

#[test]
fn an_address_of_somebody_else_leads_nowhere() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &ENDS)?;
    let node = machine.node(BOTH)?;
    let (here, there) = (machine.network.open()?, world.open()?);
    let port = |ip: &str| json!({"containerPort": PORT, "hostPort": HOST_PORT, "hostIP": ip});
    let theirs = ["192.0.2.2", "2001:db8::2"];
    let web = with_ports("web", json!(theirs.map(port)));
    let web = machine.run(&node, &web, "web")?;
    let _mirrors = [Mirror::start(&web.network, PORT)?, Mirror::start(&there, HOST_PORT)?];
    for (ours, theirs) in ["192.0.2.1", "2001:db8::1"].into_iter().zip(theirs) {
        // Those who have it, and they see the node.
        for network in [&here, &web.network] {
            ensure!(seen(network, at(theirs)?)? == ours.parse::<IpAddr>()?);
            ensure!(seen_by_datagram(network, at(theirs)?)? == ours.parse::<IpAddr>()?);
        }
    }
    Ok(())
}

#[test]
fn a_port_that_another_pod_has_is_refused() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(V4)?;
    let (world, operator) = (&machine.world, &machine.world.operator);
    let port = json!([{"containerPort": PORT, "hostPort": HOST_PORT}]);
    machine.run(&node, &with_ports("one", port.clone()), "one")?;
    operator.try_apply(&with_ports("two", port.clone()), &node)?;
    let refusal = world.wait_for_refusal(&node, "two")?;
    ensure!(
        refusal.starts_with("NodePorts: Predicate NodePorts failed: node(s) didn't"),
        "{refusal}"
    );
    ensure!(refusal.contains("pod/default/one has TCP 8080"), "{refusal}");
    // In the node's network all ports of a container are the node's.
    let host = with_ports("host", json!([{"containerPort": HOST_PORT}]));
    operator.try_apply(&host.spec("hostNetwork", json!(true)), &node)?;
    let refusal = world.wait_for_refusal(&node, "host")?;
    ensure!(refusal.starts_with("NodePorts: "), "{refusal}");
    for name in ["two", "one"] {
        operator.delete(name, &node)?;
    }
    operator.apply(&with_ports("two", port), &node)?;
    world.wait_for_phase(&node, "two", Phase::Running)?;
    Ok(())
}

/// Without a break, and from one port: the kernel takes it for one flow.
#[test]
fn a_flow_of_datagrams_finds_the_pod_of_now() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &ENDS)?;
    let node = machine.node(V4)?;
    let client = inside(&world.open()?, || Ok(UdpSocket::bind("192.0.2.2:7000")?))?;
    client.set_read_timeout(Some(Duration::from_millis(200)))?;
    let ask = || -> Result<bool> {
        client.send_to(b"?", at("192.0.2.1")?)?;
        Ok(client.recv_from(&mut [0; 64]).is_ok())
    };
    let mut addresses = Vec::new();
    for _ in 0..2 {
        ensure!(!ask()?, "nobody is there");
        let web = machine.run(&node, &with_ports("web", both_transports()), "web")?;
        addresses.push(web.v4()?);
        let _mirror = Mirror::start(&web.network, PORT)?;
        ensure!((0..25).any(|_| ask().is_ok_and(|answered| answered)), "{addresses:?}");
        machine.world.operator.delete("web", &node)?;
    }
    ensure!(addresses[0] != addresses[1], "another pod: {addresses:?}");
    Ok(())
}

#[test]
fn a_pod_does_not_reach_the_nodes_localhost() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(V4)?;
    let port = json!([{"containerPort": PORT, "hostPort": HOST_PORT}]);
    let web = machine.run(&node, &with_ports("web", port), "web")?;
    let nft = |words: &[&str]| machine.network.run("nft", words);
    nft(&["add", "table", "inet", "count"])?;
    for (chain, priority) in [("prerouting", "-400"), ("input", "0")] {
        let hook = format!("{{ type filter hook {chain} priority {priority}; }}");
        nft(&["add", "chain", "inet", "count", chain, &hook])?;
        nft(&["add", "rule", "inet", "count", chain, "ip daddr 127.0.0.2 counter"])?;
    }
    // A pod that has its own localhost elsewhere, as one with the right to change its routes can.
    inside(&web.network, || {
        let run = |line: &str| {
            let status = std::process::Command::new("sh").args(["-ec", line]).status()?;
            ensure!(status.success(), "{line}");
            Ok(())
        };
        run("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet")?;
        run("ip route del local 127.0.0.0/8 dev lo table local")?;
        run("ip route add 127.0.0.0/8 via 169.254.1.1 dev eth0")?;
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.send_to(b"?", "127.0.0.2:53")?;
        Ok(())
    })?;
    // One comes after the other.
    let _mirror = Mirror::start(&machine.network.open()?, PORT)?;
    seen_by_datagram(&web.network, SocketAddr::new("169.254.1.1".parse()?, PORT))?;
    let rules = nft(&["list", "table", "inet", "count"])?;
    let counted: Vec<bool> = rules
        .lines()
        .filter(|line| line.contains("127.0.0.2"))
        .map(|l| l.contains("packets 0 "))
        .collect();
    ensure!(counted == [false, true], "it came, and went no further: {rules}");
    Ok(())
}
