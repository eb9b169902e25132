//! Services: kept like other objects, and beside each what it has of the node, so that it has the same
//! after a restart, whoever else came or went.

use std::collections::BTreeMap;
use std::io;

use mote_protocol::name::{Kind, ObjectKey};
use mote_protocol::object::{Intent, Object, Service};

use super::admission::refuse;
use super::claims::{Claims, taken};
use super::data::{Heir, ignored, malformed, nothing};
use super::seal::seal;
use super::source::Source;
use super::stored::{Stored, StoredLife};
use super::{Admission, Entry, Store, spec_file};
use crate::pod::fault::Fault;
use crate::ports::Disk;
use crate::services::{Accepted, Assigned, assign};
use crate::world::World;

/// Beside the object: what it has of the node.
const ASSIGNED: &str = "assigned";

impl Stored {
    fn assigned(&self) -> Assigned {
        self.extensions.read(ASSIGNED).unwrap_or_default()
    }

    fn assign(&mut self, assigned: &Assigned) -> io::Result<()> {
        let bytes = postcard::to_allocvec(assigned).map_err(io::Error::other)?;
        self.extensions.set(ASSIGNED, Some(bytes));
        Ok(())
    }
}

impl<W: World> Store<W> {
    /// Takes in a service that won.
    pub(super) async fn keep_service(
        &mut self,
        scope: &Source,
        key: &ObjectKey,
        object: &Object,
        payload: &[u8],
    ) -> io::Result<Admission> {
        let seen = object.revision;
        let refused = |fault: &Fault| Ok(refuse(seen, fault.reason, &fault.field, &fault.message));
        let (service, ignored) = match check(key, &object.intent) {
            Ok(checked) => checked,
            Err(fault) => return refused(&fault),
        };
        let Heir { before, uid, accepted_unix_ms, .. } = self.heir(key, object).await;
        let had = before.as_ref().map(Stored::assigned).unwrap_or_default();
        let others = taken(&self.entries, key);
        let assigned = match assign(key, &service, &had, self.policy.services, &others) {
            Ok(assigned) => assigned,
            Err(fault) => return refused(&fault),
        };
        let (scope_text, frame) = (scope.to_string(), payload.to_vec());
        let current = StoredLife { uid, accepted_unix_ms, scope: scope_text, frame, ending: None };
        let mut stored = Stored::new(current, None);
        stored.assign(&assigned)?;
        self.write(scope, key, seen, before, stored).await?;
        if let Some(entry) = self.entries.get_mut(key) {
            entry.claims = Claims::of_service(&assigned);
        }
        let service = Box::new(Accepted { service, assigned });
        Ok(Admission::Serves { revision: seen, service, ignored })
    }

    /// The services among what was found on flash, with what each has. Those whose range is another now
    /// get another address, after all who keep theirs.
    pub(super) async fn services(
        &mut self,
        found: Vec<(ObjectKey, Stored)>,
    ) -> BTreeMap<ObjectKey, Accepted> {
        let (mut services, mut others) = (BTreeMap::new(), Vec::new());
        for (key, stored) in found {
            if !self.entries.contains_key(&key) {
                // Its tombstone was known already.
                continue;
            }
            let Ok(service) = read(&key, &stored.current) else { continue };
            let had = stored.assigned();
            let found =
                assign(&key, &service, &had, self.policy.services, &taken(&self.entries, &key));
            if found.is_ok_and(|found| found == had) {
                self.claim(&key, &had);
                services.insert(key, Accepted { service, assigned: had });
            } else {
                others.push((key, service, stored));
            }
        }
        for (key, service, stored) in others {
            let others = taken(&self.entries, &key);
            let found = assign(&key, &service, &stored.assigned(), self.policy.services, &others);
            if let Ok(assigned) = &found {
                self.claim(&key, assigned);
                self.reassign(&key, stored, assigned).await;
            }
            // It was accepted: without an address it waits for a node that has some again, and flash goes on to
            // say what it had.
            let assigned = found.unwrap_or_default();
            services.insert(key, Accepted { service, assigned });
        }
        services
    }

    /// Writes what a service has from now on. Where flash does not take it, the next start finds the same, as
    /// long as nobody else comes.
    async fn reassign(&self, key: &ObjectKey, mut stored: Stored, assigned: &Assigned) {
        if stored.assign(assigned).is_ok()
            && let Ok(file) = seal(&stored)
        {
            let _ = self.edges.disk.write(&spec_file(key), &file).await;
        }
    }

    fn claim(&mut self, key: &ObjectKey, assigned: &Assigned) {
        if let Some(Entry { claims, .. }) = self.entries.get_mut(key) {
            *claims = Claims::of_service(assigned);
        }
    }
}

/// The service that a file asks for.
pub(super) fn read(key: &ObjectKey, life: &StoredLife) -> Result<Service, String> {
    let object = super::data::object(key, life, None)?;
    check(key, &object.intent).map(|(service, _)| service).map_err(|fault| fault.message)
}

/// A service that can be used, and what of it is ignored.
pub(super) fn check(key: &ObjectKey, intent: &Intent) -> Result<(Service, Vec<String>), Fault> {
    debug_assert_eq!(key.kind, Kind::Service);
    let Intent::Apply { schema, body } = intent else {
        return Err(nothing());
    };
    let service = Service::decode(*schema, body).map_err(|error| malformed(&error))?;
    if let Some(message) = mote_protocol::object::service_name_fault(&key.name) {
        return Err(Fault::invalid("metadata.name", message));
    }
    if let Some(fault) = service.faults().into_iter().next() {
        return Err(Fault::invalid(fault.path, fault.problem.to_string()));
    }
    let ignored = ignored(&service.extensions)?;
    Ok((service, ignored))
}
