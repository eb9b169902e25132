//! `ConfigMap`s and Secrets: they run nothing, but what runs is given what they hold.

use std::collections::BTreeMap;
use std::rc::Rc;

use mote_protocol::name::ObjectKey;
use mote_protocol::object::Revision;
use mote_protocol::status::ObjectStatus;

use super::{Steward, ToPresence, World};
use crate::device::Device;
use crate::node::capacity;
use crate::pod::Moment;
use crate::pod::contents;
use crate::pod::machine::{Event, Machine};

impl<W: World> Steward<W> {
    pub(super) fn kept(&mut self, key: &ObjectKey, revision: Revision, ignored: Vec<String>) {
        self.books.refusals.remove(key);
        self.books.data.insert(key.clone(), revision);
        self.contents_changed(key);
        self.refresh(key);
        self.objects_changed();
        self.fields_ignored(key, ignored);
    }

    /// Pods keep what they were given of it.
    pub(super) fn dropped(&mut self, key: &ObjectKey) {
        self.books.refusals.remove(key);
        self.books.data.remove(key);
        self.serves_no_more(key);
        self.clear_status(key);
        self.objects_changed();
    }

    /// Tells every pod that refers to it.
    fn contents_changed(&mut self, key: &ObjectKey) {
        let now = self.now();
        let machines = self.books.reconciler.machines();
        let mut told = Vec::new();
        for (uid, machine) in machines {
            let pod = machine.pod();
            if contents::refers_to(pod, key) {
                told.push((*uid, Event::ContentsChanged));
            }
            if contents::opens_registries(pod, key) {
                told.push((*uid, Event::PullSecretsChanged));
            }
        }
        for (uid, event) in told {
            self.step(uid, event, now);
        }
    }

    /// Whoever waits for a device need not wait for its back-off any more.
    pub(super) fn device_freed(&mut self, now: Moment) {
        self.tell_who_asks_for_devices(now, || Event::DeviceFreed);
    }

    fn tell_who_asks_for_devices(&mut self, now: Moment, event: impl Fn() -> Event) {
        let machines = self.books.reconciler.machines();
        let asks = |machine: &Machine| {
            machine.pod().containers.iter().any(|container| !container.devices.is_empty())
        };
        let waiting = machines.filter(|(_, machine)| asks(machine));
        let waiting: Vec<_> = waiting.map(|(uid, _)| *uid).collect();
        for uid in waiting {
            self.step(uid, event(), now);
        }
    }

    /// Devices came or went: who has them is told, who waits for them starts.
    pub(super) fn devices_seen(&mut self, there: BTreeMap<String, Device>) {
        self.tell_presence(ToPresence::Devices(Box::new(capacity::devices(&there))));
        let there = Rc::new(there);
        self.tell_who_asks_for_devices(self.now(), || Event::DevicesSeen(Rc::clone(&there)));
        self.books.devices = Some(there);
    }

    /// What is to be said of one; none where nobody spoke of it.
    pub(super) fn data_status(&self, key: &ObjectKey) -> Option<ObjectStatus> {
        let accepted = self.books.data.get(key).copied();
        let refusal = self.books.refusals.get(key).cloned();
        let known = accepted.is_some() || refusal.is_some();
        let accepted = accepted.unwrap_or_default();
        let mut status = ObjectStatus { accepted, refusal, ..ObjectStatus::default() };
        if let Some(service) = self.service_status(key) {
            // What cannot be encoded is not told.
            status.set_service(&service);
        }
        known.then_some(status)
    }
}
