//! Ports of the node that a pod has for itself, and where they lead.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mote_protocol::object::Pod;
use mote_protocol::pod::{Container, ContainerPort, PodSpec, PortProtocol};

pub use crate::network::port::{HostPort, PortMap, Transport};

/// What a port carries; SCTP is none of what nodes lead.
pub(crate) const fn transport(protocol: PortProtocol) -> Option<Transport> {
    match protocol {
        PortProtocol::Tcp => Some(Transport::Tcp),
        PortProtocol::Udp => Some(Transport::Udp),
        PortProtocol::Sctp => None,
    }
}

/// The containers that serve as long as the pod runs.
fn serving(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let sidecars = spec.init_containers.iter().filter(|container| container.restart_always);
    sidecars.chain(&spec.containers)
}

fn host_port(port: &ContainerPort, number: u16) -> Option<HostPort> {
    let transport = transport(port.protocol)?;
    // What is no address was refused; these mean all of them.
    let address = port.host_ip.parse().ok().filter(|address: &IpAddr| !address.is_unspecified());
    (number != 0).then_some(HostPort { address, port: number, transport })
}

/// What services find a pod by, and where they lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `hostname`, where it says one.
    pub hostname: String,
    /// `subdomain`.
    pub subdomain: String,
    /// Ports that have a name: it, what they carry, their number.
    pub ports: Vec<(String, Transport, u16)>,
}

/// What services find a pod by; none where none can, for want of labels.
pub fn exposed(asked: &Pod) -> Option<Box<Exposed>> {
    let named = |port: &ContainerPort| {
        let transport = transport(port.protocol).filter(|_| !port.name.is_empty())?;
        Some((port.name.clone(), transport, port.container_port))
    };
    let spec = &asked.spec;
    let exposed = || Exposed {
        labels: asked.meta.labels.clone(),
        hostname: spec.network.hostname.clone(),
        subdomain: spec.network.subdomain.clone(),
        ports: serving(spec).flat_map(|container| &container.ports).filter_map(named).collect(),
    };
    (!asked.meta.labels.is_empty()).then(|| Box::new(exposed()))
}

/// Ports of the node that lead to a pod with a network of its own.
pub fn maps(spec: &PodSpec) -> Vec<PortMap> {
    if spec.network.host_network {
        return Vec::new();
    }
    let all = serving(spec).flat_map(|container| &container.ports);
    let map = |port: &ContainerPort| {
        Some(PortMap { host: host_port(port, port.host_port)?, port: port.container_port })
    };
    all.filter_map(map).collect()
}

/// Ports of the node that nobody else can have beside this pod. In the node's network all that it says
/// are.
pub fn claimed(spec: &PodSpec) -> Vec<HostPort> {
    if !spec.network.host_network {
        return maps(spec).into_iter().map(|map| map.host).collect();
    }
    let all = serving(spec).flat_map(|container| &container.ports);
    all.filter_map(|port| host_port(port, port.container_port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::pod::PodNetwork;

    fn port(host_ip: &str, host_port: u16, container_port: u16, udp: bool) -> ContainerPort {
        let protocol = if udp { PortProtocol::Udp } else { PortProtocol::Tcp };
        let host_ip = host_ip.to_owned();
        ContainerPort { name: String::new(), container_port, host_port, host_ip, protocol }
    }

    fn spec(ports: Vec<ContainerPort>, host_network: bool) -> PodSpec {
        PodSpec {
            containers: vec![Container { ports, ..Container::default() }],
            network: PodNetwork { host_network, ..PodNetwork::default() },
            ..PodSpec::default()
        }
    }

    #[test]
    fn ports_of_the_node_are_those_that_are_asked_for() {
        let ports =
            vec![port("", 80, 8080, false), port("127.0.0.1", 53, 53, true), port("", 0, 9, false)];
        let shown =
            |spec: &PodSpec| claimed(spec).iter().map(ToString::to_string).collect::<Vec<_>>();
        let own = spec(ports.clone(), false);
        assert_eq!(shown(&own), ["TCP 80", "UDP 127.0.0.1:53"]);
        assert_eq!(maps(&own).iter().map(|map| map.port).collect::<Vec<_>>(), [8080, 53]);
        let host = spec(ports, true);
        assert_eq!(shown(&host), ["TCP 8080", "UDP 127.0.0.1:53", "TCP 9"]);
        assert!(maps(&host).is_empty());
    }

    #[test]
    fn an_init_container_that_ends_has_none_and_a_sidecar_has_some() {
        let mut asked = spec(Vec::new(), false);
        let init = |restart_always| Container {
            ports: vec![port("0.0.0.0", 80, 80, false)],
            restart_always,
            ..Container::default()
        };
        asked.init_containers = vec![init(false)];
        assert!(claimed(&asked).is_empty());
        asked.init_containers = vec![init(true)];
        assert_eq!(claimed(&asked)[0].address, None);
    }

    #[test]
    fn conflicts_are_those_of_kubernetes() {
        let of = |ip: &str, number, udp| claimed(&spec(vec![port(ip, number, 1, udp)], false))[0];
        let all = of("", 80, false);
        assert!(
            all.conflicts(&of("0.0.0.0", 80, false)) && all.conflicts(&of("10.0.0.1", 80, false))
        );
        assert!(!all.conflicts(&of("", 81, false)) && !all.conflicts(&of("", 80, true)));
        let one = of("10.0.0.1", 80, false);
        assert!(one.conflicts(&one) && !one.conflicts(&of("10.0.0.2", 80, false)));
    }
}
