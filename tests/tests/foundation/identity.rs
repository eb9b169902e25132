//! Two boards that were given one name.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use mote_protocol::node::{Birth, NodeCondition, NodeStatus, Session};
use mote_tests::node::Node;
use mote_tests::observer::View;
use mote_tests::world::{World, topic};

/// What tells boards of one name apart.
type Identity = [u8; 8];

#[test]
fn two_boards_of_one_name_tell_each_other_and_do_not_fight() -> Result<()> {
    let world = World::new()?;
    let mut first = world.node("n1")?;
    // Started again, it is in a session that no start of the other can have.
    first.terminate()?;
    first.start()?;
    let own = Session { start: 2, connection: 1 };
    world.observer.wait("the second start of the first board", |view| {
        sessions(view, &first).values().any(|sessions| sessions.contains(&own)).then_some(())
    })?;
    let mut second = world.twin("n1", "twin")?;
    second.start()?;
    for node in [&first, &second] {
        node.agent()?.wait_for_line("IdentityConflict")?;
    }
    // They share the topic of their status: whose it is, its session tells.
    let told = world.observer.wait("IdentityConflict in the status of both boards", |view| {
        let sessions = sessions(view, &first);
        let current: Vec<_> = sessions.values().filter_map(BTreeSet::last).copied().collect();
        let told = conflicts(view, &first);
        (current.len() == 2 && current.iter().all(|session| told.contains(session)))
            .then_some(sessions)
    });
    let told = told.with_context(|| format!("{}\n---\n{}", first.log(), second.log()))?;
    // A fight shows as connections without end. The second board needs two: it takes a session
    // above the one that the broker keeps.
    let after: Vec<_> = told.values().map(|all| all.iter().filter(|one| **one >= own)).collect();
    let most = after.into_iter().map(Iterator::count).max().unwrap_or_default();
    ensure!(most == 1, "connections since the second board came: {told:?}");
    let shared = told.values().filter(|sessions| sessions.contains(&own)).count();
    ensure!(shared == 1, "both boards spoke in session {own:?}: {told:?}");
    // Each hears the other's birth and answers it once per connection.
    let births = world.observer.look(|view| view.bodies::<Birth>(&topic(&first, "birth")).len());
    ensure!(births <= 8, "{births} births");
    Ok(())
}

/// The connections of each board that ever used a node's name: each begins with a birth.
fn sessions(view: &View, node: &Node) -> BTreeMap<Identity, BTreeSet<Session>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for birth in view.bodies::<Birth>(&topic(node, "birth")) {
        found.entry(birth.identity).or_default().insert(birth.session);
    }
    found
}

/// The sessions whose status has ever said that another board uses the name.
fn conflicts(view: &View, node: &Node) -> BTreeSet<Session> {
    let statuses = view.bodies::<NodeStatus>(&topic(node, "status/node")).into_iter();
    let says = |status: &NodeStatus| {
        let mut conditions = status.conditions.iter();
        conditions.any(|one| one.condition == NodeCondition::IdentityConflict && one.truth)
    };
    statuses.filter(says).map(|status| status.session).collect()
}
