//! Raw sockets: every container may have them, and they reach as far as its pod's network.

use std::io::ErrorKind;
use std::net::UdpSocket;

use anyhow::{Context, Result};
use mote_protocol::status::{Phase, PodCondition};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::world::World;
use serde_json::json;

use super::{IMAGE, inside, node, printed};

/// What only this test says, anywhere.
fn word(world: &World) -> String {
    world.directory().display().to_string()
}

fn talking(world: &World, name: &str, words: &[&str]) -> Manifest {
    let env = json!([{"name": "WORD", "value": word(world)}]);
    pod(name).container("main", IMAGE, words).with("env", env)
}

#[test]
fn a_raw_datagram_does_not_reach_the_host() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?.to_string();
    let knock = ["/attacker", "knock", &address];
    let first = talking(&world, "first", &knock).once();
    assert_eq!(printed(&world, &node, "first", &first)?, "socket done\nsent done\n", "to itself");
    let resting = talking(&world, "command", &["/attacker", "rest"])
        .with("lifecycle", json!({"postStart": {"exec": {"command": knock}}}));
    world.operator.apply(&resting, &node)?;
    world.wait_for_phase(&node, "command", Phase::Running)?;
    // What was sent over a loopback is there when sending returns.
    socket.set_nonblocking(true)?;
    let heard = socket.recv(&mut [0; 64]).map_err(|error| error.kind());
    assert_eq!(heard, Err(ErrorKind::WouldBlock));
    // The same where the network is the host's.
    let host = talking(&world, "host", &knock).once().spec("hostNetwork", json!(true));
    assert_eq!(printed(&world, &node, "host", &host)?, "socket done\nsent done\n");
    let mut heard = [0; 256];
    let len = socket.recv(&mut heard)?;
    let heard = String::from_utf8_lossy(heard.get(..len).context("what was heard")?).into_owned();
    assert_eq!(heard, format!("host {}", word(&world)));
    Ok(())
}

/// More than one, in case that one is lost.
const TIMES: usize = 20;

#[test]
fn whoever_listens_to_all_interfaces_hears_the_pod_only() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let listening = json!({"exec": {"command": ["cat", "/listening"]}, "periodSeconds": 1});
    for (name, on_host) in [("own", false), ("host", true)] {
        let manifest = talking(&world, name, &["/attacker", "sniff"])
            .once()
            .with("readinessProbe", listening.clone())
            .spec("hostNetwork", json!(on_host));
        world.operator.apply(&manifest, &node)?;
        world.wait_for(&node, name, "Ready", |s| s.conditions.is_true(PodCondition::Ready))?;
        for _ in 0..TIMES {
            let said = format!("host {}", word(&world));
            socket.send_to(said.as_bytes(), socket.local_addr()?)?;
        }
        std::fs::write(inside(&node, "/attacker sniff", "/enough")?, "")?;
        let (_, report) = world.wait_for_end(&node, name)?;
        assert!(report.ends_with(&format!("heard the host: {on_host}\n")), "{report}");
        if !on_host {
            assert!(report.starts_with("interfaces lo\nbound nothing\n"), "{report}");
        }
    }
    Ok(())
}
