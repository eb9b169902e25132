//! What passes between the steward and the node's presence: birth, will, heartbeat, node status.
//!
//! Presence decides what the node says of itself; the steward owns the link and the outbox. They
//! talk through two channels, so that neither ever waits for the other.

use mote_protocol::node::{Devices, ObjectDigest, Session};
use mote_protocol::topic::Topic;

use super::{Gone, NodePressure, Steward, World};
use crate::events::Report;
use crate::link::Delivery;
use crate::network::Unavailable;

/// What presence is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToPresence {
    /// A connection stands, subscriptions included.
    Connected {
        /// Which one.
        session: Session,
    },
    /// The connection is gone.
    Lost {
        /// Somebody else connected under our client id.
        taken_over: bool,
    },
    /// Somebody published under this node's own scope, and it is neither spec, command nor stream.
    Received {
        /// What: [`Topic::Birth`], [`Topic::Will`] ...
        topic: Topic,
        /// The frame.
        payload: Vec<u8>,
        /// The broker had kept it: it was not published just now.
        retained: bool,
    },
    /// Somebody set the clock.
    ClockSet,
    /// Programs wait for memory, or the board's supply became too weak: somebody should look.
    Alarm,
    /// The node is to be looked at now; what is told of it carries this number from here on.
    Look(u64),
    /// Devices came or went.
    Devices(Box<Devices>),
    /// The desired objects of this node changed.
    Objects(ObjectDigest),
    /// Pods can have a network, or cannot.
    Network {
        /// Why not.
        missing: Option<Unavailable>,
    },
    /// Whether the node takes no new pods.
    Unschedulable(bool),
    /// The flash card answers with errors, or does so no more.
    Storage {
        /// It does.
        failing: bool,
    },
}

/// What presence tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromPresence {
    /// This belongs on the broker, under this node's own scope. A later one on the same topic
    /// replaces it where it was not sent yet.
    Owe {
        /// Where.
        topic: Topic,
        /// The frame.
        payload: Vec<u8>,
        /// The broker keeps it.
        retain: bool,
        /// How sure it must be.
        delivery: Delivery,
    },
    /// The broker has lost what it kept (the birth that it gave back is missing or old): every
    /// retained status is owed again.
    BrokerForgot,
    /// What the node is short of.
    Pressure(NodePressure),
    /// Something that people should know.
    Report(Report),
}

impl<W: World> Steward<W> {
    /// Count and digest of what this node holds, for presence.
    pub(super) fn objects_changed(&self) {
        let held = self.books.desired.values().filter(|desired| desired.gone == Gone::No);
        let revisions =
            held.map(|desired| desired.revision).chain(self.books.data.values().copied());
        let mut digest = ObjectDigest::default();
        for revision in revisions {
            digest.count += 1;
            if let Some(first) = revision.hash.0.first_chunk::<4>() {
                digest.digest = digest.digest.wrapping_add(u32::from_le_bytes(*first));
            }
        }
        self.tell_presence(ToPresence::Objects(digest));
    }
}
