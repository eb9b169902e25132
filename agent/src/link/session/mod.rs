//! The connection to a real broker: MQTT 5 over TCP or TLS.
//!
//! ```text
//!            +--- pause, longer with each failure <---+
//!            v                                        |
//!        connecting --- CONNACK, SUBACK ---> up --- error, DISCONNECT
//!            +------- error, timeout, refusal --------^
//! ```
//! Two halves. [`Connector`] is a task that drives rumqttc and nothing else: its event loop must
//! not be cancelled in the middle of a write, so nobody selects over it. [`MqttLink`] is what the
//! node talks to: it hands publishes to the current connection without waiting, and keeps the
//! books of what is under way. The channel between them is short: where the node is slow, the
//! connection stops reading, and the broker waits.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use mote_protocol::name::{FleetName, GroupName, NodeName};
use mote_protocol::node::Session;
use mote_protocol::topic::{Direction, Scope, Topic, filter};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use rumqttc::v5::{ClientError, Request};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{Delivery, FromBroker, Link, Publication, Receipt, Settlement, Ticket};
use crate::config::BrokerConfig;
use crate::daytime::Daytime;
use crate::log::Chain;
use crate::ports::{Random, WallClock};

mod code;
mod connection;
mod error;
mod greeting;
mod retry;
mod tls;

use connection::{Connection, Happened, Terms, UNSURE};
pub use error::LinkError;
pub use greeting::{GreetingError, greet};
use retry::{Ending, Retry};
pub use tls::TlsError;

/// Events between the two halves. Each may hold an object of 1 MiB.
const CHANNEL: usize = 4;

/// What a packet of ours has beside topic and payload, at most: header, lengths, packet id,
/// properties.
const OVERHEAD: usize = 16;

/// One filter to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The filter.
    pub filter: String,
    /// Retained messages come with every connection, not only where the broker forgot us.
    pub every_time: bool,
}

impl Subscription {
    /// Everything that concerns a node.
    pub fn of_node(fleet: &FleetName, node: &NodeName, groups: &[GroupName]) -> Vec<Self> {
        let own = Scope::Node(node.clone());
        let once = |filter| Self { filter, every_time: false };
        let always = |topic| Self {
            filter: filter::of_nodes(fleet, Some(node.as_str()), &topic),
            every_time: true,
        };
        let groups = groups.iter().cloned().map(Scope::Group);
        let scopes = [own.clone(), Scope::All].into_iter().chain(groups);
        let mut all: Vec<_> = scopes.map(|scope| once(filter::specs(fleet, &scope))).collect();
        all.push(once(filter::commands(fleet, &own)));
        // What operators say to streams they opened: nobody says anything while there is none.
        all.push(once(filter::streams(fleet, &own, Direction::In)));
        all.extend([always(Topic::Birth), always(Topic::Will)]);
        all
    }
}

/// Everything that connections of one start of the agent have in common.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// The broker.
    pub broker: BrokerConfig,
    /// Our name towards the broker; another board must have another.
    pub client_id: String,
    /// What tells boards apart, for the will.
    pub identity: [u8; 8],
    /// Where the broker says that a connection of ours ended.
    pub will_topic: String,
    /// What to subscribe to.
    pub subscriptions: Vec<Subscription>,
}

/// What there is to know of the time of day, for certificates.
#[derive(Debug)]
pub struct TimeOfDay<W> {
    /// The clock.
    pub wall: W,
    /// When it was right last, in Unix seconds.
    pub seen: watch::Receiver<i64>,
    /// Changes when somebody sets it.
    pub set: watch::Receiver<u32>,
}

impl<W: WallClock> TimeOfDay<W> {
    /// As of now.
    fn read(&mut self) -> Daytime {
        self.set.mark_unchanged();
        Daytime::read(&self.wall, *self.seen.borrow())
    }

    /// Waits until somebody sets the clock after it was read.
    async fn set(&mut self) {
        if self.set.changed().await.is_err() {
            // Nobody watches it.
            pending::<()>().await;
        }
    }
}

/// The half that drives the connection; a task of its own.
pub struct Connector<R, W> {
    options: LinkOptions,
    random: R,
    time: TimeOfDay<W>,
    start: watch::Receiver<u32>,
    happened: mpsc::Sender<Happened>,
}

/// Whether TLS towards a broker can be tried: files are there, and certificate and key go together.
pub fn check_tls(broker: &BrokerConfig) -> Result<(), TlsError> {
    // Whether files can be used is the same at any time.
    let daytime = Daytime { shown_s: 0, is_kept: false, floor_s: 0 };
    if broker.url.tls { tls::client_config(broker, &daytime).map(drop) } else { Ok(()) }
}

