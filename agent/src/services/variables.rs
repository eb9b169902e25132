//! Variables by which containers learn of the services that are there when they start, as in Kubernetes.

use std::net::IpAddr;

use mote_protocol::name::Namespace;

use super::{Entry, EntryPort, Table};

/// Names and values for a container in a namespace: of each service with an address, its host and ports, and the
/// same as docker's links had it.
pub fn variables(table: &Table, namespace: &Namespace) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for entry in table.services.iter().filter(|entry| entry.namespace == *namespace) {
        if let Some(address) = entry.addresses.first() {
            of_service(entry, *address, &mut variables);
        }
    }
    variables
}

fn of_service(entry: &Entry, address: IpAddr, variables: &mut Vec<(String, String)>) {
    let prefix = variable_name(entry.name.as_str());
    let mut set = |name: String, value: String| variables.push((name, value));
    set(format!("{prefix}_SERVICE_HOST"), address.to_string());
    let Some(first) = entry.ports.first() else { return };
    set(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in entry.ports.iter().filter(|port| !port.name.is_empty()) {
        let name = variable_name(&port.name);
        set(format!("{prefix}_SERVICE_PORT_{name}"), port.port.to_string());
    }
    set(format!("{prefix}_PORT"), link(first, address));
    for port in &entry.ports {
        let link_prefix =
            format!("{prefix}_PORT_{}_{}", port.port, port.transport.word().to_uppercase());
        set(format!("{link_prefix}_PROTO"), port.transport.word().to_owned());
        set(format!("{link_prefix}_PORT"), port.port.to_string());
        set(format!("{link_prefix}_ADDR"), address.to_string());
        set(link_prefix, link(port, address));
    }
}

fn link(port: &EntryPort, address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{}://{address}:{}", port.transport.word(), port.port),
        IpAddr::V6(address) => format!("{}://[{address}]:{}", port.transport.word(), port.port),
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}
