//! What is still owed to the broker.
//!
//! Holds the latest message per retained topic, not a history: a status that nobody received is
//! replaced by its successor, so a week offline costs no more memory than a minute. Messages that
//! are not retained (events, replies) queue up to a bound. Pure: whoever owns the link asks
//! [`Outbox::take_next`] and tells what became of it.
//!
//! ```text
//!            owe                 next               delivered
//!   nothing -----> owed -----------------> flying ------------> nothing
//!                   ^                        | connection lost
//!                   +------------------------+          denied: kept until the next connection
//! ```
//! So are events that the broker denies for what they are (no leave, over its quota), and all
//! behind them, in their order: what happened is told once somebody mended that.

use std::collections::{BTreeMap, VecDeque};

use super::{Delivery, Publication, Settlement, Ticket};

/// How urgent a message is; the most urgent first, and in order of owing within a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Birth, node status, heartbeat: without them nobody believes the rest.
    Presence,
    /// An answer that somebody waits for.
    Reply,
    /// The status of an object.
    Status,
    /// An event.
    Event,
    /// What is used: of all that is told of itself the least needed, and worth nothing later.
    Usage,
    /// Part of a stream.
    Stream,
}

/// A message without its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The frame; empty clears a retained topic.
    pub payload: Vec<u8>,
    /// The broker keeps it.
    pub retain: bool,
    /// How sure it must be.
    pub delivery: Delivery,
}

impl Message {
    /// A message that the broker keeps, and that must arrive.
    pub const fn retained(payload: Vec<u8>) -> Self {
        Self { payload, retain: true, delivery: Delivery::AtLeastOnce }
    }
}

/// What became of something that was owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The broker has it.
    Delivered {
        /// The topic.
        topic: String,
        /// It was empty: the topic is clear, and nothing newer is owed on it.
        cleared: bool,
    },
    /// The broker will not have it; it is tried again with the next connection.
    Denied {
        /// Its class.
        class: Class,
        /// The topic.
        topic: String,
        /// The MQTT 5 reason code.
        code: u8,
        /// It was empty.
        cleared: bool,
    },
    /// The broker has what was queued.
    Sent {
        /// The topic.
        topic: String,
        /// What whoever queued it calls it.
        mark: Option<u32>,
    },
    /// The broker will not have what was queued, and it is not tried again.
    Dropped {
        /// Its class.
        class: Class,
        /// The topic.
        topic: String,
        /// The MQTT 5 reason code.
        code: u8,
        /// What whoever queued it calls it.
        mark: Option<u32>,
    },
}

/// Reason codes that say nothing of the message itself: not authorized, quota exceeded.
const FOR_NOW: [u8; 2] = [0x87, 0x97];

/// Publishes on the way at one time. Small boards have small buffers, and rumqttc reserves memory
/// for each; more would not be faster than the flash of the broker's acknowledgements.
const WINDOW: usize = 8;

/// Of them, parts of streams: a status finds a place at once, and waits on a slow line for no more than
/// these.
const STREAM_WINDOW: usize = 4;

/// Messages of one class that are not retained and wait; the oldest is dropped for a newer one.
const MAX_QUEUED: usize = 64;

#[derive(Debug)]
struct Topic {
    class: Class,
    /// Its place among those of its class.
    place: u64,
    owed: Option<Message>,
    flying: Option<Message>,
    denied: Option<Message>,
}

/// A message that nothing replaces.
#[derive(Clone, Debug)]
struct Queued {
    class: Class,
    topic: String,
    message: Message,
    mark: Option<u32>,
}

#[derive(Debug)]
enum Flight {
    Topic(String),
    Queued(Queued),
}

/// What is still owed to the broker.
#[derive(Debug, Default)]
pub struct Outbox {
    topics: BTreeMap<String, Topic>,
    /// Topics with something owed, most urgent first.
    order: BTreeMap<(Class, u64), String>,
    queues: BTreeMap<Class, VecDeque<Queued>>,
    /// Events that were denied for now, in their order. No other is sent while there are any.
    denied: VecDeque<Queued>,
    flights: BTreeMap<Ticket, Flight>,
    connected: bool,
    tickets: u64,
    places: u64,
}