/// Builds both halves. `start` counts the starts of the agent, for the session's number; where it
/// changes, the connection is made anew.
pub fn connect<R: Random, W: WallClock>(
    options: LinkOptions,
    start: watch::Receiver<u32>,
    random: R,
    time: TimeOfDay<W>,
) -> (MqttLink, Connector<R, W>) {
    let (happened, receiver) = mpsc::channel(CHANNEL);
    (MqttLink::new(receiver), Connector { options, random, time, start, happened })
}

impl<R: Random, W: WallClock> Connector<R, W> {
    /// Keeps a connection, as long as somebody holds the other half.
    pub async fn run(mut self) {
        let mut retry = Retry::default();
        let mut said = String::new();
        let mut connection = 0;
        // The first connection of a start asks for everything anew: the state directory may not be
        // the one of the start before, and commands to that start mean nothing to this one.
        let mut clean = true;
        while !self.happened.is_closed() {
            connection = u32::saturating_add(connection, 1);
            let session = Session { start: *self.start.borrow_and_update(), connection };
            let begin = Instant::now();
            let mut connected = false;
            let ended = self.connect_once(session, clean, &mut connected).await;
            clean &= !connected;
            let Some(error) = ended else {
                self.tell_lost(connected, "a greater session is needed".to_owned(), false).await;
                continue;
            };
            let is_of_time = error.is_of_time();
            let (ending, reason) = (error.ending(), Chain(&error).to_string());
            let pause = retry.pause(ending, begin.elapsed(), self.random.next());
            self.log(&reason, pause, connected || reason != said);
            said.clone_from(&reason);
            self.tell_lost(connected, reason, ending == Ending::TakenOver).await;
            tokio::select! {
                () = sleep(pause) => {}
                // What was refused for its time may be right by the new one. The pause before the next
                // failure is not shorter for it.
                () = self.time.set(), if is_of_time => {}
            }
        }
    }

    /// Why it ended; none where a greater session is asked for.
    async fn connect_once(
        &mut self,
        session: Session,
        clean: bool,
        connected: &mut bool,
    ) -> Option<LinkError> {
        let daytime = self.time.read();
        let (options, happened) = (&self.options, &self.happened);
        let connection = Connection { options, session, clean, daytime, happened };
        tokio::select! {
            error = connection.run(connected) => Some(error),
            Ok(()) = self.start.changed() => None,
        }
    }

    async fn tell_lost(&self, connected: bool, reason: String, taken_over: bool) {
        let happened = if connected {
            Happened::Down { reason, taken_over }
        } else {
            Happened::Failed { reason }
        };
        // Nobody listens only while the agent ends.
        let _ = self.happened.send(happened).await;
    }

    /// A node that is offline for a week says so once.
    fn log(&self, reason: &str, pause: Duration, new: bool) {
        let (broker, pause_s) = (&self.options.broker.url, pause.as_secs());
        if new {
            warn!(%broker, reason, pause_s, "no connection to the broker");
        } else {
            debug!(%broker, reason, pause_s, "still no connection to the broker");
        }
    }
}

/// The half that the node talks to.
pub struct MqttLink {
    happened: mpsc::Receiver<Happened>,
    up: Option<Up>,
    /// Known already, not told yet.
    ready: VecDeque<FromBroker>,
}

/// The books of one connection.
struct Up {
    terms: Terms,
    /// Given to the connection, not written yet: they are written in this order.
    queued: VecDeque<Ticket>,
    /// Written, oldest first. A packet id is used again after `window` others, so an answered one
    /// stays until all before it were answered: then no id is used twice at the same time.
    written: VecDeque<Written>,
    /// Without acknowledgement, not written yet.
    unsure: usize,
}

struct Written {
    packet: u16,
    ticket: Ticket,
    answered: bool,
}

impl MqttLink {
    fn new(happened: mpsc::Receiver<Happened>) -> Self {
        Self { happened, up: None, ready: VecDeque::new() }
    }

