//! The network of pods: real nodes, each in a network of its own, with real packets.
//!
//! | what must hold | test |
//! |---|---|
//! | a pod has its address before its first container starts, and everybody is told | `addresses::a_pod_knows_its_address_and_so_does_everybody` |
//! | a pod that waits for its image has one as soon as its containers start, and gives it back | `addresses::addresses_are_given_once` |
//! | pods in the host's network have the host's, and pods of a node without a range have localhost, whatever it had before | `addresses::*` |
//! | pod to pod, to node, to the world (masqueraded), and back, IPv4 and IPv6 | `traffic::pods_node_and_world_reach_each_other` |
//! | nobody speaks with another pod's address, or turns the node's routes | `traffic::a_pod_speaks_with_its_own_address_only` |
//! | probes ask a pod at its address | `traffic::probes_ask_at_the_pods_address` |
//! | `hostPort` from the world, the node, its localhost, other pods and the pod itself; TCP, UDP, IPv6 | `ports::a_port_of_the_node_leads_to_its_pod_from_everywhere` |
//! | `hostIP`, also one of somebody else's, ports that are taken, the node's localhost is none of a pod's | `ports::*` |
//! | `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`, the kernel's name; a container's own mounts | `names::*` |
//! | names of services and pods, for busybox, glibc and raw questions; other names of whom the node asks; offline, from outside, beside another server of names | `resolver::*` |
//! | a pod that floods the resolver takes neither the node's memory nor the others' answers | `flood::a_pod_that_floods_the_resolver_harms_nobody` |
//! | init containers that wait for services, as in Kubernetes' own example | `example::init_containers_wait_for_services` |
//! | what a pod asks while no agent runs is answered by the next, where somebody keeps the sockets | `resolver::*` |
//! | an agent that is killed and comes again changes nothing | `resume::a_killed_agent_leaves_the_network_as_it_is` |
//! | rules that somebody flushed come back, others' stay; what the kernel tells of our own is no change | `resume::*` |
//! | nothing is left of a pod; what an agent left behind is removed | `resume::*` |
//! | the network of the last of 110 pods takes what that of the first does; nothing is left of them all | `crowd::*` |
//! | a service from the node, other pods and its own; TCP, UDP, IPv6; on a node without any other address or route | `services::a_service_leads_to_its_pods_from_everywhere` |
//! | who comes and goes breaks no other's connection; without anybody it is refused | `services::a_service_leads_to_its_pods_from_everywhere` |
//! | only who is ready serves, also while an agent is replaced | `services::only_who_is_ready_serves` |
//! | `nodePort` from everywhere, `sessionAffinity` through changes and agents | `services::a_port_of_the_node_leads_to_a_service` |
//! | addresses stay, headless services have none, containers are told of services | `services::addresses_stay_and_containers_are_told` |
//! | without nft pods wait and say so, but for those in the host's network; and where the node has an address of their range | `missing::*` |
//!
//! How fast packets come to pods is measured by a program of its own: `speed.rs`.

mod addresses;
mod crowd;
mod example;
mod flood;
mod missing;
mod names;
mod ports;
mod resolver;
mod resume;
mod services;
mod traffic;

use std::fs::File;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::network::{OwnNetwork, network_of};
use mote_tests::node::{Node, NodeOptions};
use mote_tests::world::{BUSYBOX, World};

const V4: &str = "pod_cidr = \"10.188.0.0/20\"";
const BOTH: &str = "pod_cidr = \"10.188.0.0/20\"\npod_cidr_v6 = \"fd00:188::/112\"";

/// A machine with a world on it, and what its node is told.
struct Machine {
    world: World,
    network: OwnNetwork,
}

impl Machine {
    fn new() -> Result<Self> {
        let network = OwnNetwork::enter()?;
        Ok(Self { world: World::new()?, network })
    }

    fn options(&self, network: &str) -> NodeOptions {
        NodeOptions { network: network.into(), ..self.world.options("n1") }
    }

    fn node(&self, network: &str) -> Result<Node> {
        self.world.node_with(self.options(network))
    }

    /// A pod that runs and does nothing, and its network.
    fn idle(&self, node: &Node, name: &str) -> Result<Idle> {
        self.run(node, &sleeper(name), name)
    }

    fn run(&self, node: &Node, manifest: &Manifest, name: &str) -> Result<Idle> {
        self.world.operator.apply(manifest, node)?;
        let status = self.world.wait_for_phase(node, name, Phase::Running)?;
        let network = network_of(node.process(&seconds(name))?)?;
        Ok(Idle { addresses: status.addresses.to_vec(), status, network })
    }

    /// Names of the node's ends of cables.
    fn cables(&self) -> Result<Vec<String>> {
        let links = self.network.run("ip", &["-o", "link"])?;
        let names = links.lines().filter_map(|line| line.split([' ', '@']).nth(1));
        let ours = names.filter(|name| name.starts_with("mote-"));
        Ok(ours.map(|name| name.trim_end_matches(':').to_owned()).collect())
    }
}

/// A pod that runs, in its network.
struct Idle {
    status: PodStatus,
    addresses: Vec<IpAddr>,
    network: File,
}

impl Idle {
    fn v4(&self) -> Result<IpAddr> {
        self.addresses.first().copied().context("an address")
    }
}

/// The command line that only this pod has.
fn seconds(name: &str) -> String {
    let number: u32 = name.bytes().map(u32::from).sum();
    format!("sleep 10{number}")
}

fn sleeper(name: &str) -> Manifest {
    let line = seconds(name);
    pod(name).container("main", BUSYBOX, &line.split(' ').collect::<Vec<_>>())
}

fn ensure_in_range(address: IpAddr) -> Result<()> {
    let text = address.to_string();
    ensure!(text.starts_with("10.188.") || text.starts_with("fd00:188::"), "{text}");
    Ok(())
}
