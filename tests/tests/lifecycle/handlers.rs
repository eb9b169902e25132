//! Each kind of probe by each handler, failing and recovering: one pod with one container for each
//! handler, all probed at once.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use mote_protocol::status::{ContainerStatus, Phase, PodCondition, PodStatus};
use mote_tests::https::{PodServer, Speaks};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::workload;
use mote_tests::world::{BUSYBOX, World};
use serde_json::{Value, json};

const IMAGE: &str = "test.local/workload:1";

/// The program's ports begin here: ten for each container, as they share the pod's address.
const PORTS: [(&str, u16); 4] = [("exec", 8000), ("http", 8010), ("tcp", 8020), ("grpc", 8030)];

fn handler(name: &str, port: u16) -> Value {
    match name {
        "exec" => json!({"exec": {"command": ["/workload", "check"]}}),
        "http" => json!({"httpGet": {"path": "/", "port": port}}),
        "tcp" => json!({"tcpSocket": {"port": port + 1}}),
        _ => json!({"grpc": {"port": port + 2}}),
    }
}

/// All handlers for these kinds of probes, once a second.
fn probed(kinds: &[&str], command: &[&str], failures: u32) -> Result<Manifest> {
    let mut probed = pod("probed").spec("terminationGracePeriodSeconds", json!(1));
    for (name, port) in PORTS {
        probed = probed.container(name, IMAGE, command);
        probed = probed.with("env", json!([{"name": "PORT", "value": port.to_string()}]));
        let mut probe = handler(name, port);
        let fields = probe.as_object_mut().context("an object")?;
        fields.insert("periodSeconds".into(), json!(1));
        fields.insert("failureThreshold".into(), json!(failures));
        for kind in kinds {
            probed = probed.with(kind, probe.clone());
        }
    }
    Ok(probed)
}

fn node(world: &World) -> Result<Node> {
    let node = world.node("n1")?;
    let program = world.directory().join("workload");
    workload::compile(&program)?;
    node.import(&workload::image(&program)?, IMAGE)?;
    Ok(node)
}

/// The files by which the containers are well.
fn wells(node: &Node, command: &str) -> Result<Vec<PathBuf>> {
    let processes = node.processes(command)?;
    assert_eq!(processes.len(), PORTS.len(), "one process for each handler");
    let path = |pid: rustix::process::Pid| format!("/proc/{}/root/well", pid.as_raw_nonzero());
    Ok(processes.into_iter().map(path).map(PathBuf::from).collect())
}

fn ready(status: &PodStatus) -> bool {
    status.conditions.is_true(PodCondition::Ready)
}

fn each(status: &PodStatus, holds: impl Fn(&ContainerStatus) -> bool) -> bool {
    status.containers.len() == PORTS.len() && status.containers.iter().all(holds)
}

#[test]
fn readiness_fails_and_recovers_by_each() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    world.operator.apply(&probed(&["readinessProbe"], &["/workload", "health"], 2)?, &node)?;
    world.wait_for(&node, "probed", "Ready", ready)?;
    let wells = wells(&node, "/workload health")?;
    wells.iter().try_for_each(fs::remove_file)?;
    let status = world.wait_for(&node, "probed", "no container Ready", |status| {
        !ready(status) && each(status, |container| !container.ready())
    })?;
    assert_eq!(status.phase, Phase::Running);
    wells.iter().try_for_each(|well| fs::write(well, ""))?;
    let status = world.wait_for(&node, "probed", "Ready again", ready)?;
    assert!(each(&status, |container| container.ready() && container.restarts == 0), "{status:?}");
    Ok(())
}

#[test]
fn liveness_fails_and_recovers_by_each() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    // Ready is: it has its file by now.
    let kinds = ["livenessProbe", "readinessProbe"];
    world.operator.apply(&probed(&kinds, &["/workload", "health"], 2)?, &node)?;
    world.wait_for(&node, "probed", "Ready", ready)?;
    wells(&node, "/workload health")?.iter().try_for_each(fs::remove_file)?;
    // Each next attempt has its file again.
    world.wait_for(&node, "probed", "all restarted once and Ready", |status| {
        ready(status) && each(status, |container| container.restarts == 1)
    })?;
    Ok(())
}

#[test]
fn startup_fails_by_each() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let late = probed(&["startupProbe"], &["/workload", "health", "late"], 2)?;
    world.operator.apply(&late, &node)?;
    let status = world.wait_for(&node, "probed", "all restarted", |status| {
        each(status, |container| container.restarts >= 1)
    })?;
    assert!(each(&status, |container| !container.started()) && !ready(&status), "{status:?}");
    Ok(())
}

#[test]
fn startup_recovers_by_each() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let late = probed(&["startupProbe"], &["/workload", "health", "late"], 60)?;
    world.operator.apply(&late, &node)?;
    let told = world.wait_for_event(&node, "Unhealthy")?;
    assert!(told.starts_with("Startup probe failed: "), "{told}");
    let status = world.wait_for_phase(&node, "probed", Phase::Running)?;
    assert!(each(&status, |container| !container.started()), "{status:?}");
    wells(&node, "/workload health late")?.iter().try_for_each(|well| fs::write(well, ""))?;
    let status = world.wait_for(&node, "probed", "Ready", ready)?;
    assert!(
        each(&status, |container| container.started() && container.restarts == 0),
        "{status:?}"
    );
    Ok(())
}

/// A pod that only sleeps, with this handler for one thing, and a server in its network.
fn served(world: &World, node: &Node, what: (&str, Value), speaks: Speaks) -> Result<PodServer> {
    let served = pod("served")
        .container("main", BUSYBOX, &["sleep", "1001"])
        .with(what.0, what.1)
        .spec("terminationGracePeriodSeconds", json!(1));
    world.operator.apply(&served, node)?;
    world.wait_for_phase(node, "served", Phase::Running)?;
    PodServer::start(node.process("sleep 1001")?, 8443, speaks)
}

#[test]
fn readiness_over_https_fails_and_recovers() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let get = json!({"path": "/well", "port": 8443, "scheme": "HTTPS"});
    let probe = json!({"httpGet": get, "periodSeconds": 1, "failureThreshold": 1});
    let server = served(&world, &node, ("readinessProbe", probe), Speaks::Https)?;
    world.wait_for(&node, "served", "Ready", ready)?;
    server.answer_with(500);
    world.wait_for(&node, "served", "not Ready", |status| !ready(status))?;
    server.answer_with(399);
    world.wait_for(&node, "served", "Ready again", ready)?;
    drop(server);
    world.wait_for(&node, "served", "nobody there", |status| !ready(status))?;
    Ok(())
}

#[test]
fn a_hook_over_https_is_repeated_over_http_and_that_is_told() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let get = json!({"httpGet": {"path": "/stop", "port": 8443, "scheme": "HTTPS"}});
    let _server = served(&world, &node, ("lifecycle", json!({"preStop": get})), Speaks::Http)?;
    world.operator.delete("served", &node)?;
    let told = world.wait_for_event(&node, "LifecycleHTTPFallback")?;
    assert!(told.starts_with("request to HTTPS lifecycle hook "), "{told}");
    assert!(told.ends_with(":8443 got HTTP response, retry with HTTP succeeded"), "{told}");
    Ok(())
}
