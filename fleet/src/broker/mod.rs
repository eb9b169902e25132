//! A short conversation with a broker.
//!
//! A [`Session`] belongs to one command: it connects, asks, and is gone. Everything it does is
//! bounded in time. The client's event loop runs in a task of its own, since it must not be left in
//! the middle of a packet; each call waits until its own answer is there and keeps what arrives
//! meanwhile for [`Session::next`].
//!
//! MQTT does not say when the last retained message of a subscription was sent. Messages keep
//! their order, though: a listing ends when a message that the session sends itself after
//! subscribing comes back (the barrier).

mod error;
mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mote_protocol::frame;
use mote_protocol::limits;
use mote_protocol::name::{NodeName, RequestId};
use mote_protocol::stream::StreamFrame;
use mote_protocol::topic::{Address, Direction, Scope, Topic};
use ring::rand::{SecureRandom as _, SystemRandom};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, LastWill, Packet, PubAck, PubAckReason, Publish, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Outgoing};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::context::{BrokerUrl, Context};
pub use error::BrokerError;

/// Messages that may be in flight in each direction.
const IN_FLIGHT: u16 = 16;

/// Messages that may be posted and not acknowledged: fewer than may be in flight, so that what is
/// published or subscribed to beside them has room, and its answer does not wait for many.
const POSTED: usize = 4;

/// Subscriptions that are being given up at one time: each request has a place in the client's queue.
const LEAVING: usize = 2;

/// Events between the connection and whoever asks; where nobody takes them the broker waits.
const EVENTS: usize = 16;

/// Bytes of an MQTT packet around the payload: header, topic, properties.
const PACKET_OVERHEAD: usize = 1024;

/// Longest packet in each direction.
const MAX_PACKET: usize = limits::MAX_OBJECT + PACKET_OVERHEAD;

/// A message from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its payload; empty where a retained message was taken away.
    pub payload: Vec<u8>,
}

/// A connection that lasts as long as one command.
pub struct Session {
    client: AsyncClient,
    events: mpsc::Receiver<Result<Event, ConnectionError>>,
    broker: BrokerUrl,
    timeout: Duration,
    id: RequestId,
    barrier: String,
    barriers: u32,
    inbox: VecDeque<Message>,
    posted: Posted,
}

/// Messages whose acknowledgement nobody waits for.
#[derive(Debug, Default)]
struct Posted {
    /// Not given to the client yet.
    waiting: VecDeque<(String, Vec<u8>, Duration)>,
    /// Given to the client, which writes them in this order: their topics; none for a message whose
    /// acknowledgement somebody waits for.
    queued: VecDeque<Option<String>>,
    /// Topics by the number of their packet.
    written: BTreeMap<u16, String>,
    /// The packet of the message that somebody waits for.
    own: Option<u16>,
    /// Topics of which nothing is wanted any more; how many of them the broker was told.
    left: VecDeque<String>,
    leaving: usize,
}

/// Bits that nobody else has.
pub fn random_bits() -> [u8; 16] {
    let mut bits = [0; 16];
    SystemRandom::new().fill(&mut bits).expect("the kernel gives random bytes");
    bits
}

/// Name of a session among all that ever were.
fn random_id() -> RequestId {
    let bits = u128::from_le_bytes(random_bits());
    RequestId::new(&format!("mote-{bits:032x}")).expect("letters and digits make a label")
}

impl Session {
    /// Connects and subscribes to its own answers.
    pub async fn open(context: &Context, timeout: Duration) -> Result<Self, BrokerError> {
        Self::connect(context, timeout, random_id(), None).await
    }

    /// The same for streams of a node, which the broker ends should this session break off.
    pub async fn open_for_streams(
        context: &Context,
        timeout: Duration,
        node: &NodeName,
    ) -> Result<Self, BrokerError> {
        let id = random_id();
        let topic = Address {
            fleet: context.fleet.clone(),
            scope: Scope::Node(node.clone()),
            topic: Topic::Stream(id.clone(), Direction::In),
        };
        // A few bytes: they encode.
        let payload = frame::encode(&StreamFrame::end_of_session()).unwrap_or_default();
        let will = LastWill::new(topic.to_string(), payload, QoS::AtLeastOnce, false, None);
        Self::connect(context, timeout, id, Some(will)).await
    }

