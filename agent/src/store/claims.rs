//! What pods have of the node for themselves: room on its disk, and its ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mote_protocol::name::ObjectKey;
use mote_protocol::pod::PodSpec;

use super::{Entry, Store};
use crate::pod::ports::{self, HostPort};
use crate::pod::resources;
use crate::services::{Assigned, Taken};
use crate::world::World;

/// What a pod has for itself, as long as it is not over.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// Bytes of the disk that it asks for.
    storage: u64,
    /// Ports of the node.
    ports: Box<[HostPort]>,
    /// Addresses, of a service.
    addresses: Box<[IpAddr]>,
}

impl Claims {
    /// Of a pod that is not over.
    pub(super) fn of(spec: &PodSpec) -> Self {
        let ports = ports::claimed(spec).into();
        Self { storage: resources::storage_request(spec), ports, addresses: Box::default() }
    }

    /// Of a service.
    pub(super) fn of_service(assigned: &Assigned) -> Self {
        let addresses = assigned.addresses.clone().into();
        Self { storage: 0, ports: assigned.claimed().into(), addresses }
    }
}

/// Why a pod does not fit beside others.
pub(super) struct Crowded {
    /// One word, as in Kubernetes.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What all but one of these have of what services may have.
pub(super) fn taken(entries: &BTreeMap<ObjectKey, Entry>, key: &ObjectKey) -> Taken {
    let others = || entries.iter().filter(|(other, _)| *other != key).map(|(_, entry)| entry);
    let addresses = others().flat_map(|entry| &entry.claims.addresses).copied().collect();
    // Who ends has its ports for a moment still, and may not come back to them.
    let here = others().filter(|entry| !entry.held.deleting);
    Taken { addresses, ports: here.flat_map(|entry| &entry.claims.ports).copied().collect() }
}

impl<W: World> Store<W> {
    /// Why a pod that asks for so much is not taken, where it is not. What others of the node have counts,
    /// and not the life that it replaces: that ends before.
    pub(super) fn crowded(&self, key: &ObjectKey, wanted: &Claims) -> Option<Crowded> {
        let others = || self.entries.iter().filter(|(other, _)| *other != key);
        self.lacks_storage(others(), wanted.storage)
            .map(|message| Crowded { reason: "OutOfephemeral-storage", message })
            // Who ends has its ports for a moment still. Who was refused would not be tried again.
            .or_else(|| {
                lacks_ports(others().filter(|(_, other)| !other.held.deleting), &wanted.ports)
            })
    }

    fn lacks_storage<'a>(
        &self,
        others: impl Iterator<Item = (&'a ObjectKey, &'a Entry)>,
        requested: u64,
    ) -> Option<String> {
        let capacity = self.policy.storage?;
        let used = others.fold(0_u64, |sum, (_, entry)| sum.saturating_add(entry.claims.storage));
        let fits = requested == 0 || used.saturating_add(requested) <= capacity;
        (!fits).then(|| {
            format!(
                "Node didn't have enough resource: ephemeral-storage, requested: {requested}, \
                 used: {used}, capacity: {capacity}"
            )
        })
    }
}

fn lacks_ports<'a>(
    mut others: impl Iterator<Item = (&'a ObjectKey, &'a Entry)>,
    wanted: &[HostPort],
) -> Option<Crowded> {
    let taken = |entry: &Entry| {
        let conflicts =
            |wanted: &&HostPort| entry.claims.ports.iter().any(|has| has.conflicts(wanted));
        wanted.iter().find(conflicts).copied()
    };
    let (key, port) = others.find_map(|(key, entry)| Some((key, taken(entry)?)))?;
    let message = format!(
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports: \
         {key} has {port}"
    );
    Some(Crowded { reason: "NodePorts", message })
}
