//! Services: who serves is found anew when a service or a pod changed, and told to those who make rules
//! and names of it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mote_protocol::limits::MAX_TOLD_ENDPOINTS;
use mote_protocol::name::{Kind, ObjectKey};
use mote_protocol::object::Revision;
use mote_protocol::status::{EndpointStatus, Phase, PodCondition, ServiceStatus};

use super::{Steward, World};
use crate::pod::Moment;
use crate::pod::machine::Stage;
use crate::services::{self, Accepted, Entry, Seen, Table};

/// How long an agent that finds pods running waits for what their probes say, before who is not known to be
/// ready serves no more.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the steward knows of services.
#[derive(Debug)]
pub(super) struct Services {
    accepted: BTreeMap<ObjectKey, Accepted>,
    /// Something changed since the table was made.
    stale: bool,
    /// Until then pods that ran before this agent may be ready though nobody said so yet.
    unsure_until: Option<Moment>,
}

impl Services {
    pub(super) const fn new(accepted: BTreeMap<ObjectKey, Accepted>) -> Self {
        Self { accepted, stale: true, unsure_until: None }
    }

    /// When the table is to be looked at, where nothing happens before.
    pub(super) const fn deadline(&self) -> Option<Moment> {
        self.unsure_until
    }
}

impl<W: World> Steward<W> {
    pub(super) fn serves(
        &mut self,
        key: &ObjectKey,
        revision: Revision,
        service: Accepted,
        ignored: Vec<String>,
    ) {
        self.books.services.accepted.insert(key.clone(), service);
        self.services_changed();
        self.kept(key, revision, ignored);
    }

    pub(super) fn serves_no_more(&mut self, key: &ObjectKey) {
        if self.books.services.accepted.remove(key).is_some() {
            self.services_changed();
        }
    }

    /// Who serves may be others now.
    pub(super) const fn services_changed(&mut self) {
        self.books.services.stale = true;
    }

    /// Pods of an earlier agent were found: that they were ready is not forgotten before their probes spoke.
    pub(super) fn pods_found(&mut self) {
        self.books.services.unsure_until = Some(self.now().after(PATIENCE));
    }

    /// Finds out who serves, where that may be others than before, and tells it.
    pub(super) fn look_at_services(&mut self) {
        let over = self.books.services.unsure_until.is_some_and(|until| until <= self.now());
        if !self.books.looked || !(self.books.services.stale || over) {
            return;
        }
        self.books.services.stale = false;
        let table = if self.books.services.accepted.is_empty() {
            self.books.services.unsure_until = None;
            Table { services: Vec::new(), settled: true }
        } else {
            self.service_table(over)
        };
        let before = Arc::clone(&self.channels.services.borrow());
        if *before == table {
            return;
        }
        let is_new = |entry: &&Entry| before.get(&entry.namespace, &entry.name) != Some(*entry);
        let changed = table.services.iter().filter(is_new);
        let changed: Vec<ObjectKey> = changed.map(Entry::key).collect();
        self.channels.services.send_replace(Arc::new(table));
        for key in changed {
            self.refresh(&key);
        }
    }

    fn service_table(&mut self, over: bool) -> Table {
        let mut unsure = BTreeSet::new();
        let mut pods = Vec::new();
        // Whoever is in the node's network has what all of them have.
        let own = OnceCell::new();
        for (key, desired) in &self.books.desired {
            let Some(machine) = self.machine(key) else { continue };
            let is_over = matches!(machine.phase(), Phase::Succeeded | Phase::Failed);
            if is_over || machine.pod().exposed.is_none() {
                continue;
            }
            let (ready, _) = machine.transitions().get(PodCondition::Ready);
            let stays = machine.stage() == Stage::Active && desired.life.grace_s.is_none();
            if stays && !ready {
                unsure.insert((&key.namespace, &key.name));
            }
            let addresses = if machine.pod().host.network {
                own.get_or_init(|| (self.identity.addresses)()).clone()
            } else {
                machine.addresses().to_vec()
            };
            pods.push(Seen { pod: machine.pod(), addresses, ready: ready && stays });
        }
        let mut table = services::table(&self.books.services.accepted, &pods);
        let may_be_ready = table.services.iter().any(|entry| {
            let pods = entry.endpoints.iter().map(|endpoint| (&entry.namespace, &endpoint.pod));
            pods.into_iter().any(|pod| unsure.contains(&pod))
        });
        drop(pods);
        if over || !may_be_ready {
            self.books.services.unsure_until = None;
        }
        table.settled = self.books.services.unsure_until.is_none();
        table
    }

    /// What is told of a service beside what is told of all objects; none of what is no service.
    pub(super) fn service_status(&self, key: &ObjectKey) -> Option<ServiceStatus> {
        if key.kind != Kind::Service {
            return None;
        }
        let assigned = &self.books.services.accepted.get(key)?.assigned;
        let table = self.channels.services.borrow();
        let entry = table.get(&key.namespace, &key.name);
        let endpoints = entry.map(|entry| entry.endpoints.as_slice()).unwrap_or_default();
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let told = endpoints.iter().take(MAX_TOLD_ENDPOINTS).map(|endpoint| EndpointStatus {
            pod: endpoint.pod.to_string(),
            addresses: endpoint.addresses.clone(),
            serves: endpoint.serves,
            ports: endpoint.ports.iter().map(|port| port.unwrap_or(0)).collect(),
        });
        Some(ServiceStatus {
            addresses: assigned.addresses.clone(),
            node_ports: assigned.node_ports.iter().map(|(_, port, node)| (*port, *node)).collect(),
            serving: count(endpoints.iter().filter(|endpoint| endpoint.serves).count()),
            found: count(endpoints.len()),
            endpoints: told.collect(),
        })
    }
}
