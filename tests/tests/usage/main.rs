//! What is used, measured on real containers and told in every way that there is.
//!
//! | what must hold | test |
//! |---|---|
//! | a container that works and holds memory shows as such to operators, and at the machine | `top::who_works_is_seen` |
//! | reports come in their cadence, as they are promised | `top::a_node_reports_by_itself` |
//! | who scrapes sees the same, over a port and a path; requests are bounded in what they are and in time | `scrape::*` |

mod scrape;
mod top;

use anyhow::Result;
use mote_protocol::status::Phase;
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::world::{BUSYBOX, World};

/// Memory that a busy pod holds, in MiB.
const HELD: u64 = 48;

/// A pod that works without an end, and holds memory that is nobody's file.
fn busy(world: &World, node: &Node) -> Result<()> {
    let held =
        format!("dd if=/dev/zero of=/dev/shm/held bs=1M count={HELD} && while :; do :; done");
    world.operator.apply(&pod("busy").container("main", BUSYBOX, &["sh", "-c", &held]), node)?;
    world.wait_for_phase(node, "busy", Phase::Running).map(drop)
}

/// A pod that does nothing.
fn idle(world: &World, node: &Node) -> Result<()> {
    world.operator.apply(&pod("idle").container("main", BUSYBOX, &["sleep", "1001"]), node)?;
    world.wait_for_phase(node, "idle", Phase::Running).map(drop)
}