    async fn connect(
        context: &Context,
        timeout: Duration,
        id: RequestId,
        will: Option<LastWill>,
    ) -> Result<Self, BrokerError> {
        let mut options =
            MqttOptions::new(id.as_str(), context.broker.host.as_str(), context.broker.port);
        options.set_transport(tls::transport(context)?);
        options.set_connection_timeout(timeout.as_secs().max(1));
        options.set_clean_start(true);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        options.set_receive_maximum(Some(IN_FLIGHT));
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
        options.set_max_packet_size(u32::try_from(MAX_PACKET).ok());
        if let Some(will) = will {
            options.set_last_will(will);
        }
        if let Some((user, password)) = &context.login {
            let password = match password {
                None => String::new(),
                Some(path) => std::fs::read_to_string(path)
                    .map_err(|source| BrokerError::Credential {
                        field: "password-file",
                        path: path.clone(),
                        source,
                    })?
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            };
            options.set_credentials(user, password);
        }
        let (client, events) = AsyncClient::new(options, usize::from(IN_FLIGHT));
        let address = Address {
            fleet: context.fleet.clone(),
            scope: Scope::All,
            topic: Topic::Reply(id.clone()),
        };
        let broker = context.broker.clone();
        let mut session = Self {
            client,
            events: drive(events),
            broker,
            timeout,
            id,
            barrier: address.to_string(),
            barriers: 0,
            inbox: VecDeque::new(),
            posted: Posted::default(),
        };
        // The barrier needs it; that it succeeds also shows that the broker let us in.
        let barrier = session.barrier.clone();
        session.subscribe(&[barrier], QoS::AtLeastOnce).await?;
        Ok(session)
    }

    /// What commands of this session are called.
    pub const fn id(&self) -> &RequestId {
        &self.id
    }

    /// Subscribes, and waits until the broker said that it may.
    async fn subscribe(&mut self, filters: &[String], qos: QoS) -> Result<(), BrokerError> {
        let deadline = Instant::now() + self.timeout;
        let asked = filters.iter().map(|filter| Filter::new(filter.as_str(), qos));
        if self.client.try_subscribe_many(asked).is_err() {
            return Err(self.lost("its queue is closed"));
        }
        loop {
            let Event::Incoming(Packet::SubAck(ack)) = self.turn(deadline).await? else { continue };
            for (filter, code) in filters.iter().zip(&ack.return_codes) {
                if !matches!(code, SubscribeReasonCode::Success(_)) {
                    let topic = filter.clone();
                    return Err(BrokerError::Forbidden { action: "subscribe to", topic });
                }
            }
            return Ok(());
        }
    }

    /// Gets what comes to these topics from now on, each message for sure: see [`Session::next`].
    /// For topics on which no more comes than was asked for, so that no broker has to drop any.
    pub async fn watch(&mut self, topics: &[String]) -> Result<(), BrokerError> {
        self.subscribe(topics, QoS::AtLeastOnce).await
    }

    /// Every retained message that matches, and from now on also what is new: see
    /// [`Session::next`].
    pub async fn list(&mut self, filters: &[String]) -> Result<Vec<Message>, BrokerError> {
        // Not at QoS 1: brokers bound what they hold for a subscriber that is slower than they
        // are, and drop the rest. At QoS 0 the transport's own flow control does the waiting.
        self.subscribe(filters, QoS::AtMostOnce).await?;
        self.barriers += 1;
        let mark = self.barriers.to_le_bytes().to_vec();
        let barrier = self.barrier.clone();
        self.publish(&barrier, mark.clone(), Retain::No).await?;
        let deadline = Instant::now() + self.timeout;
        let is_mark = |message: &Message| message.topic == barrier && message.payload == mark;
        loop {
            if let Some(place) = self.inbox.iter().position(is_mark) {
                let behind = self.inbox.split_off(place + 1);
                self.inbox.pop_back();
                return Ok(std::mem::replace(&mut self.inbox, behind).into());
            }
            self.turn(deadline).await?;
        }
    }

