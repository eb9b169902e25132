//! Changes that wait, and changes that are taken back.

use std::fs;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::image::Builder;
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::world::{World, spec_topic};
use serde_json::json;

const GOOD: &str = "test.local/web:1";
const BROKEN: &str = "test.local/web:2";
const BETTER: &str = "test.local/web:3";

/// A node that has three images of one program: the second ends as soon as it is started.
fn node(world: &World) -> Result<Node> {
    let mut node = world.prepare(world.options("n1"))?;
    let image = |words: &[&str]| Builder::busybox()?.entrypoint(words).build();
    node.import(&image(&["sleep", "1001"])?, GOOD)?;
    node.import(&image(&["sh", "-c", "exit 3"])?, BROKEN)?;
    node.import(&image(&["sleep", "1003"])?, BETTER)?;
    node.start()?;
    world.wait_for_birth(&node)?;
    Ok(node)
}

fn web(image: &str) -> Manifest {
    pod("web").image("main", image)
}

fn on_trial(image: &str) -> Manifest {
    web(image).annotation("mote/rollback-after", "10s")
}

fn went_back(status: &PodStatus) -> bool {
    status.refusal.as_ref().is_some_and(|refusal| &*refusal.reason == "RolledBack")
}

#[test]
fn a_change_that_is_not_ready_in_time_goes_back_and_says_why() -> Result<()> {
    let world = World::new()?;
    let mut node = node(&world)?;
    world.operator.apply(&web(GOOD), &node)?;
    let first = world.wait_for_phase(&node, "web", Phase::Running)?;
    world.operator.apply(&on_trial(BROKEN), &node)?;
    let tried =
        world.wait_for(&node, "web", "the change", |told| told.accepted != first.accepted)?;
    node.ctl(&["images", "prune"])?;
    ensure!(node.ctl(&["images"])?.contains(GOOD), "what it goes back to stays");
    // Neither the end of an agent ends a trial.
    node.kill()?;
    node.start()?;
    let back = world.wait_for(&node, "web", "going back", went_back)?;
    assert_eq!((back.accepted, back.uid), (first.accepted, first.uid));
    let refusal = back.refusal.context("waited for")?;
    assert_eq!(refusal.seen, tried.accepted);
    let why = refusal.message.to_string();
    assert!(why.starts_with("not ready after 10s: container main: CrashLoopBackOff"), "{why}");
    node.process("sleep 1001").or_else(|_| {
        world.wait_for(&node, "web", "what was before", |told| told.containers[0].ready())?;
        node.process("sleep 1001")
    })?;
    let event = world.wait_for_event(&node, "RolledBack")?;
    assert!(event.contains(&format!("back to revision {}", first.accepted.number)), "{event}");
    let described = world.operator.run(&["describe", "pod", "web", "--node", "n1"])?.succeeded()?;
    assert!(described.contains("RolledBack"), "{described}");
    assert!(node.ctl(&["describe", "pod", "web"])?.contains("RolledBack"));
    // The broker says it again to an agent that comes back.
    node.kill()?;
    node.start()?;
    world.operator.run(&["get", "pods"])?.succeeded()?;
    let still = world.wait_for(&node, "web", "the same", |told| told.containers[0].ready())?;
    assert!(went_back(&still) && still.accepted == first.accepted, "{still:?}");
    world.operator.apply(&on_trial(BETTER), &node)?;
    world.wait_for(&node, "web", "the better one", |told| {
        let main = &told.containers[0];
        told.refusal.is_none() && main.ready() && main.image != still.containers[0].image
    })?;
    node.process("sleep 1003")?;
    Ok(())
}

#[test]
fn a_new_life_that_is_not_ready_in_time_gives_way_to_one_like_the_last() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    world.operator.apply(&web(GOOD), &node)?;
    let first = world.wait_for_phase(&node, "web", Phase::Running)?;
    let other = on_trial(BROKEN).spec("hostname", "other".into()).text();
    let words = ["apply", "--force", "-f", "-", "--node", "n1"];
    world.operator.run_with(&words, &other)?.succeeded()?;
    let back = world.wait_for(&node, "web", "going back", |told| {
        went_back(told) && told.containers[0].image == first.containers[0].image
    })?;
    assert_eq!(back.accepted, first.accepted);
    assert_ne!(back.uid, first.uid);
    world.wait_for(&node, "web", "the container", |told| told.containers[0].ready())?;
    node.process("sleep 1001")?;
    Ok(())
}

#[test]
fn a_change_waits_while_its_lock_is_held() -> Result<()> {
    let world = World::new()?;
    let mut node = node(&world)?;
    let locked = |image| web(image).annotation("mote/update-lock", "printing");
    let locks = node.run().join("locks");
    let lock = locks.join("printing");
    let script = "touch /locks/printing; exec sleep 1005";
    let printer = pod("printer")
        .container("main", GOOD, &["sh", "-c", script])
        .volume("locks", json!({"hostPath": {"path": locks, "type": "Directory"}}), "/locks")
        .with("readinessProbe", json!({"exec": {"command": ["test", "-f", "/locks/printing"]}}));
    world.operator.apply(&printer, &node)?;
    world.wait_for(&node, "printer", "the lock", |told| told.containers[0].ready())?;
    ensure!(lock.exists(), "a pod took it");
    // What is new disturbs nobody.
    world.operator.apply(&locked(GOOD), &node)?;
    let first = world.wait_for_phase(&node, "web", Phase::Running)?;
    let words = ["apply", "-f", "-", "--node", "n1"];
    let said = world.operator.run_with(&words, &locked(BETTER).text())?.succeeded()?;
    let why = "waits for the lock printing; it is made after 24h0m0s in any case";
    assert_eq!(said, format!("pod/web configured (node n1): {why}\n"));
    let event = world.wait_for_event(&node, "UpdateDelayed")?;
    assert!(event.contains(why), "{event}");
    let described = world.operator.run(&["describe", "pod", "web", "--node", "n1"])?.succeeded()?;
    assert!(described.contains("UpdatePending"), "{described}");
    // It is on flash, and the agent that comes back waits as well.
    world.replace_agent(&mut node)?;
    let described = node.ctl(&["describe", "pod", "web"])?;
    assert!(described.contains(why), "{described}");
    node.process("sleep 1001")?;
    fs::remove_file(&lock)?;
    let told = world.wait_for(&node, "web", "the change", |told| {
        told.refusal.is_none()
            && told.accepted != first.accepted
            && told.containers[0].ready()
            && told.containers[0].image != first.containers[0].image
    })?;
    assert_eq!(told.uid, first.uid);
    node.process("sleep 1003")?;
    Ok(())
}

#[test]
fn annotations_that_mean_nothing_are_refused_by_their_path() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let manifest = web(GOOD).annotation("mote/rollback-after", "soon");
    let error = world.operator.try_apply(&manifest, &node)?.refused()?;
    assert!(error.contains("metadata.annotations[mote/rollback-after]"), "{error}");
    ensure!(
        world.observer.look(|view| !view.latest.contains_key(&spec_topic(&node, "web"))),
        "nothing is sent"
    );
    Ok(())
}
