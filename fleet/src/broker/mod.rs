//! A short conversation with a broker.
//!
//! A [`Session`] belongs to one command: it connects, asks, and is gone. Everything it does is
//! bounded in time, and nothing runs beside the caller: each call turns the client's event loop
//! until its own answer is there and keeps what arrives meanwhile for [`Session::next`].
//!
//! MQTT does not say when the last retained message of a subscription was sent. Messages keep
//! their order, though: a listing ends when a message that the session sends itself after
//! subscribing comes back (the barrier).

mod error;
mod tls;

use std::collections::VecDeque;
use std::time::Duration;

use mote_protocol::limits;
use mote_protocol::name::RequestId;
use mote_protocol::topic::{Address, Scope, Topic};
use ring::rand::{SecureRandom as _, SystemRandom};
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Filter, Packet, PubAckReason, Publish, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::time::{Instant, timeout_at};

use crate::context::{BrokerUrl, Context};
pub use error::BrokerError;

/// Messages that may be in flight in each direction.
const IN_FLIGHT: u16 = 16;

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
    events: EventLoop,
    broker: BrokerUrl,
    timeout: Duration,
    id: RequestId,
    barrier: String,
    barriers: u32,
    inbox: VecDeque<Message>,
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
        let id = random_id();
        let mut options =
            MqttOptions::new(id.as_str(), context.broker.host.as_str(), context.broker.port);
        options.set_transport(tls::transport(context)?);
        options.set_connection_timeout(timeout.as_secs().max(1));
        options.set_clean_start(true);
        options.set_receive_maximum(Some(IN_FLIGHT));
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
        options.set_max_packet_size(u32::try_from(MAX_PACKET).ok());
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
            events,
            broker,
            timeout,
            id,
            barrier: address.to_string(),
            barriers: 0,
            inbox: VecDeque::new(),
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
        let mut sent = None;
        loop {
            match self.turn(deadline).await? {
                Event::Outgoing(Outgoing::Publish(id)) => sent = Some(id),
                Event::Incoming(Packet::PubAck(ack)) if Some(ack.pkid) == sent => {
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

    /// The next message; `None` where none came until `deadline`.
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
                None => Ok(self.events.poll().await),
                Some(deadline) => timeout_at(deadline, self.events.poll()).await,
            };
            match turned {
                Err(_) => return Ok(None),
                Ok(event) => self.keep(event)?,
            };
        }
    }

    /// Ends the session in order, so that the broker forgets it at once.
    pub async fn close(mut self) {
        let deadline = Instant::now() + self.timeout;
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
        match timeout_at(deadline, self.events.poll()).await {
            Ok(event) => self.keep(event),
            Err(_) => {
                Err(BrokerError::Timeout { broker: self.broker.clone(), after: self.timeout })
            }
        }
    }

    /// Puts a message into the inbox and hands the event on.
    fn keep(
        &mut self,
        event: Result<Event, rumqttc::v5::ConnectionError>,
    ) -> Result<Event, BrokerError> {
        let event = match event {
            Ok(event) => event,
            Err(rumqttc::v5::ConnectionError::Timeout(_)) => {
                let broker = self.broker.clone();
                return Err(BrokerError::Timeout { broker, after: self.timeout });
            }
            Err(error) => return Err(BrokerError::from_connection(&self.broker, error)),
        };
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
