//! What pods have of the node for themselves: what they ask for, and its ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mote_protocol::name::{ObjectKey, Uid};
use mote_protocol::pod::PodSpec;

use super::{Entry, Store};
use crate::pod::ports::{self, HostPort};
use crate::pod::qos::{self, QosClass};
use crate::pod::room::{self, Lacking, Room, Weaker};
use crate::services::{Assigned, Taken};
use crate::world::World;

/// What a pod has for itself, as long as it is not over.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// What it asks for of what the node has.
    room: Room,
    /// It is on its way out for a critical one, and has its room until it has ended.
    pub(super) gives_way: bool,
    /// How soon it gives way to others.
    priority: i32,
    class: QosClass,
    /// Ports of the node.
    ports: Box<[HostPort]>,
    /// Addresses, of a service.
    addresses: Box<[IpAddr]>,
}

impl Claims {
    /// Of a pod that is not over.
    pub(super) fn of(spec: &PodSpec) -> Self {
        Self {
            room: Room::of(spec),
            gives_way: false,
            priority: qos::priority(spec),
            class: qos::class_of(spec),
            ports: ports::claimed(spec).into(),
            addresses: Box::default(),
        }
    }

    /// Of a service.
    pub(super) fn of_service(assigned: &Assigned) -> Self {
        let addresses = assigned.addresses.clone().into();
        Self { ports: assigned.claimed().into(), addresses, ..Self::default() }
    }
}

/// Why a pod does not fit beside others.
pub(super) struct Crowded {
    /// One word, as in Kubernetes.
    pub(super) reason: String,
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
    /// Whether a pod that asks for so much fits, and who gives way for that; why it does not. What others of
    /// the node have counts, and not the life that it replaces: that ends before. One that is critical takes
    /// what others have that are not, but for their ports.
    pub(super) fn fit(
        &self,
        key: &ObjectKey,
        wanted: &Claims,
        critical: bool,
    ) -> Result<Vec<(ObjectKey, Uid)>, Crowded> {
        let others = || self.entries.iter().filter(|(other, _)| *other != key);
        // Who ends has its ports for a moment still. Who was refused would not be tried again.
        let ports = lacks_ports(others().filter(|(_, other)| !other.held.deleting), &wanted.ports);
        // A critical one waits for nobody who is on the way out.
        let counts = |(_, entry): &(&ObjectKey, &Entry)| {
            !critical || !entry.claims.gives_way && !entry.held.deleting
        };
        let used = others().filter(counts);
        let used = used.fold(Room::default(), |sum, (_, entry)| sum.and(entry.claims.room));
        let lacking = room::lacking(self.policy.room, used, wanted.room);
        let crowded = |lacking: &Lacking| Crowded {
            reason: format!("OutOf{}", lacking.resource),
            message: lacking.to_string(),
        };
        match (lacking, ports) {
            (None, None) => Ok(Vec::new()),
            (Some(lacking), None) if critical => {
                let weaker: Vec<_> = others().filter_map(weaker).collect();
                room::victims(&lacking, &weaker).ok_or_else(|| crowded(&lacking))
            }
            (Some(lacking), _) => Err(crowded(&lacking)),
            (None, Some(crowded)) => Err(crowded),
        }
    }
}

impl<W: World> Store<W> {
    /// Nothing is left of what was deleted.
    pub(super) fn ended(&mut self, key: &ObjectKey) {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.held.deleting) {
            entry.claims = Claims::default();
        }
    }
}

/// One that gives way to critical ones. What it replaces, or what ends, has its room as long as it has it.
fn weaker((key, entry): (&ObjectKey, &Entry)) -> Option<Weaker<(ObjectKey, Uid)>> {
    let Entry { held, previous, claims } = entry;
    let critical = held.scope.makes_critical(claims.priority);
    let goes = held.deleting || claims.gives_way;
    let there = claims.room != Room::default() && !goes && !previous;
    let (who, class, room) = ((key.clone(), held.uid), claims.class, claims.room);
    (there && !critical).then_some(Weaker { who, class, room })
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
    Some(Crowded { reason: "NodePorts".to_owned(), message })
}
