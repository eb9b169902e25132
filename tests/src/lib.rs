//! Everything that looks at mote from outside: the end to end harness, the runner behind
//! `cargo verify`, the demo and the benchmarks.
//!
//! | module | what it stands for |
//! |---|---|
//! | [`verify`] | the runner: groups of tests, their needs, their budgets |
//! | [`binaries`] | where the built programs are |
//! | [`process`] | a child with its log |
//! | [`random`] | chance that can be repeated |
//! | [`wait`] | waiting for an event, never for time |
//! | [`port`] | TCP ports nobody else takes |
//! | [`broker`] | a real mosquitto |
//! | [`card`] | a small card that fills up or becomes read-only |
//! | [`certificates`] | a certificate authority of its own |
//! | [`network`] | networks of a test's own, and who talks to whom there |
//! | [`node`] | the agent, with directories and cgroups of its own |
//! | [`manifest`] | Kubernetes manifests |
//! | [`operator`] | a person with `mote` |
//! | [`raw`] | objects as bytes |
//! | [`workload`] | a static program to run in containers |
//! | [`world`] | broker, operator and observer together |
//! | [`observer`] | what an MQTT client sees of a fleet |
//! | [`https`] | a server in a pod's network |
//! | [`image`] | container images, good and hostile |
//! | [`registry`] | a real docker-registry, open or guarded |
//! | [`token_server`] | who gives tokens for a guarded registry |
//! | [`link`] | a bad line to a registry |
//! | [`silent`] | files that nobody serves |
//! | [`host`] | what the machine holds: processes, mounts, cgroups |
//! | [`board`] | virtual boards: whole machines with a kernel of their own |
//! | [`bench`] | what a node costs and how fast it is |
//! | [`demo`] | a fleet of one node, from nothing |
//! | [`allocations`] | an allocator that counts |

pub mod allocations;
pub mod bench;
pub mod binaries;
pub mod board;
pub mod broker;
pub mod card;
pub mod certificates;
pub mod demo;
pub mod host;
pub mod https;
pub mod image;
pub mod link;
pub mod manifest;
pub mod network;
pub mod node;
pub mod observer;
pub mod operator;
pub mod port;
pub mod process;
pub mod random;
pub mod raw;
pub mod registry;
pub mod silent;
pub mod token_server;
pub mod verify;
pub mod wait;
pub mod workload;
pub mod world;

/// The command line, without the `--` that cargo's aliases end in: `cargo demo --once` and
/// `cargo demo -- --once` mean the same.
pub fn command_line() -> impl Iterator<Item = std::ffi::OsString> {
    let second_is_dashes =
        |(place, word): &(usize, std::ffi::OsString)| *place == 1 && word == "--";
    std::env::args_os().enumerate().filter(move |one| !second_is_dashes(one)).map(|(_, word)| word)
}
