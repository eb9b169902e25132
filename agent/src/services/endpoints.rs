//! Which pods a service leads to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mote_protocol::name::ObjectKey;
use mote_protocol::object::{Service, ServicePort, ServiceType};
use mote_protocol::pod::Port;

use super::{Accepted, Endpoint, Entry, EntryPort, Table};
use crate::network::port::Transport;
use crate::pod::Pod;
use crate::pod::ports::{Exposed, transport};

/// A pod that runs, as far as services ask.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// What was asked of it.
    pub pod: &'a Pod,
    /// Its addresses; the node's, for one in the node's network.
    pub addresses: Vec<IpAddr>,
    /// It is ready, and not to end.
    pub ready: bool,
}

/// The services of a node and who serves, of these pods. Those that are over, or have no address yet, are
/// none of anybody's.
pub fn table<'a>(
    services: impl IntoIterator<Item = (&'a ObjectKey, &'a Accepted)>,
    pods: &[Seen<'_>],
) -> Table {
    let entry = |(key, accepted)| entry(key, accepted, pods);
    Table { services: services.into_iter().map(entry).collect(), settled: true }
}

fn entry(key: &ObjectKey, accepted: &Accepted, pods: &[Seen<'_>]) -> Entry {
    let Accepted { service, assigned } = accepted;
    let port = |asked: &ServicePort| {
        let transport = transport(asked.protocol)?;
        let node_port = assigned.node_port(transport, asked.port);
        Some(EntryPort { name: asked.name.clone(), transport, port: asked.port, node_port })
    };
    let found = pods.iter().filter(|seen| finds(service, key, seen));
    let mut endpoints: Vec<_> = found.map(|seen| endpoint(service, key, seen)).collect();
    endpoints.sort_by(|one, other| one.pod.cmp(&other.pod));
    Entry {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        service_type: service.service_type,
        external_name: service.external_name.clone(),
        headless: service.headless,
        addresses: assigned.addresses.clone(),
        ports: service.ports.iter().filter_map(port).collect(),
        affinity_s: service.affinity_s,
        endpoints,
    }
}

fn finds(service: &Service, key: &ObjectKey, seen: &Seen<'_>) -> bool {
    let labels = seen.pod.exposed.as_ref().map(|exposed| &exposed.labels);
    // Without a selector somebody else says who serves, and here nobody can.
    let asks = !service.selector.is_empty() && service.service_type != ServiceType::ExternalName;
    let has = |labels: &BTreeMap<String, String>| {
        service.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    asks && seen.pod.name.namespace == key.namespace
        && !seen.addresses.is_empty()
        && labels.is_some_and(has)
}

fn endpoint(service: &Service, key: &ObjectKey, seen: &Seen<'_>) -> Endpoint {
    let exposed = seen.pod.exposed.as_deref();
    let target = |asked: &ServicePort| match asked.target() {
        Port::Number(number) => Some(number),
        Port::Name(name) => named(exposed?, transport(asked.protocol)?, &name),
    };
    let below = exposed.filter(|exposed| exposed.subdomain == key.name.as_str());
    Endpoint {
        pod: seen.pod.name.name.clone(),
        addresses: seen.addresses.clone(),
        hostname: below.map(|exposed| exposed.hostname.clone()).unwrap_or_default(),
        serves: seen.ready || service.publish_not_ready,
        ports: service.ports.iter().map(target).collect(),
    }
}

fn named(exposed: &Exposed, transport: Transport, name: &str) -> Option<u16> {
    let same = |port: &&(String, Transport, u16)| (port.1, port.0.as_str()) == (transport, name);
    exposed.ports.iter().find(same).map(|port| port.2)
}
