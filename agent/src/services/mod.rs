//! Services of this node: one address and its ports for those pods that a selector finds. PURE.
//!
//! ```text
//! store: what is asked, and what was assigned ---+
//!                                                +--> Table --> rules for packets, variables, names
//! reconciler: labels, addresses, who is ready ---+
//! ```
//! [`assign`] says which address and ports of the node a service has; the store keeps that beside the object.
//! [`table`] finds its pods. All services are about pods of this node alone.

mod assign;
mod endpoints;
mod variables;

use std::net::IpAddr;

use mote_protocol::name::{Kind, Namespace, ObjectKey, ObjectName};
use mote_protocol::object::{Service, ServiceType};

pub use assign::{Assigned, Taken, assign};
pub use endpoints::{Seen, table};
pub use variables::variables;

use crate::network::port::Transport;
use crate::network::service::Served;

/// A service that the node accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What is asked.
    pub service: Service,
    /// What it has of the node.
    pub assigned: Assigned,
}

/// All services of the node, in the order of namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Each once.
    pub services: Vec<Entry>,
    /// Whether pods are ready is known of all: an agent that has just come waits for what their probes say.
    pub settled: bool,
}

/// One service, and who serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name: one label.
    pub name: ObjectName,
    /// `type`.
    pub service_type: ServiceType,
    /// What the name stands for, of [`ServiceType::ExternalName`] alone.
    pub external_name: String,
    /// It has no address, and its name stands for those of its endpoints.
    pub headless: bool,
    /// Its own addresses, at most one of each family; none where it is headless, or another name.
    pub addresses: Vec<IpAddr>,
    /// Its ports, in the order of the object.
    pub ports: Vec<EntryPort>,
    /// For how many seconds after its last connection a client stays with a pod.
    pub affinity_s: Option<u32>,
    /// Its pods, in the order of their names.
    pub endpoints: Vec<Endpoint>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryPort {
    /// Its name; empty where it has none.
    pub name: String,
    /// What it carries.
    pub transport: Transport,
    /// Its number at the service's addresses.
    pub port: u16,
    /// The node's port that leads there as well; 0 where there is none.
    pub node_port: u16,
}

/// A pod that a service's selector finds, and that has addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod's name.
    pub pod: ObjectName,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What it is called below the service's name: a pod that has a `hostname`, and the service as its
    /// `subdomain`. Empty otherwise.
    pub hostname: String,
    /// Clients are led to it: it is ready, or the service wants those that are not.
    pub serves: bool,
    /// Where each port of the service leads, in their order; none where the pod has no port of that name.
    pub ports: Vec<Option<u16>>,
}

impl Table {
    /// What rules for packets are made of.
    pub fn served(&self) -> Vec<Served> {
        self.services.iter().flat_map(Entry::served).collect()
    }

    /// One service by its name.
    pub fn get(&self, namespace: &Namespace, name: &ObjectName) -> Option<&Entry> {
        let of = |entry: &Entry| (&entry.namespace, &entry.name).cmp(&(namespace, name));
        self.services.binary_search_by(of).ok().and_then(|place| self.services.get(place))
    }
}

impl Entry {
    /// The object's name.
    pub fn key(&self) -> ObjectKey {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        ObjectKey { kind: Kind::Service, namespace, name }
    }

    fn served(&self) -> impl Iterator<Item = Served> {
        let ports = self.ports.iter().enumerate().filter(|_| !self.addresses.is_empty());
        ports.map(|(place, port)| Served {
            name: format!("{}/{}", self.namespace, self.name),
            transport: port.transport,
            port: port.port,
            addresses: self.addresses.clone(),
            node_port: port.node_port,
            affinity_s: self.affinity_s,
            endpoints: self.behind(place).collect(),
        })
    }

    /// Addresses and ports that clients of one of its ports are led to.
    pub fn behind(&self, place: usize) -> impl Iterator<Item = (IpAddr, u16)> {
        let serving = self.endpoints.iter().filter(|endpoint| endpoint.serves);
        serving.flat_map(move |endpoint| {
            let port = endpoint.ports.get(place).copied().flatten();
            port.into_iter()
                .flat_map(|port| endpoint.addresses.iter().map(move |address| (*address, port)))
        })
    }
}

#[cfg(test)]
mod tests;
