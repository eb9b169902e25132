//! What changes while a pod runs.

use anyhow::{Context, Result, ensure};
use mote_protocol::status::Phase;
use mote_tests::manifest::{Manifest, config_map, pod, secret};
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World};
use serde_json::json;

/// Seconds since boot, as a container sees them.
fn uptime() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/uptime")?;
    text.split(' ').next().context("a number")?.parse().context("a number")
}

/// Prints the uptime at which a file of a volume says `new`.
const UNTIL_NEW: &str = "until grep -q new /c/a; do sleep 0.02; done; cut -d ' ' -f 1 /proc/uptime";

fn seconds_printed(world: &World, node: &Node, name: &str) -> Result<f64> {
    let (phase, text) = world.wait_for_end(node, name)?;
    ensure!(phase == Phase::Succeeded, "{name} failed; it said:\n{text}");
    text.trim().parse().with_context(|| format!("no number: {text}"))
}

fn waits(name: &str, source: serde_json::Value) -> Manifest {
    pod(name).once().container("main", BUSYBOX, &["sh", "-c", UNTIL_NEW]).volume("c", source, "/c")
}

#[test]
fn a_changed_object_arrives_within_a_second_and_restarts_nothing() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&config_map("c", json!({"a": "old"})), &node)?;
    world.operator.apply(&secret("s", json!({"a": "old"})), &node)?;
    let projected = json!({"projected": {"sources": [{"secret": {"name": "s"}}]}});
    let pods = [
        ("map", json!({"configMap": {"name": "c"}})),
        ("secret", json!({"secret": {"secretName": "s"}})),
        ("projected", projected),
    ];
    for (name, source) in pods {
        world.operator.apply(&waits(name, source), &node)?;
        world.wait_for_phase(&node, name, Phase::Running)?;
    }
    let began = uptime()?;
    world.operator.apply(&config_map("c", json!({"a": "new"})), &node)?;
    world.operator.apply(&secret("s", json!({"a": "new"})), &node)?;
    let ended = uptime()?;
    for name in ["map", "secret", "projected"] {
        let at = seconds_printed(&world, &node, name)?;
        assert!(at >= began && at <= ended + 1.0, "{name}: {began} {at} {ended}");
        assert_eq!(
            world.operator.field(name, &node, ".status.containerStatuses[0].restartCount")?,
            "0"
        );
    }
    Ok(())
}

#[test]
fn labels_of_the_pod_itself_arrive_as_well() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let items = json!([{"path": "a", "fieldRef": {"fieldPath": "metadata.labels"}}]);
    let manifest = waits("web", json!({"downwardAPI": {"items": items}}));
    world.operator.apply(&manifest.clone().label("state", "old"), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    let began = uptime()?;
    world.operator.apply(&manifest.label("state", "new"), &node)?;
    let at = seconds_printed(&world, &node, "web")?;
    assert!(at >= began && at <= uptime()? + 1.0);
    Ok(())
}

#[test]
fn two_files_of_one_map_change_together() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    let map = |text: &str| config_map("c", json!({"a": text, "b": text}));
    world.operator.apply(&map("0"), &node)?;
    // It looks up the directory once, then reads both files in it, until it saw the last state.
    let script = "seen=0; while :; do cd /c/..data || continue; \
                  a=$(cat a 2>/dev/null) || continue; b=$(cat b 2>/dev/null) || continue; \
                  [ \"$a\" = \"$b\" ] || { echo torn $a $b; exit 1; }; \
                  [ \"$a\" = last ] && break; done; echo whole";
    let manifest = pod("web").once().container("main", BUSYBOX, &["sh", "-c", script]).volume(
        "c",
        json!({"configMap": {"name": "c"}}),
        "/c",
    );
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    for text in ["1", "2", "3", "4", "5", "6", "7", "8", "last"] {
        world.operator.apply(&map(text), &node)?;
    }
    let (_, text) = world.wait_for_end(&node, "web")?;
    assert_eq!(text, "whole\n");
    Ok(())
}

#[test]
fn what_changed_while_the_agent_was_away_arrives_when_it_is_back() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    world.operator.apply(&config_map("c", json!({"a": "old"})), &node)?;
    world.operator.apply(&waits("web", json!({"configMap": {"name": "c"}})), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    node.kill()?;
    let words = ["apply", "-f", "-", "--node", "n1", "--wait=false"];
    world.operator.run_with(&words, &config_map("c", json!({"a": "new"})).text())?.succeeded()?;
    node.start()?;
    seconds_printed(&world, &node, "web")?;
    Ok(())
}

#[test]
fn a_change_that_cannot_be_made_leaves_what_was() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&config_map("c", json!({"a": "old"})), &node)?;
    let source = json!({"configMap": {"name": "c", "items": [{"key": "a", "path": "a"}]}});
    world.operator.apply(&waits("web", source), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    world.operator.apply(&config_map("c", json!({"b": "new"})), &node)?;
    let text = "MountVolume.SetUp failed for volume \"c\" : configmap references non-existent \
                config key: a";
    assert_eq!(world.wait_for_event(&node, "FailedMount")?, text);
    // Deleted, it takes nothing away either.
    world.operator.run(&["delete", "configmap", "c", "--node", "n1"])?.succeeded()?;
    world.operator.apply(&config_map("c", json!({"a": "new"})), &node)?;
    seconds_printed(&world, &node, "web")?;
    Ok(())
}

#[test]
fn a_volume_that_cannot_be_made_keeps_no_other_from_changing() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    for name in ["a", "c"] {
        world.operator.apply(&config_map(name, json!({"a": "old"})), &node)?;
    }
    let labels = json!([{"path": "a", "fieldRef": {"fieldPath": "metadata.labels['state']"}}]);
    // In the order of the spec, the one that cannot be made comes first.
    let web = pod("web").once().label("state", "old");
    let script = format!("{UNTIL_NEW}; until grep -q new /d/a; do sleep 0.02; done");
    let web = web
        .container("main", BUSYBOX, &["sh", "-c", &script])
        .volume("a", json!({"configMap": {"name": "a"}}), "/a")
        .volume("c", json!({"configMap": {"name": "c"}}), "/c")
        .volume("d", json!({"downwardAPI": {"items": labels}}), "/d");
    world.operator.apply(&web, &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    world.operator.run(&["delete", "configmap", "a", "--node", "n1"])?.succeeded()?;
    world.operator.apply(&config_map("c", json!({"a": "new"})), &node)?;
    world.operator.apply(&web.label("state", "new"), &node)?;
    seconds_printed(&world, &node, "web")?;
    Ok(())
}