    /// Publishes at `QoS` 1 and waits until the broker has it.
    pub async fn publish(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        retain: Retain,
    ) -> Result<(), BrokerError> {
        let deadline = Instant::now() + self.timeout;
        let (retained, expiry) = match retain {
            Retain::Yes => (true, None),
            Retain::No => (false, None),
            Retain::Expires(after) => (false, u32::try_from(after.as_secs()).ok()),
        };
        let properties =
            PublishProperties { message_expiry_interval: expiry, ..PublishProperties::default() };
        let qos = QoS::AtLeastOnce;
        let sent =
            self.client.try_publish_with_properties(topic, qos, retained, payload, properties);
        if sent.is_err() {
            return Err(self.lost("its queue is closed"));
        }
        self.posted.queued.push_back(None);
        self.posted.own = None;
        loop {
            match self.turn(deadline).await? {
                Event::Incoming(Packet::PubAck(ack)) if Some(ack.pkid) == self.posted.own => {
                    return match ack.reason {
                        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
                        PubAckReason::NotAuthorized => Err(BrokerError::Forbidden {
                            action: "publish to",
                            topic: topic.into(),
                        }),
                        other => Err(BrokerError::NotPublished {
                            topic: topic.into(),
                            reason: format!("{other:?}"),
                        }),
                    };
                }
                _ => {}
            }
        }
    }

    /// Whether a message that is posted now is sent now.
    pub fn has_room(&self) -> bool {
        self.posted.waiting.is_empty() && self.posted.under_way() < POSTED
    }

    /// Publishes at `QoS` 1 and does not wait: an error comes with a later call. For messages behind
    /// each other, of which the broker drops those that it could not pass on in time.
    pub fn post(
        &mut self,
        topic: String,
        payload: Vec<u8>,
        expires: Duration,
    ) -> Result<(), BrokerError> {
        self.posted.waiting.push_back((topic, payload, expires));
        self.send_posted()
    }

    /// Gives the client what waits, as far as there is room.
    fn send_posted(&mut self) -> Result<(), BrokerError> {
        while self.posted.under_way() < POSTED
            && let Some((topic, payload, expires)) = self.posted.waiting.pop_front()
        {
            let message_expiry_interval = u32::try_from(expires.as_secs()).ok();
            let properties =
                PublishProperties { message_expiry_interval, ..PublishProperties::default() };
            let (qos, name) = (QoS::AtLeastOnce, topic.as_str());
            let sent =
                self.client.try_publish_with_properties(name, qos, false, payload, properties);
            if sent.is_err() {
                return Err(self.lost("its queue is closed"));
            }
            self.posted.queued.push_back(Some(topic));
        }
        Ok(())
    }

    /// Wants nothing more of these topics. Nobody waits for the broker's answer.
    pub fn leave(&mut self, topics: &[String]) {
        self.posted.left.extend(topics.iter().cloned());
        self.send_leaves();
    }

    fn send_leaves(&mut self) {
        while self.posted.leaving < LEAVING
            && let Some(topic) = self.posted.left.pop_front()
        {
            // What comes all the same is passed over.
            if self.client.try_unsubscribe(topic).is_ok() {
                self.posted.leaving += 1;
            }
        }
    }

