//! What of a pod needs addresses, and ports of the node.

use std::net::IpAddr;

use mote_protocol::pod::{ContainerPort, EnvValue, PodSpec};

use super::{Check, PodAddresses, containers};
use crate::pod::fault::Fault;
use crate::pod::ports;

const NO_ADDRESSES: &str = "pods have no addresses on this node (`network.pod_cidr` is `none`)";
const NO_IPV6: &str = "pods have no IPv6 addresses on this node (`network.pod_cidr_v6` is not set)";

/// Notes what is wrong, and what a node whose pods have no such addresses cannot do.
pub(super) fn check(check: &mut Check, spec: &PodSpec, addresses: PodAddresses) {
    let host_network = spec.network.host_network;
    let without = addresses == PodAddresses::None && !host_network;
    for (path, container) in containers(spec) {
        for (place, variable) in container.env.iter().enumerate() {
            let EnvValue::Field(field) = &variable.value else { continue };
            if without && matches!(field.as_str(), "status.podIP" | "status.podIPs") {
                let field = format!("{path}.env[{place}].valueFrom.fieldRef.fieldPath");
                check.faults.push(unsupported(field, NO_ADDRESSES));
            }
        }
        for (place, port) in container.ports.iter().enumerate().filter(|(_, p)| p.host_port != 0) {
            let path = format!("{path}.ports[{place}]");
            check_host_port(check, &path, port, host_network);
            if without {
                check.faults.push(unsupported(format!("{path}.hostPort"), NO_ADDRESSES));
            } else if !host_network && is_v6(&port.host_ip) && addresses == PodAddresses::V4 {
                check.faults.push(unsupported(format!("{path}.hostIP"), NO_IPV6));
            }
        }
    }
    let claimed = ports::claimed(spec);
    let twice = claimed
        .iter()
        .enumerate()
        .find(|(at, port)| claimed.iter().take(*at).any(|before| before.conflicts(port)));
    if let Some((_, port)) = twice.filter(|_| !host_network) {
        let rule = format!("{port} stands there twice");
        check.require(false, "spec.containers[*].ports[*].hostPort", rule);
    }
}

fn check_host_port(check: &mut Check, path: &str, port: &ContainerPort, host_network: bool) {
    let same = !host_network || port.host_port == port.container_port;
    let rule = "must match `containerPort` when `hostNetwork` is true";
    check.require(same, format!("{path}.hostPort"), rule);
    let rule = "must be between 1 and 65535, inclusive";
    check.require(port.container_port != 0, format!("{path}.containerPort"), rule);
    let address = port.host_ip.is_empty() || port.host_ip.parse::<IpAddr>().is_ok();
    check.require(address, format!("{path}.hostIP"), "must be a valid IP address");
}

fn is_v6(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6())
}

fn unsupported(field: String, message: &str) -> Fault {
    Fault { reason: "Unsupported", field, message: message.to_owned() }
}
