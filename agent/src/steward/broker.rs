//! What the broker says: sorted by topic, handed to whom it is for.

use mote_protocol::frame::Body;
use mote_protocol::topic::{Address, Direction, Scope, Topic, TopicError};

use super::{FromPresence, Steward, ToPresence, World};
use crate::link::outbox::{Class, Message, Settled};
use crate::link::{FromBroker, Link, Receipt};
use crate::store::{Arrival, Order};

impl<W: World> Steward<W> {
    pub(super) fn heard(&mut self, heard: FromBroker) {
        match heard {
            FromBroker::Connected { session, denied } => {
                self.books.session = Some(session);
                self.books.outbox.connected();
                self.books.memory.connected(&denied);
                self.tell_presence(ToPresence::Connected { session });
                for (filter, code) in denied {
                    let message = format!("the broker refuses to send {filter} (reason {code})");
                    self.node_event("SubscriptionDenied", message);
                }
            }
            FromBroker::Failed { reason } => self.books.memory.failed(reason),
            FromBroker::Lost { reason, taken_over } => {
                self.books.memory.failed(reason);
                self.books.session = None;
                self.books.receipts.clear();
                self.books.outbox.lost();
                // A birth speaks for its connection: told after another one's, it would be taken
                // for a board that came back to life.
                let birth = self.topic(Topic::Birth);
                self.books.outbox.withdraw(&birth);
                let usage = self.topic(Topic::Usage);
                self.books.outbox.withdraw(&usage);
                self.books.streams.lost();
                self.books.cordons.lost();
                self.books.outbox.forget(Class::Stream);
                self.order(Order::LinkLost);
                self.tell_presence(ToPresence::Lost { taken_over });
            }
            FromBroker::Received { topic, payload, retained, receipt } => {
                self.books.receipts.extend(receipt);
                self.received(&topic, payload, retained, receipt);
            }
            FromBroker::Settled { ticket, settlement } => {
                if let Some(settled) = self.books.outbox.settle(ticket, settlement) {
                    self.settled(settled);
                }
            }
        }
    }

    fn received(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        retained: bool,
        receipt: Option<Receipt>,
    ) {
        let address = match Address::parse(topic) {
            Ok(address) if address.fleet == self.identity.fleet => address,
            Ok(_) => return self.acknowledge(receipt),
            Err(error) => {
                self.forged(topic, &error);
                return self.acknowledge(receipt);
            }
        };
        let own = address.scope == Scope::Node(self.identity.node.clone());
        match address.topic {
            Topic::Spec(key) if self.listens(&address.scope) => {
                // Acknowledged when it is on flash.
                let scope = address.scope.into();
                return self.order(Order::Receive(Arrival { scope, key, payload, receipt }));
            }
            Topic::Command(id) if self.listens(&address.scope) => self.command(&id, &payload),
            Topic::Stream(id, Direction::In) if own => self.stream_heard(&id, &payload),
            Topic::Birth | Topic::Will | Topic::NodeStatus | Topic::Heartbeat | Topic::Usage
                if own =>
            {
                let topic = address.topic;
                self.tell_presence(ToPresence::Received { topic, payload, retained });
            }
            _ => {}
        }
        self.acknowledge(receipt);
    }

    fn listens(&self, scope: &Scope) -> bool {
        match scope {
            Scope::All => true,
            Scope::Group(group) => self.identity.groups.contains(group),
            Scope::Node(node) => *node == self.identity.node,
        }
    }

    fn forged(&mut self, topic: &str, error: &TopicError) {
        let shown: String = topic.chars().take(120).flat_map(char::escape_debug).collect();
        self.node_event("InvalidTopic", format!("{shown}: {error}"));
    }

    /// Lets the broker forget a message, where it is one of this connection.
    pub(super) fn acknowledge(&mut self, receipt: Option<Receipt>) {
        if let Some(receipt) = receipt
            && self.books.receipts.remove(&receipt)
        {
            self.link.acknowledge(receipt);
        }
    }

    pub(super) fn settled(&mut self, settled: Settled) {
        let (topic, cleared) = match settled {
            Settled::Delivered { topic, cleared } => {
                self.books.memory.delivered(&topic);
                (topic, cleared)
            }
            Settled::Denied { class, topic, code, cleared } => {
                self.publish_denied(class, &topic, code);
                // Nobody hears of the end then; waiting for it would keep a file for ever.
                (topic, cleared)
            }
            Settled::Sent { topic, mark } => {
                self.books.memory.delivered(&topic);
                return self.queued_settled(mark);
            }
            Settled::Dropped { class, topic, code, mark } => {
                self.publish_denied(class, &topic, code);
                return self.queued_settled(mark);
            }
        };
        if !cleared {
            return;
        }
        if let Ok(Address { topic: Topic::Status(key), .. }) = Address::parse(&topic) {
            self.status_cleared(&key);
        }
    }

    fn publish_denied(&mut self, class: Class, topic: &str, code: u8) {
        self.books.memory.denied(topic, code);
        // An event that tells of a denied event would be denied as well, and told of, for ever.
        if class != Class::Event {
            self.node_event("PublishDenied", format!("the broker refuses {topic} (reason {code})"));
        }
    }

    /// Only events have a mark: their number.
    fn queued_settled(&mut self, mark: Option<u32>) {
        if let Some(number) = mark {
            let now = self.now();
            self.books.events.settled(number, now);
        }
    }

    pub(super) fn presence_told(&mut self, told: FromPresence) {
        match told {
            FromPresence::Owe { topic, payload, retain, delivery } => {
                let topic = self.topic(topic);
                let message = Message { payload, retain, delivery };
                self.books.outbox.owe(Class::Presence, topic, message);
            }
            FromPresence::BrokerForgot => self.say_everything_again(),
            FromPresence::Pressure(told) => self.pressure_told(&told),
            FromPresence::Report(report) => self.record(report),
        }
    }

    pub(super) fn tell_presence(&self, told: ToPresence) {
        // A node without presence is only heard less.
        let _ = self.channels.to_presence.send(told);
    }

    pub(super) fn order(&self, order: Order) {
        // The store's task ends only with the node.
        let _ = self.orders.send(order);
    }

    /// A topic under this node's own scope.
    pub(super) fn topic(&self, topic: Topic) -> String {
        let (fleet, scope) = (self.identity.fleet.clone(), Scope::Node(self.identity.node.clone()));
        Address { fleet, scope, topic }.to_string()
    }

    /// Queues a message that nothing replaces.
    pub(super) fn queue<B: Body>(
        &mut self,
        class: Class,
        topic: Topic,
        body: &B,
        mark: Option<u32>,
    ) {
        // Bounded fields make bodies that fit; one that does not is told to nobody.
        if let Ok(payload) = mote_protocol::frame::encode(body) {
            let message = Message { retain: false, ..Message::retained(payload) };
            let topic = self.topic(topic);
            self.books.outbox.queue(class, topic, message, mark);
        }
    }
}