    /// The next message; `None` where none came until `deadline`. Cancel-safe.
    pub async fn next(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<Message>, BrokerError> {
        loop {
            while let Some(message) = self.inbox.pop_front() {
                if message.topic != self.barrier {
                    return Ok(Some(message));
                }
            }
            let turned = match deadline {
                None => Ok(self.events.recv().await),
                Some(deadline) => timeout_at(deadline, self.events.recv()).await,
            };
            match turned {
                Err(_) => return Ok(None),
                Ok(event) => self.keep(event)?,
            };
        }
    }

    /// Ends the session in order, so that the broker forgets it at once, behind what was posted. Where
    /// that cannot be said in time, the session breaks off, and its will says it.
    pub async fn close(mut self) {
        let deadline = Instant::now() + self.timeout;
        while self.posted.under_way() > 0 {
            if self.turn(deadline).await.is_err() {
                return;
            }
        }
        if self.client.try_disconnect().is_ok() {
            while let Ok(event) = self.turn(deadline).await {
                if matches!(event, Event::Outgoing(Outgoing::Disconnect)) {
                    break;
                }
            }
        }
    }

    /// One step of the client, until `deadline`.
    async fn turn(&mut self, deadline: Instant) -> Result<Event, BrokerError> {
        match timeout_at(deadline, self.events.recv()).await {
            Ok(event) => self.keep(event),
            Err(_) => {
                Err(BrokerError::Timeout { broker: self.broker.clone(), after: self.timeout })
            }
        }
    }

    /// Puts a message into the inbox and hands the event on.
    fn keep(
        &mut self,
        event: Option<Result<Event, ConnectionError>>,
    ) -> Result<Event, BrokerError> {
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(ConnectionError::Timeout(_))) => {
                let broker = self.broker.clone();
                return Err(BrokerError::Timeout { broker, after: self.timeout });
            }
            Some(Err(error)) => return Err(BrokerError::from_connection(&self.broker, error)),
            // It was lost before.
            None => return Err(self.lost("the connection is gone")),
        };
        match &event {
            Event::Outgoing(Outgoing::Publish(packet)) => self.posted.written(*packet),
            Event::Incoming(Packet::PubAck(ack)) => {
                self.posted.answered(ack)?;
                self.send_posted()?;
            }
            Event::Incoming(Packet::UnsubAck(_)) => {
                self.posted.leaving = self.posted.leaving.saturating_sub(1);
                self.send_leaves();
            }
            _ => {}
        }
        if let Event::Incoming(Packet::Publish(Publish { topic, payload, .. })) = &event {
            // A topic that is no text cannot be one of ours.
            if let Ok(topic) = std::str::from_utf8(topic) {
                let message = Message { topic: topic.into(), payload: payload.to_vec() };
                self.inbox.push_back(message);
            }
        }
        Ok(event)
    }

    fn lost(&self, problem: &str) -> BrokerError {
        BrokerError::Lost { broker: self.broker.clone(), problem: problem.into() }
    }
}

impl Posted {
    fn under_way(&self) -> usize {
        self.queued.len() + self.written.len()
    }

    fn written(&mut self, packet: u16) {
        match self.queued.pop_front() {
            Some(Some(topic)) => drop(self.written.insert(packet, topic)),
            Some(None) => self.own = Some(packet),
            None => {}
        }
    }

    fn answered(&mut self, ack: &PubAck) -> Result<(), BrokerError> {
        let Some(topic) = self.written.remove(&ack.pkid) else { return Ok(()) };
        match ack.reason {
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
            PubAckReason::NotAuthorized => {
                Err(BrokerError::Forbidden { action: "publish to", topic })
            }
            other => Err(BrokerError::NotPublished { topic, reason: format!("{other:?}") }),
        }
    }
}

/// Runs the client's event loop until it fails or nobody listens.
fn drive(mut events: EventLoop) -> mpsc::Receiver<Result<Event, ConnectionError>> {
    let (tell, told) = mpsc::channel(EVENTS);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.poll() => event,
                () = tell.closed() => return,
            };
            // After an error the client would connect anew: that is not the session any more.
            let failed = event.is_err();
            if tell.send(event).await.is_err() || failed {
                return;
            }
        }
    });
    told
}

/// What the broker does with a message beyond passing it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retain {
    /// Keeps it for those who come later.
    Yes,
    /// Nothing.
    No,
    /// Drops it where it could not be passed on in time.
    Expires(Duration),
}
