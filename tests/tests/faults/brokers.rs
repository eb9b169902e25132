//! What becomes of pods when the broker is another one, or lets nobody in: nothing.

use std::fs;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::broker::BrokerOptions;
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World};

/// What runs on the node that is tried.
const COMMAND: &str = "sleep 1001";

fn world(options: BrokerOptions) -> Result<(World, Node)> {
    let world = World::with_broker(options)?;
    let mut options = world.options("n1");
    options.tls = true;
    let node = world.node_with(options)?;
    let manifest = pod("web").container("main", BUSYBOX, &["sleep", "1001"]);
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    Ok((world, node))
}

/// Whatever is wrong with the broker: the next agent takes over what runs, and complains.
fn goes_on(node: &mut Node, complaint: &str) -> Result<()> {
    let before = node.process(COMMAND)?;
    node.agent()?.wait_for_line(complaint)?;
    node.kill()?;
    node.start()?;
    node.agent()?.wait_for_line(complaint)?;
    let pods = node.ctl(&["pods"])?;
    ensure!(pods.contains("Running"), "{pods}");
    ensure!(node.process(COMMAND)? == before, "it was started again");
    Ok(())
}

#[test]
fn a_broker_with_an_expired_certificate_stops_no_pod() -> Result<()> {
    let (mut world, mut node) = world(BrokerOptions { tls: true, ..BrokerOptions::default() })?;
    let before = node.process(COMMAND)?;
    world.broker.stop()?;
    world.broker.authority()?.issue_expired("broker")?;
    world.broker.resume()?;
    goes_on(&mut node, "expired")?;
    world.broker.authority()?.issue("broker")?;
    world.broker.restart()?;
    world.wait_for_birth(&node)?;
    ensure!(node.process(COMMAND)? == before, "it was started again");
    Ok(())
}

#[test]
fn a_broker_that_knows_other_authorities_stops_no_pod() -> Result<()> {
    let (mut world, mut node) = world(BrokerOptions { tls: true, ..BrokerOptions::default() })?;
    let other = World::with_broker(BrokerOptions { tls: true, ..BrokerOptions::default() })?;
    world.broker.stop()?;
    let directory = world.broker.authority()?.certificate();
    let directory = directory.parent().context("it is in a directory")?;
    let foreign = other.broker.authority()?.issue("broker")?;
    fs::copy(&foreign.certificate, directory.join("broker.pem"))?;
    fs::copy(&foreign.key, directory.join("broker.key"))?;
    world.broker.resume()?;
    goes_on(&mut node, "invalid peer certificate")
}

#[test]
fn rules_that_deny_everything_stop_no_pod() -> Result<()> {
    // For whoever has a certificate, and for whoever has none.
    let all = "topic readwrite #\npattern readwrite #\n".to_owned();
    let options = BrokerOptions { tls: true, acl: Some(all.clone()), ..BrokerOptions::default() };
    let (mut world, mut node) = world(options)?;
    let before = node.process(COMMAND)?;
    let directory = world.broker.authority()?.certificate();
    let acl = directory.parent().context("it is in a directory")?.join("acl");
    world.broker.stop()?;
    fs::write(&acl, "topic readwrite elsewhere/#\n")?;
    world.broker.resume()?;
    goes_on(&mut node, "refuses")?;
    fs::write(&acl, all)?;
    world.broker.restart_empty()?;
    world.wait_for_birth(&node)?;
    ensure!(node.process(COMMAND)? == before, "it was started again");
    Ok(())
}