    fn take(&mut self, happened: Happened) {
        let told = match (happened, &mut self.up) {
            (Happened::Up(terms), up) => {
                let session = terms.session;
                let connected = FromBroker::Connected { session, denied: terms.denied.clone() };
                info!(connection = session.connection, "connected");
                *up = Some(Up::new(*terms));
                Some(connected)
            }
            (Happened::Down { reason, taken_over }, up) => {
                *up = None;
                Some(FromBroker::Lost { reason, taken_over })
            }
            (Happened::Failed { reason }, _) => Some(FromBroker::Failed { reason }),
            (Happened::Written(packet), Some(up)) => {
                up.written(packet);
                None
            }
            (Happened::Answered { packet, refused }, Some(up)) => up.answered(packet, refused),
            (Happened::Received { topic, payload, retained, packet }, Some(up)) => {
                Some(FromBroker::Received {
                    topic: String::from_utf8_lossy(&topic).into_owned(),
                    payload: payload.to_vec(),
                    retained,
                    receipt: packet.map(|packet| up.receipt(packet)),
                })
            }
            // Between Down and Up the other half sends nothing.
            (_, None) => None,
        };
        self.ready.extend(told);
    }
}

impl Up {
    fn new(terms: Terms) -> Self {
        Self { terms, queued: VecDeque::new(), written: VecDeque::new(), unsure: 0 }
    }

    fn written(&mut self, packet: u16) {
        if packet == 0 {
            self.unsure = self.unsure.saturating_sub(1);
        } else if let Some(ticket) = self.queued.pop_front() {
            self.written.push_back(Written { packet, ticket, answered: false });
        }
    }

    fn answered(&mut self, packet: u16, refused: Option<u8>) -> Option<FromBroker> {
        let open = |written: &&mut Written| written.packet == packet && !written.answered;
        let written = self.written.iter_mut().find(open)?;
        written.answered = true;
        let ticket = written.ticket;
        while self.written.front().is_some_and(|written| written.answered) {
            self.written.pop_front();
        }
        let settlement = refused.map_or(Settlement::Delivered, Settlement::Denied);
        Some(FromBroker::Settled { ticket, settlement })
    }

    /// One number for connection and packet: a receipt of an old connection fits no new one.
    fn receipt(&self, packet: u16) -> Receipt {
        Receipt(u64::from(self.terms.session.connection) << 16 | u64::from(packet))
    }

    fn acknowledge(&self, Receipt(number): Receipt) {
        let (connection, packet) = (number >> 16, number & 0xffff);
        if connection != u64::from(self.terms.session.connection) {
            return;
        }
        let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new(), None);
        publish.pkid = u16::try_from(packet).unwrap_or_default();
        // Where the connection is gone, the broker delivers it again.
        let _ = self.terms.client.try_ack(&publish);
    }

    fn publish(&mut self, publication: Publication) -> Result<(), Publication> {
        let qos = match publication.delivery {
            Delivery::AtLeastOnce
                if self.queued.len() + self.written.len() >= self.terms.window =>
            {
                return Err(publication);
            }
            Delivery::AtMostOnce if self.unsure >= UNSURE => return Err(publication),
            Delivery::AtLeastOnce => QoS::AtLeastOnce,
            Delivery::AtMostOnce => QoS::AtMostOnce,
        };
        let Publication { ticket, topic, payload, retain, delivery } = publication;
        // The queue is bounded by the two windows, so it has room; it is closed where the
        // connection is gone, and then nothing was taken.
        match self.terms.client.try_publish(&topic, qos, retain, payload) {
            Ok(()) if qos == QoS::AtLeastOnce => self.queued.push_back(ticket),
            Ok(()) => self.unsure += 1,
            Err(error) => {
                let payload = given_back(error);
                return Err(Publication { ticket, topic, payload, retain, delivery });
            }
        }
        Ok(())
    }
}

fn given_back(error: ClientError) -> Vec<u8> {
    match error {
        ClientError::Request(Request::Publish(publish))
        | ClientError::TryRequest(Request::Publish(publish)) => publish.payload.into(),
        ClientError::Request(_) | ClientError::TryRequest(_) => Vec::new(),
    }
}

impl Link for MqttLink {
    async fn next(&mut self) -> FromBroker {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return told;
            }
            match self.happened.recv().await {
                Some(happened) => self.take(happened),
                // The other half is gone: the agent is ending.
                None => pending().await,
            }
        }
    }

    fn publish(&mut self, publication: Publication) -> Result<(), Publication> {
        let Some(up) = &mut self.up else { return Err(publication) };
        // rumqttc would end the connection over it, and every connection after it.
        let size = publication.topic.len() + publication.payload.len() + OVERHEAD;
        if size > up.terms.max_packet {
            let settlement = Settlement::Denied(code::PACKET_TOO_LARGE);
            self.ready.push_back(FromBroker::Settled { ticket: publication.ticket, settlement });
            return Ok(());
        }
        up.publish(publication)
    }

    fn acknowledge(&mut self, receipt: Receipt) {
        if let Some(up) = &self.up {
            up.acknowledge(receipt);
        }
    }
}

#[cfg(test)]
mod tests;
