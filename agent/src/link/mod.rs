//! Talks with the broker, and knows nothing of what is said.
//!
//! [`Link`] is the port: the real one (`session`) owns the MQTT connection, the simulated one
//! lives with the simulator. `outbox` decides what is still owed to the broker; it is pure.

use std::future::Future;

use mote_protocol::node::Session;

pub mod outbox;
pub mod session;

/// What tells one publish of ours from another until it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What must be given back for the broker to consider a message received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub u64);

/// How sure a publish must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// `QoS` 0: never settled by [`FromBroker::Settled`].
    AtMostOnce,
    /// `QoS` 1: settled once the broker answered.
    AtLeastOnce,
}

/// One message for the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Names it when it is settled.
    pub ticket: Ticket,
    /// Where to.
    pub topic: String,
    /// The frame; empty clears a retained topic.
    pub payload: Vec<u8>,
    /// The broker keeps it for who comes later.
    pub retain: bool,
    /// How sure it must be.
    pub delivery: Delivery,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The broker has it.
    Delivered,
    /// The broker will not have it (MQTT 5 reason code, 135 = not authorized): the same publish
    /// would be refused again.
    Denied(u8),
}

/// What comes from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBroker {
    /// A connection stands and all subscriptions were confirmed. Whatever was not settled before
    /// never will be: it is owed again.
    Connected {
        /// This connection.
        session: Session,
        /// Filters that the broker refused, with its reason code.
        denied: Vec<(String, u8)>,
    },
    /// The connection is gone; the link tries again by itself.
    Lost {
        /// Why, for a log.
        reason: String,
        /// Somebody else connected under our client id (reason code 142).
        taken_over: bool,
    },
    /// A connection did not come about; the link tries again by itself.
    Failed {
        /// Why, for a person.
        reason: String,
    },
    /// Somebody published.
    Received {
        /// Where.
        topic: String,
        /// What: at most what the CONNECT allowed.
        payload: Vec<u8>,
        /// It was kept by the broker, not published just now.
        retained: bool,
        /// To acknowledge it with; none for `QoS` 0.
        receipt: Option<Receipt>,
    },
    /// A publish of ours was settled.
    Settled {
        /// Which.
        ticket: Ticket,
        /// How.
        settlement: Settlement,
    },
}

/// The connection to the broker.
pub trait Link {
    /// The next thing the broker does. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = FromBroker>;

    /// Hands over a message without waiting; gives it back where no more may be in flight.
    fn publish(&mut self, publication: Publication) -> Result<(), Publication>;

    /// Acknowledges a received message. One that is not acknowledged comes again with the next
    /// connection.
    fn acknowledge(&mut self, receipt: Receipt);
}
