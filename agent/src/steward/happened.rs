//! Events: recorded as the node's parts tell them, told to the broker, and kept on flash.

use std::io;

use mote_protocol::event::{Event, EventType};
use mote_protocol::name::{ObjectKey, Uid};
use mote_protocol::topic::Topic;
use tokio::sync::oneshot;

use super::{Steward, World};
use crate::events::{About, Report};
use crate::link::outbox::Class;
use crate::pod::Moment;
use crate::ports::Disk as _;
use crate::store::Order;

/// Events handed to the outbox at one time: the ring keeps the rest, in order and without copies.
const EVENTS_QUEUED: usize = 4;

impl<W: World> Steward<W> {
    pub(super) fn record(&mut self, report: Report) {
        let (boot, now) = (self.boot(), self.now());
        self.books.events.record(report, &boot, now);
    }

    pub(super) fn node_event(&mut self, reason: &'static str, message: String) {
        self.record(Report::node_warning(reason, message));
    }

    /// Records an event about an object.
    pub(super) fn object_event(
        &mut self,
        key: &ObjectKey,
        event_type: EventType,
        reason: String,
        message: String,
    ) {
        let uid = self.books.desired.get(key).map(|desired| desired.life.pod.name.uid);
        let name = (key.namespace.to_string(), key.name.to_string());
        let about = About::Object { kind: key.kind, name: name.into(), uid, field: "".into() };
        self.record(Report { event_type, about, reason: reason.into(), message });
    }

    /// All events, or those about one object, oldest first.
    pub(super) fn events_about(&self, uid: Option<Uid>) -> Vec<Event> {
        self.books.events.about(uid, &self.boot(), self.now())
    }

    /// Hands untold events to the outbox, as far as their rate allows.
    pub(super) fn queue_events(&mut self, now: Moment) {
        while self.books.session.is_some() && self.books.outbox.queued(Class::Event) < EVENTS_QUEUED
        {
            let boot = self.boot();
            let Some(event) = self.books.events.next_untold(&boot, now) else { return };
            self.queue(Class::Event, Topic::Event, &event, Some(event.sequence));
        }
    }

    /// Has written what flash lacks, where it is time.
    pub(super) fn keep_events(&mut self, now: Moment) {
        if self.books.events.next_write().is_some_and(|at| at <= now) {
            self.write_events(None);
        }
    }

    /// Has written whatever flash lacks: the agent ends.
    pub(super) fn keep_events_at_last(&mut self, answer: oneshot::Sender<()>) {
        if self.books.events.is_kept() {
            let _ = answer.send(());
        } else if self.books.events.is_being_written() {
            // What that write brings need not be written twice.
            self.books.at_last = Some(answer);
        } else {
            self.write_events(Some(answer));
        }
    }

    /// The events were written, or not.
    pub(super) fn events_kept(&mut self, result: io::Result<()>) {
        let now = self.now();
        self.storage(result.is_err());
        self.books.events.kept(result.is_ok(), now);
        if let Err(error) = result {
            self.node_event("StorageErrors", format!("write the events: {error}"));
        }
        if let Some(answer) = self.books.at_last.take() {
            self.keep_events_at_last(answer);
        }
    }

    /// Says that the card is full, and when it is no more.
    pub(super) fn look_at_reserve(&mut self) {
        let short = self.edges.disk.is_short();
        if std::mem::replace(&mut self.books.storage_short, short) == short {
            return;
        }
        if short {
            let message = "the disk is full: the agent writes to what it reserved for itself";
            self.node_event("DiskFull", message.to_owned());
        } else {
            let message = "the disk has room again, and the agent its reserve";
            self.record(Report::node_normal("DiskHasRoom", message.to_owned()));
        }
    }

    fn write_events(&mut self, answer: Option<oneshot::Sender<()>>) {
        let (boot, now) = (self.boot(), self.now());
        let log = self.books.events.to_keep(&boot, now);
        self.order(Order::KeepEvents { log, answer });
    }
}