impl Outbox {
    /// Nothing is owed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest message on a topic; an older one that was not sent is dropped.
    pub fn owe(&mut self, class: Class, topic: String, message: Message) {
        let entry = self.topics.entry(topic.clone()).or_insert_with(|| {
            self.places += 1;
            Topic { class, place: self.places, owed: None, flying: None, denied: None }
        });
        // What is replaced keeps its place: who changes often must not be put off for ever, nor
        // put others off.
        entry.owed = Some(message);
        entry.denied = None;
        if entry.flying.is_none() {
            self.order.insert((entry.class, entry.place), topic);
        }
    }

    /// A message that nothing replaces; `mark` is given back when it is settled.
    pub fn queue(&mut self, class: Class, topic: String, message: Message, mark: Option<u32>) {
        let queue = self.queues.entry(class).or_default();
        if queue.len() == MAX_QUEUED {
            queue.pop_front();
        }
        queue.push_back(Queued { class, topic, message, mark });
    }

    /// Nobody waits any more for the messages of a class.
    pub fn forget(&mut self, class: Class) {
        self.queues.remove(&class);
    }

    /// Messages of a class that wait in its queue, or for another connection.
    pub fn queued(&self, class: Class) -> usize {
        let denied = if class == Class::Event { self.denied.len() } else { 0 };
        self.queues.get(&class).map_or(0, VecDeque::len) + denied
    }

    /// A connection stands: what was on the way is owed again, what was denied gets another try.
    pub fn connected(&mut self) {
        self.lost();
        self.connected = true;
        while let Some(denied) = self.denied.pop_back() {
            self.queue_again(denied);
        }
        for (topic, entry) in &mut self.topics {
            if let (None, Some(denied)) = (&entry.owed, entry.denied.take()) {
                entry.owed = Some(denied);
                self.order.insert((entry.class, entry.place), topic.clone());
            }
        }
    }

    /// The connection is gone, and with it every answer that was not given.
    pub fn lost(&mut self) {
        self.connected = false;
        // Back in the order in which they were sent.
        for (_, flight) in std::mem::take(&mut self.flights).into_iter().rev() {
            match flight {
                Flight::Topic(topic) => self.owe_again(topic),
                Flight::Queued(queued) => self.queue_again(queued),
            }
        }
    }

    fn queue_again(&mut self, queued: Queued) {
        self.queues.entry(queued.class).or_default().push_front(queued);
    }

    fn owe_again(&mut self, topic: String) {
        let Some(entry) = self.topics.get_mut(&topic) else { return };
        let flown = entry.flying.take();
        if entry.owed.is_none() {
            entry.owed = flown;
        }
        if entry.owed.is_some() {
            self.order.insert((entry.class, entry.place), topic);
        }
    }

    /// What is owed on a topic is not true any more. To be called while there is no connection.
    pub fn withdraw(&mut self, topic: &str) {
        if let Some(entry) = self.topics.remove(topic) {
            self.order.remove(&(entry.class, entry.place));
        }
    }

    /// The next message to hand to the link, where there is a connection and room on the way.
    pub fn take_next(&mut self) -> Option<Publication> {
        if !self.connected || self.flights.len() >= WINDOW {
            return None;
        }
        let topic = self.order.first_key_value().map(|((class, _), _)| *class);
        let waits = |class: Class| class == Class::Event && !self.denied.is_empty();
        let full = |class: Class| class == Class::Stream && self.flying_streams() >= STREAM_WINDOW;
        let ready = |(class, queue): &(&Class, &VecDeque<_>)| {
            !queue.is_empty() && !waits(**class) && !full(**class)
        };
        let queue = self.queues.iter().find(ready).map(|(class, _)| *class);
        match (topic, queue) {
            (None, None) => None,
            (Some(topic), Some(queue)) if queue < topic => self.next_queued(queue),
            (None, Some(queue)) => self.next_queued(queue),
            (Some(_), _) => self.next_topic(),
        }
    }

