//! Probes, with what they mean for the pod and what is told of them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use mote_protocol::status::{Phase, PodCondition, PodStatus};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World, container};
use serde_json::{Value, json};

/// Serves the files of `/www`.
const SERVER: &str =
    "mkdir -p /www; echo ok > /www/health; touch /serve; exec httpd -f -p 8080 -h /www";

/// Has these probes, once a second. One that is Ready by its readiness probe has its files.
fn server(probes: &[&str], handler: &Value) -> Manifest {
    let mut probe = json!({"periodSeconds": 1, "failureThreshold": 2});
    let (fields, wanted) = (probe.as_object_mut(), handler.as_object());
    if let (Some(fields), Some(wanted)) = (fields, wanted) {
        fields.extend(wanted.clone());
    }
    let server = pod("web")
        .container("main", BUSYBOX, &["sh", "-c", SERVER])
        .with("ports", json!([{"name": "web", "containerPort": 8080}]));
    probes.iter().fold(server, |server, name| server.with(name, probe.clone()))
}

/// The handlers, and the file of the container that they need.
fn handlers() -> [(&'static str, Value, &'static str); 2] {
    [
        ("exec", json!({"exec": {"command": ["cat", "/serve"]}}), "serve"),
        ("httpGet", json!({"httpGet": {"path": "/health", "port": "web"}}), "www/health"),
    ]
}

/// A file as the container's first process sees it.
fn inside(node: &Node, path: &str) -> Result<PathBuf> {
    let pid = node.process("httpd -f -p 8080 -h /www")?;
    Ok(PathBuf::from(format!("/proc/{}/root/{path}", pid.as_raw_nonzero())))
}

fn ready(status: &PodStatus) -> bool {
    status.conditions.is_true(PodCondition::Ready)
}

#[test]
fn readiness_flips_ready_both_ways() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    for (name, handler, file) in handlers() {
        world.operator.apply(&server(&["readinessProbe"], &handler), &node)?;
        world.wait_for(&node, "web", "Ready", ready)?;
        let file = inside(&node, file)?;
        let kept = fs::read(&file)?;
        fs::remove_file(&file)?;
        let status = world.wait_for(&node, "web", "not Ready", |status| !ready(status))?;
        assert_eq!(status.phase, Phase::Running, "{name}");
        assert!(container(&status, "main")?.started() && !container(&status, "main")?.ready());
        fs::write(&file, &kept)?;
        let status = world.wait_for(&node, "web", "Ready again", ready)?;
        assert_eq!(container(&status, "main")?.restarts, 0, "{name}");
        world.operator.delete("web", &node)?;
    }
    let told = world.wait_for_event(&node, "Unhealthy")?;
    assert!(told.starts_with("Readiness probe failed: "), "{told}");
    Ok(())
}

#[test]
fn a_failing_liveness_probe_restarts_the_container() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    for (name, handler, file) in handlers() {
        world.operator.apply(&server(&["readinessProbe", "livenessProbe"], &handler), &node)?;
        let before = world.wait_for(&node, "web", "Ready", ready)?;
        fs::remove_file(inside(&node, file)?)?;
        let after = world.wait_for(&node, "web", "a restart", |status| {
            ready(status) && container(status, "main").is_ok_and(|main| main.restarts == 1)
        })?;
        assert_eq!(before.uid, after.uid, "{name}");
        // The new attempt has its file again, and stays.
        let last = container(&after, "main")?.last.clone().context("the last end")?;
        assert!([137, 143].contains(&last.exit_code), "{last:?}");
        world.operator.delete("web", &node)?;
    }
    let told = world.wait_for_event(&node, "Killing")?;
    assert_eq!(told, "Container main failed liveness probe, will be restarted");
    Ok(())
}

#[test]
fn a_startup_probe_holds_the_others_back_and_ends_what_does_not_start() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let manifest = pod("slow")
        .container("main", BUSYBOX, &["sleep", "1001"])
        .with("startupProbe", json!({"exec": {"command": ["cat", "/started"]}, "periodSeconds": 1, "failureThreshold": 3}))
        .with("livenessProbe", json!({"exec": {"command": ["false"]}, "failureThreshold": 1}));
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for(&node, "slow", "a restart", |status| {
        container(status, "main").is_ok_and(|main| main.restarts == 1)
    })?;
    assert!(!ready(&status));
    let told = world.wait_for_event(&node, "Killing")?;
    assert_eq!(told, "Container main failed startup probe, will be restarted");
    Ok(())
}

#[test]
fn a_tcp_probe_needs_somebody_who_listens() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let probe = json!({"tcpSocket": {"port": "web"}, "periodSeconds": 1});
    let server = |command: &str| {
        pod("tcp")
            .container("main", BUSYBOX, &["sh", "-c", command])
            .with("ports", json!([{"name": "web", "containerPort": 8080}]))
            .with("readinessProbe", probe.clone())
    };
    world.operator.apply(&server("exec httpd -f -p 8080"), &node)?;
    world.wait_for(&node, "tcp", "Ready", ready)?;
    world.operator.delete("tcp", &node)?;

    world.operator.apply(&server("exec sleep 1001"), &node)?;
    let told = world.wait_for_event(&node, "Unhealthy")?;
    assert!(told.contains("connect: connection refused"), "{told}");
    let status = world.wait_for_phase(&node, "tcp", Phase::Running)?;
    assert!(!ready(&status));
    Ok(())
}
