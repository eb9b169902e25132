//! Streams that go both ways, on a real broker and in real containers.
//!
//! | what must hold | test |
//! |---|---|
//! | exit codes, outputs apart, what cannot be executed | `exec::a_command_gives_its_outputs_and_its_exit_code` |
//! | megabytes through a command, both ways, whole | `exec::input_comes_through_whole_and_ends` |
//! | default container, names that are not there, pods that are over | `exec::containers_are_chosen_and_refused_as_kubectl_does` |
//! | nothing without the node's leave; an event tells who did what | `exec::a_node_that_was_not_told_so_refuses`, `exec::events_tell_who_did_what` |
//! | an operator who is killed takes the command along | `exec::a_command_ends_with_its_operator` |
//! | one who is interrupted in the middle takes along what was open | `exec::a_command_ends_with_its_operator_in_the_middle_of_its_input`, `forward::connections_end_with_their_operator` |
//! | the same without a broker, for root | `exec::at_the_machine` |
//! | a terminal: its name, its size before and after a change, Ctrl-C, how it is left | `terminal::*` |
//! | requests of HTTP, many connections, ports that nobody listens on, other ways to name ports | `forward::*` |
//! | 20 MB both ways, whole, on a line that is out for a while; statuses meanwhile | `load::*` |
//! | a line that breaks in the middle: an error on both sides, and never a text that is taken for whole | `load::a_line_that_breaks_ends_streams_with_an_error` |

mod exec;
mod forward;
mod load;
mod terminal;

use anyhow::Result;
use mote_protocol::status::Phase;
use mote_tests::broker::BrokerOptions;
use mote_tests::manifest::pod;
use mote_tests::node::{Node, NodeOptions};
use mote_tests::world::{BUSYBOX, World};

/// What a node is told that allows all of it.
const ALLOWED: &str = "[streams]\nexec = true\nport_forward = true\n";

/// A world whose broker sends at once what it has: where it waits for more (Nagle's algorithm), a
/// window takes 40 ms.
fn quick() -> Result<World> {
    let extra = "set_tcp_nodelay true\n".to_owned();
    World::with_broker(BrokerOptions { persistent: true, extra, ..BrokerOptions::default() })
}

/// A node that allows its operators what these tests are about.
fn allowing(world: &World) -> Result<Node> {
    let extra = ALLOWED.to_owned();
    world.node_with(NodeOptions { extra, ..world.options("n1") })
}

/// A pod that does nothing, and runs.
fn idle(world: &World, node: &Node, name: &str) -> Result<()> {
    world.operator.apply(&pod(name).container("main", BUSYBOX, &["sleep", "1001"]), node)?;
    world.wait_for_phase(node, name, Phase::Running).map(drop)
}