    fn flying_streams(&self) -> usize {
        let is_stream = |flight: &&Flight| {
            matches!(flight, Flight::Queued(Queued { class: Class::Stream, .. }))
        };
        self.flights.values().filter(is_stream).count()
    }

    fn next_topic(&mut self) -> Option<Publication> {
        let (_, topic) = self.order.pop_first()?;
        let entry = self.topics.get_mut(&topic)?;
        let message = entry.owed.take()?;
        if message.delivery == Delivery::AtLeastOnce {
            entry.flying = Some(message.clone());
        } else {
            self.topics.remove(&topic);
        }
        let flight = Flight::Topic(topic.clone());
        Some(self.publication(topic, message, flight))
    }

    fn next_queued(&mut self, class: Class) -> Option<Publication> {
        let queued = self.queues.get_mut(&class)?.pop_front()?;
        let (topic, message) = (queued.topic.clone(), queued.message.clone());
        Some(self.publication(topic, message, Flight::Queued(queued)))
    }

    fn publication(&mut self, topic: String, message: Message, flight: Flight) -> Publication {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let Message { payload, retain, delivery } = message;
        if delivery == Delivery::AtLeastOnce {
            self.flights.insert(ticket, flight);
        }
        Publication { ticket, topic, payload, retain, delivery }
    }

    /// The link had no room after all.
    pub fn not_sent(&mut self, publication: &Publication) {
        match self.flights.remove(&publication.ticket) {
            Some(Flight::Topic(topic)) => self.owe_again(topic),
            Some(Flight::Queued(queued)) => self.queue_again(queued),
            // At most once, and not this time: a heartbeat is worth nothing later.
            None => {}
        }
    }

    /// The broker answered.
    pub fn settle(&mut self, ticket: Ticket, settlement: Settlement) -> Option<Settled> {
        match self.flights.remove(&ticket)? {
            Flight::Topic(topic) => self.settle_topic(topic, settlement),
            Flight::Queued(queued) => Some(self.settle_queued(queued, settlement)),
        }
    }

    fn settle_queued(&mut self, queued: Queued, settlement: Settlement) -> Settled {
        let (class, topic, mark) = (queued.class, queued.topic.clone(), queued.mark);
        match settlement {
            Settlement::Delivered => Settled::Sent { topic, mark },
            // Who waits for a reply does not wait for another connection.
            Settlement::Denied(code) if class == Class::Event && FOR_NOW.contains(&code) => {
                self.denied.push_back(queued);
                Settled::Denied { class, topic, code, cleared: false }
            }
            Settlement::Denied(code) => Settled::Dropped { class, topic, code, mark },
        }
    }

    fn settle_topic(&mut self, topic: String, settlement: Settlement) -> Option<Settled> {
        let entry = self.topics.get_mut(&topic)?;
        let flown = entry.flying.take()?;
        let newer = entry.owed.is_some();
        let cleared = flown.payload.is_empty() && !newer;
        let settled = match settlement {
            Settlement::Delivered => Settled::Delivered { topic: topic.clone(), cleared },
            Settlement::Denied(code) => {
                if !newer && !cleared {
                    entry.denied = Some(flown);
                }
                Settled::Denied { class: entry.class, topic: topic.clone(), code, cleared }
            }
        };
        if newer {
            // Behind those that waited meanwhile.
            self.places += 1;
            entry.place = self.places;
            self.order.insert((entry.class, entry.place), topic);
        } else if entry.denied.is_none() {
            self.topics.remove(&topic);
        }
        Some(settled)
    }

    /// Whether nothing is owed and nothing on the way.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
            && self.flights.is_empty()
            && self.queues.values().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests;
