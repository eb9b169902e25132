//! Hostile containers: as root and with what every container has, nobody gets out. The attempts are
//! real system calls of a program in the image (`workload/attacker`); those that could fail for another
//! reason are also made where they must succeed, so that a broken attacker proves nothing.
//!
//! | what must hold | test |
//! |---|---|
//! | no device, mount, namespace, module, key, BPF, clock, `/proc/sys`, `/proc/sysrq-trigger`; the machine is as before | `calls::a_first_process_gets_nowhere` |
//! | the same by commands: hooks and probes | `calls::a_command_gets_nowhere` |
//! | the same from a pod with users of its own | `calls::who_has_users_of_its_own_gets_nowhere_either` |
//! | the attacker is able to do what it is refused | `calls::who_is_privileged_can_do_what_others_cannot` |
//! | the attacker finds what it is given: a file that is open, the host's network | `calls::who_is_given_a_file_or_the_hosts_network_has_it` |
//! | capabilities and filter are the documented ones, both ways | `calls::rights_are_the_documented_ones` |
//! | processes of the host that are seen are neither traced nor read | `processes::who_sees_the_host_cannot_enter_it` |
//! | a command is not reached before it has given up all rights | `processes::nobody_reaches_a_command_that_begins` |
//! | raw sockets reach the pod's own network only | `network::*` |
//! | nodes that come with an image are no way to a device | `images::devices_of_an_image_cannot_be_opened` |
//! | links where directories belong lead nobody out | `images::links_of_an_image_lead_nobody_out` |
//! | working directories among open files lead nobody out | `images::no_working_directory_leads_out` |
//! | a volume that ends up over the root leads nobody out | `volumes::a_volume_in_place_of_the_root_leads_nobody_out` |
//! | directories of a volume that become links all the time lead nobody out: subPath, mounts inside, working directories | `volumes::links_that_are_swapped_lead_nobody_out` |
//! | `/proc/self/exe` and `/proc/*/exe` | `program::no_container_reaches_the_hosts_binary` |
//! | whoever holds the agent's program cannot write to it, whatever runs | `program::a_program_that_was_got_hold_of_stays_as_it_is` |

mod calls;
mod images;
mod network;
mod processes;
mod profiles;
mod program;
mod volumes;

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use mote_protocol::status::{ContainerState, Phase, PodStatus};
use mote_tests::image::{Builder, Layer};
use mote_tests::manifest::Manifest;
use mote_tests::node::Node;
use mote_tests::workload;
use mote_tests::world::{World, container, waiting};
use serde_json::json;

/// Busybox with the attacker.
const IMAGE: &str = "test.local/attacker:1";

/// The attacker, compiled once for all tests.
static ATTACKER: LazyLock<Result<Vec<u8>, String>> =
    LazyLock::new(|| workload::attacker().map_err(|error| format!("{error:#}")));

fn attacker() -> Result<&'static [u8]> {
    ATTACKER.as_deref().map_err(|error| anyhow!("{error}"))
}

/// An image with the attacker, to be completed.
fn image() -> Result<Builder> {
    Ok(Builder::busybox()?.layer(Layer::default().file("attacker", 0o755, attacker()?)))
}

/// A node with the attacker's image.
fn node(world: &World) -> Result<Node> {
    let node = world.node("n1")?;
    node.import(&image()?.build()?, IMAGE)?;
    Ok(node)
}

/// Attempts, and how each may end.
type Expected = [(&'static str, &'static [&'static str])];

/// A command line that makes attempts and writes to a file what became of them.
fn trying(report: &'static str, expected: &Expected) -> Vec<&'static str> {
    let names = expected.iter().map(|(name, _)| *name);
    ["/attacker", "try", report].into_iter().chain(names).collect()
}

/// Checks that every attempt was made and ended as it may; all that did not are told.
fn check(report: &str, expected: &Expected) -> Result<()> {
    let mut outcomes: BTreeMap<_, _> = report.lines().filter_map(|l| l.rsplit_once(' ')).collect();
    let mut wrong = Vec::new();
    for (name, allowed) in expected {
        match outcomes.remove(name) {
            Some(outcome) if allowed.contains(&outcome) => {}
            Some(outcome) => wrong.push(format!("{name}: {outcome}, not {}", allowed.join("|"))),
            None => wrong.push(format!("{name}: not tried")),
        }
    }
    wrong.extend(outcomes.keys().map(|name| format!("{name}: nobody asked for it")));
    ensure!(wrong.is_empty(), "{}\nall of it:\n{report}", wrong.join("\n"));
    Ok(())
}

/// Has attempts made by a container's first process, then by a command in one that rests.
fn try_both_ways(
    world: &World,
    node: &Node,
    name: &str,
    manifest: impl Fn(&str, &[&str]) -> Manifest,
    expected: &Expected,
) -> Result<()> {
    let first = manifest(&format!("{name}-first"), &trying("-", expected)).once();
    let report = printed(world, node, &format!("{name}-first"), &first)?;
    check(&report, expected).with_context(|| format!("{name}, as the first process"))?;
    let command = format!("{name}-command");
    let hook = json!({"postStart": {"exec": {"command": trying("/report", expected)}}});
    let resting = manifest(&command, &["/attacker", "rest"]).with("lifecycle", hook);
    world.operator.apply(&resting, node)?;
    world.wait_for_phase(node, &command, Phase::Running)?;
    let report = fs::read_to_string(inside(node, "/attacker rest", "/report")?)?;
    check(&report, expected).with_context(|| format!("{name}, by a command"))?;
    world.operator.delete(&command, node)?;
    Ok(())
}

/// Runs a pod to its end, whatever that is, and gives what its container `main` printed.
fn printed(world: &World, node: &Node, name: &str, manifest: &Manifest) -> Result<String> {
    world.operator.apply(manifest, node)?;
    Ok(world.wait_for_end(node, name)?.1)
}

/// A file as the one process with this command line sees it.
fn inside(node: &Node, command_line: &str, path: &str) -> Result<String> {
    Ok(format!("/proc/{}/root{path}", node.process(command_line)?.as_raw_nonzero()))
}

/// A container has run, or was refused, or its pod is over.
fn was_tried(status: &PodStatus, name: &str) -> bool {
    let state = container(status, name).map(|container| &container.state);
    let refused = waiting(status, name).is_some_and(|(_, message)| !message.is_empty());
    let ran = matches!(state, Ok(ContainerState::Terminated(_) | ContainerState::Running { .. }));
    refused || ran || status.phase == Phase::Failed
}

/// A directory of the host with one file in it.
fn outside(world: &World) -> Result<std::path::PathBuf> {
    let outside = world.directory().join("outside");
    fs::create_dir(&outside)?;
    fs::write(outside.join("secret"), "of the host")?;
    Ok(outside)
}

/// Nothing came into that directory, and nothing went.
fn is_as_before(outside: &std::path::Path) -> Result<()> {
    let entries = fs::read_dir(outside)?.map(|entry| Ok(entry?.file_name()));
    let entries = entries.collect::<std::io::Result<Vec<_>>>()?;
    ensure!(entries == ["secret"], "the host's directory has {entries:?}");
    ensure!(fs::read(outside.join("secret"))? == b"of the host", "the host's file was changed");
    Ok(())
}
