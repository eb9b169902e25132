//! Init containers and sidecars.

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{Phase, PodCondition};
use mote_tests::manifest::pod;
use mote_tests::world::{BUSYBOX, World, container, terminated, waiting};
use serde_json::json;

#[test]
fn a_failed_init_container_ends_a_pod_that_runs_once() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let manifest = pod("once")
        .init("first", BUSYBOX, &["sh", "-c", "exit 4"])
        .container("main", BUSYBOX, &["sleep", "1001"])
        .once();
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for_phase(&node, "once", Phase::Failed)?;
    assert_eq!(terminated(&status, "first")?.exit_code, 4);
    assert!(!status.conditions.is_true(PodCondition::Initialized));
    ensure!(node.processes("sleep 1001")?.is_empty(), "the app container was started");
    Ok(())
}

#[test]
fn a_failed_init_container_is_tried_again_otherwise() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    for policy in ["OnFailure", "Always"] {
        let name = policy.to_lowercase();
        let manifest = pod(&name)
            .init("first", BUSYBOX, &["sh", "-c", "exit 4"])
            .container("main", BUSYBOX, &["sleep", "1001"])
            .spec("restartPolicy", json!(policy));
        world.operator.apply(&manifest, &node)?;
        let status = world.wait_for(&node, &name, "a second failure", |status| {
            container(status, "first").is_ok_and(|first| first.restarts == 1)
                && waiting(status, "first").is_some_and(|(reason, _)| reason == "CrashLoopBackOff")
        })?;
        assert_eq!(status.phase, Phase::Pending, "an init container keeps its pod Pending");
        let shown = world.operator.run(&["get", "pod", &name])?.succeeded()?;
        assert!(shown.contains("Init:CrashLoopBackOff"), "{shown}");
    }
    Ok(())
}

#[test]
fn sidecars_start_in_order_and_end_in_reverse() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let script = |name: &str| {
        format!(
            "echo {name} starts; trap 'echo {name} ends; exit 0' TERM; touch /up; while :; do sleep 0.1; done"
        )
    };
    let sidecar = |name: &str| {
        json!({
            "name": name, "image": BUSYBOX, "restartPolicy": "Always",
            "command": ["sh", "-c", script(name)],
            "startupProbe": {"exec": {"command": ["cat", "/up"]}, "periodSeconds": 1},
        })
    };
    let manifest = pod("web")
        .container("main", BUSYBOX, &["sh", "-c", &script("main")])
        .spec("initContainers", json!([sidecar("one"), sidecar("two")]))
        .spec("terminationGracePeriodSeconds", json!(20));
    world.operator.apply(&manifest, &node)?;
    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    let logs = node.keep_logs(&status.uid.context("a uid")?)?;
    let started = |name: &str| logs.said_at(name, "starts");
    let order = [started("one")?, started("two")?, started("main")?];
    assert!(order.is_sorted(), "{order:?}");

    world.operator.delete("web", &node)?;
    let ended = |name: &str| logs.said_at(name, "ends");
    let order = [ended("main")?, ended("two")?, ended("one")?];
    assert!(order.is_sorted(), "{order:?}");
    Ok(())
}
