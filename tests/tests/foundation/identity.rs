//! Two boards that were given one name.

use anyhow::Result;
use mote_protocol::node::{Birth, NodeCondition};
use mote_tests::node::Node;
use mote_tests::world::{World, topic};

#[test]
fn two_boards_of_one_name_tell_each_other_and_do_not_fight() -> Result<()> {
    let world = World::new()?;
    let first = world.node("n1")?;
    let mut second = world.twin("n1", "twin")?;
    second.start()?;
    for node in [&first, &second] {
        node.agent()?.wait_for_line("IdentityConflict")?;
    }
    world.wait_for_condition(&first, NodeCondition::IdentityConflict)?;
    // A fight shows as births without end: what two boards need to notice each other is few.
    assert!(births(&world, &first) <= 8, "{} births", births(&world, &first));
    Ok(())
}

fn births(world: &World, node: &Node) -> usize {
    world.observer.look(|view| view.bodies::<Birth>(&topic(node, "birth")).len())
}
