//! The broker is not needed for anything to run, and what it forgets is not taken for an order.

use anyhow::Result;
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World, container, status_topic};
use rustix::process::Pid;

fn run_a_pod(world: &World, node: &Node) -> Result<Pid> {
    world.operator.apply(&pod("web").container("main", BUSYBOX, &["sleep", "1001"]), node)?;
    world.wait_for_phase(node, "web", Phase::Running)?;
    node.process("sleep 1001")
}

#[test]
fn pods_start_from_flash_without_a_broker() -> Result<()> {
    let mut world = World::new()?;
    let mut node = world.node("n1")?;
    run_a_pod(&world, &node)?;
    node.power_off()?;
    world.broker.stop()?;
    node.start()?;
    node.agent()?.wait_for_line("reason=Started")?;
    let pods = node.ctl(&["pods"])?;
    assert!(pods.contains("web"), "{pods}");
    node.process("sleep 1001")?;
    // Nobody was told so far; when the broker is back, it is.
    world.broker.resume()?;
    world.wait_for(&node, "web", "running again", |status| {
        status.phase == Phase::Running && container(status, "main").is_ok_and(|c| c.restarts > 0)
    })?;
    Ok(())
}

#[test]
fn a_broker_that_comes_back_changes_nothing() -> Result<()> {
    let mut world = World::new()?;
    let node = world.node("n1")?;
    let before = run_a_pod(&world, &node)?;
    world.restart_broker(false)?;
    world.operator.apply(&pod("next").container("main", BUSYBOX, &["sleep", "1002"]), &node)?;
    world.wait_for_phase(&node, "next", Phase::Running)?;
    assert_eq!(node.process("sleep 1001")?, before);
    assert!(world.observer.retained()?.contains_key(&status_topic(&node, "web")));
    Ok(())
}

#[test]
fn a_broker_that_lost_its_memory_changes_nothing() -> Result<()> {
    let mut world = World::new()?;
    let node = world.node("n1")?;
    let before = run_a_pod(&world, &node)?;
    world.restart_broker(true)?;
    // The node sees that its birth is gone and tells everything again.
    world.wait_for_birth(&node)?;
    let status = world.wait_for_phase(&node, "web", Phase::Running)?;
    assert_eq!(container(&status, "main")?.restarts, 0);
    assert_eq!(node.process("sleep 1001")?, before);
    // What the broker forgot can still be deleted.
    world.operator.delete("web", &node)?;
    world.wait_until_gone(&node, "web")
}
