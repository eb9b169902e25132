//! Who reaches whom, and as whom.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::network::{Mirror, inside, seen, seen_by_datagram, unreachable};
use mote_tests::world::container;
use serde_json::json;

use crate::{BOTH, Machine, V4, sleeper};

/// Where mirrors are.
const PORT: u16 = 9000;

/// The node and its neighbour in the world.
const ENDS: [(&str, &str); 2] =
    [("192.0.2.1/24", "192.0.2.2/24"), ("2001:db8::1/64", "2001:db8::2/64")];

fn ip(text: &str) -> Result<IpAddr> {
    Ok(text.parse()?)
}

#[test]
fn pods_node_and_world_reach_each_other() -> Result<()> {
    let machine = Machine::new()?;
    let world = machine.network.neighbour("out0", &ENDS)?;
    let node = machine.node(BOTH)?;
    let (one, two) = (machine.idle(&node, "one")?, machine.idle(&node, "two")?);
    let (here, there) = (machine.network.open()?, world.open()?);
    let mirrors =
        [&one.network, &two.network, &here, &there].map(|network| Mirror::start(network, PORT));
    let _mirrors = mirrors.into_iter().collect::<Result<Vec<_>>>()?;
    let at = |address: IpAddr| SocketAddr::new(address, PORT);
    let outside = [(ip("192.0.2.1")?, ip("192.0.2.2")?), (ip("2001:db8::1")?, ip("2001:db8::2")?)];
    for (family, (ours, theirs)) in outside.into_iter().enumerate() {
        let (first, second) = (one.addresses[family], two.addresses[family]);
        // Pods see each other as who they are, and so does the node.
        ensure!(seen(&one.network, at(second))? == first);
        ensure!(seen(&two.network, at(first))? == second);
        ensure!(seen_by_datagram(&one.network, at(second))? == first);
        ensure!(seen(&one.network, at(first))? == first, "itself");
        ensure!(seen(&one.network, at(ours))? == first, "the node, by its address in the world");
        let node_seen = seen(&here, at(first))?;
        ensure!(node_seen != first, "the node is somebody else: {node_seen}");
        // The world sees the node.
        ensure!(seen(&one.network, at(theirs))? == ours);
        ensure!(seen_by_datagram(&two.network, at(theirs))? == ours);
        // And has no way in, also where it knows who would pass it on.
        unreachable(&there, at(first))?;
        let family = if ours.is_ipv4() { "-4" } else { "-6" };
        let range = if ours.is_ipv4() { "10.188.0.0/20" } else { "fd00:188::/112" };
        world.run("ip", &[family, "route", "add", range, "via", &ours.to_string()])?;
        unreachable(&there, at(first))?;
    }
    ensure!(seen(&one.network, at(ip("127.0.0.1")?))? == ip("127.0.0.1")?);
    Ok(())
}

#[test]
fn a_pod_speaks_with_its_own_address_only() -> Result<()> {
    let machine = Machine::new()?;
    // As many distributions have it: no single interface can be stricter.
    machine.network.run("sysctl", &["-qw", "net.ipv4.conf.all.rp_filter=2"])?;
    let node = machine.node(BOTH)?;
    let (one, two) = (machine.idle(&node, "one")?, machine.idle(&node, "two")?);
    let here = machine.network.open()?;
    let _mirror = Mirror::start(&here, PORT)?;
    machine.network.run("ip", &["address", "add", "fd00::1/128", "dev", "lo", "nodad"])?;
    let nodes = [ip("169.254.1.1")?, ip("fd00::1")?];
    // What arrives is counted, before anybody listens: answers would go to the other anyway.
    machine.network.run("nft", &["add", "table", "inet", "count"])?;
    let chain = "{ type filter hook input priority 0; }";
    machine.network.run("nft", &["add", "chain", "inet", "count", "c", chain])?;
    let count = |address: IpAddr| {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let rule = format!("{family} saddr {address} udp dport {PORT} counter");
        machine.network.run("nft", &["add", "rule", "inet", "count", "c", &rule])
    };
    for (family, node) in nodes.into_iter().enumerate() {
        let (own, forged) = (one.addresses[family], two.addresses[family]);
        count(own)?;
        count(forged)?;
        inside(&one.network, || {
            let prefix = if forged.is_ipv4() { 32 } else { 128 };
            let added = format!("{forged}/{prefix}");
            let nodad = forged.is_ipv6().then_some("nodad");
            let words = ["address", "add", &added, "dev", "lo"].into_iter().chain(nodad);
            let added = std::process::Command::new("ip").args(words).status()?;
            ensure!(added.success());
            std::net::UdpSocket::bind((forged, 0))?.send_to(b"forged", (node, PORT))?;
            Ok(())
        })?;
        // One comes after the other.
        ensure!(seen_by_datagram(&one.network, SocketAddr::new(node, PORT))? == own);
    }
    let rules = machine.network.run("nft", &["list", "table", "inet", "count"])?;
    for (family, _) in nodes.iter().enumerate() {
        let silent = |address: IpAddr| {
            let line = rules.lines().find(|line| line.contains(&format!("saddr {address} ")));
            line.is_some_and(|line| line.contains("packets 0 "))
        };
        ensure!(silent(two.addresses[family]) && !silent(one.addresses[family]), "{rules}");
    }
    // Nor is a pod a router, whatever it says.
    let cable = format!("/proc/sys/net/ipv6/conf/{}/accept_ra", machine.cables()?[0]);
    ensure!(std::fs::read_to_string(cable)?.trim() == "0");
    Ok(())
}

#[test]
fn probes_ask_at_the_pods_address() -> Result<()> {
    let machine = Machine::new()?;
    let node = machine.node(V4)?;
    let probe = json!({"tcpSocket": {"port": PORT}, "periodSeconds": 1});
    let web = sleeper("web").with("readinessProbe", probe);
    let idle = machine.run(&node, &web, "web")?;
    let ready = |wanted: bool| {
        machine.world.wait_for(&node, "web", "ready or not", move |status| {
            status.phase == Phase::Running
                && container(status, "main").is_ok_and(|main| main.ready() == wanted)
        })
    };
    ready(false)?;
    // Whoever listens on the pod's address only is found.
    let address = idle.v4()?;
    let listener = inside(&idle.network, || Ok(std::net::TcpListener::bind((address, PORT))?))?;
    ready(true)?;
    drop(listener);
    ready(false)?;
    Ok(())
}
