//! One connection: its options, its subscriptions, and what the broker says while it lasts.
//!
//! Every connection has an event loop of its own, so nothing of an old one (packet ids, topic
//! aliases, a collision) can reach a new one. What was not settled is not sent again from here:
//! the outbox owes it again.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use mote_protocol::frame;
use mote_protocol::limits::MAX_OBJECT;
use mote_protocol::node::{Session, Will};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Filter, LastWill, Packet, RetainForwardRule, SubAck,
};
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, TlsError as TransportError,
};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::code::{refused_filter, refused_publish};
use super::error::LinkError;
use super::tls;
use super::{LinkOptions, Subscription};
use crate::daytime::Daytime;

/// Messages that may be under way in each direction. rumqttc reserves tables for as many as it is
/// allowed: at its default of 65,535 they cost 14 MiB.
pub(super) const WINDOW: u16 = 16;

/// Messages without acknowledgement that may wait to be sent.
pub(super) const UNSURE: usize = 8;

/// What rumqttc's queue must hold: a window of publishes, one of acknowledgements, those without
/// acknowledgement, and the subscription.
const QUEUE: usize = 2 * WINDOW as usize + UNSURE + 1;

/// Longest packet that the broker may send: an object, its signature, its topic (below 600 bytes)
/// and properties that we do not read. The broker withholds longer ones.
const MAX_PACKET: usize = MAX_OBJECT + 4096;

/// Longest password file.
const MAX_PASSWORD: u64 = 4096;

/// What the broker did, for [`super::MqttLink`] to make sense of.
pub(super) enum Happened {
    /// A connection stands, the subscriptions were answered.
    Up(Box<Terms>),
    /// A publish of ours was written under this packet id; 0 where it has none.
    Written(u16),
    /// The broker answered a publish of ours; the code where it refused it.
    Answered { packet: u16, refused: Option<u8> },
    /// A message came; with a packet id where it wants an acknowledgement.
    Received { topic: Bytes, payload: Bytes, retained: bool, packet: Option<u16> },
    /// The connection is gone.
    Down { reason: String, taken_over: bool },
    /// A connection did not come about.
    Failed { reason: String },
}

/// What was agreed on for a connection.
pub(super) struct Terms {
    pub(super) session: Session,
    pub(super) client: AsyncClient,
    /// Publishes that may be under way.
    pub(super) window: usize,
    /// Longest packet that the broker takes.
    pub(super) max_packet: usize,
    /// Filters that it refused, with its reason code.
    pub(super) denied: Vec<(String, u8)>,
}

impl Happened {
    /// What the other half must know of; the rest is the protocol's own business.
    fn from(event: Event) -> Option<Self> {
        match event {
            Event::Outgoing(Outgoing::Publish(packet)) => Some(Self::Written(packet)),
            Event::Incoming(Packet::PubAck(answer)) => Some(Self::Answered {
                packet: answer.pkid,
                refused: refused_publish(answer.reason),
            }),
            Event::Incoming(Packet::Publish(publish)) => Some(Self::Received {
                topic: publish.topic,
                payload: publish.payload,
                retained: publish.retain,
                packet: (publish.qos == QoS::AtLeastOnce).then_some(publish.pkid),
            }),
            _ => None,
        }
    }
}

/// One connection from CONNECT on.
pub(super) struct Connection<'a> {
    pub(super) options: &'a LinkOptions,
    pub(super) session: Session,
    /// The broker forgets what it kept for us.
    pub(super) clean: bool,
    pub(super) daytime: Daytime,
    pub(super) happened: &'a mpsc::Sender<Happened>,
}

impl Connection<'_> {
    /// Connects, subscribes, and passes on what happens until the connection is gone.
    pub(super) async fn run(&self, connected: &mut bool) -> LinkError {
        match self.serve(connected).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn serve(&self, connected: &mut bool) -> Result<std::convert::Infallible, LinkError> {
        let (client, mut events) = AsyncClient::new(self.mqtt_options()?, QUEUE);
        let connack = loop {
            let event = events.poll().await.map_err(|error| self.explained(error))?;
            if let Event::Incoming(Packet::ConnAck(connack)) = event {
                break connack;
            }
        };
        let properties = agreed(connack)?;
        let deadline = self.options.broker.connect_timeout;
        let early = timeout(deadline, self.subscribe(&client, &mut events))
            .await
            .map_err(|_| LinkError::Timeout)??;
        *connected = true;
        self.tell(Happened::Up(Box::new(Terms {
            session: self.session,
            client,
            window: properties.receive_max.unwrap_or(WINDOW).min(WINDOW).into(),
            max_packet: properties.max_packet_size.map_or(usize::MAX, |max| max as usize),
            denied: early.denied,
        })))
        .await;
        for happened in early.happened {
            self.tell(happened).await;
        }
        loop {
            if let Some(happened) = Happened::from(events.poll().await?) {
                self.tell(happened).await;
            }
        }
    }

    fn explained(&self, error: ConnectionError) -> LinkError {
        match error {
            ConnectionError::Tls(TransportError::Io(error)) => {
                let error = tls::explain(error, &self.daytime);
                LinkError::Handshake(TransportError::Io(error))
            }
            other => other.into(),
        }
    }

    async fn tell(&self, happened: Happened) {
        // Nobody listens only while the agent ends, and this task with it.
        let _ = self.happened.send(happened).await;
    }

    /// Subscribes to everything in one packet and waits for the answer. The broker may deliver
    /// before it answers.
    async fn subscribe(
        &self,
        client: &AsyncClient,
        events: &mut EventLoop,
    ) -> Result<Early, LinkError> {
        let filters = self.options.subscriptions.iter().map(filter);
        // Fails only where the queue is full, and it is empty.
        let _ = client.try_subscribe_many(filters);
        let mut early = Early::default();
        loop {
            match events.poll().await? {
                Event::Incoming(Packet::SubAck(answer)) => {
                    early.denied = denied(&self.options.subscriptions, &answer);
                    return Ok(early);
                }
                event => early.keep(event),
            }
        }
    }

    fn mqtt_options(&self) -> Result<MqttOptions, LinkError> {
        let LinkOptions { broker, client_id, .. } = self.options;
        let mut options = MqttOptions::new(client_id, &broker.url.host, broker.url.port);
        options
            .set_keep_alive(broker.keep_alive)
            .set_connection_timeout(broker.connect_timeout.as_secs())
            .set_clean_start(self.clean)
            .set_session_expiry_interval(Some(seconds(broker.session_expiry)))
            .set_receive_maximum(Some(WINDOW))
            .set_outgoing_inflight_upper_limit(WINDOW)
            .set_max_packet_size(u32::try_from(MAX_PACKET).ok())
            .set_manual_acks(true)
            .set_last_will(self.will());
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if broker.url.tls {
            let config = TlsConfiguration::Rustls(tls::client_config(broker, &self.daytime)?);
            options.set_transport(Transport::tls_with_config(config));
        }
        if let Some(login) = &broker.login {
            let password = match &login.password_file {
                Some(path) => read_password(path)
                    .map_err(|source| LinkError::Password { path: path.clone(), source })?,
                None => String::new(),
            };
            options.set_credentials(&login.username, password);
        }
        Ok(options)
    }

    fn will(&self) -> LastWill {
        let will = Will { session: self.session, identity: self.options.identity };
        // Two numbers and eight bytes: it encodes, and well below any limit.
        let payload = frame::encode(&will).unwrap_or_default();
        LastWill::new(&self.options.will_topic, payload, QoS::AtLeastOnce, true, None)
    }
}

/// What came before the subscriptions were answered.
#[derive(Default)]
struct Early {
    happened: Vec<Happened>,
    denied: Vec<(String, u8)>,
}

impl Early {
    fn keep(&mut self, event: Event) {
        // The window bounds the messages with acknowledgement; one without may be dropped.
        if self.happened.len() < 2 * usize::from(WINDOW) {
            self.happened.extend(Happened::from(event));
        }
    }
}

/// What the broker can do, if that is enough.
pub(super) fn agreed(connack: ConnAck) -> Result<ConnAckProperties, LinkError> {
    let Some(properties) = connack.properties else { return Ok(no_properties()) };
    if properties.retain_available == Some(0) {
        return Err(LinkError::Unsupported("retained messages"));
    }
    if properties.max_qos == Some(0) {
        return Err(LinkError::Unsupported("QoS 1"));
    }
    if properties.wildcard_subscription_available == Some(0) {
        return Err(LinkError::Unsupported("wildcard subscriptions"));
    }
    Ok(properties)
}

fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

fn filter(subscription: &Subscription) -> Filter {
    let mut filter = Filter::new(&subscription.filter, QoS::AtLeastOnce);
    filter.retain_forward_rule = if subscription.every_time {
        RetainForwardRule::OnEverySubscribe
    } else {
        RetainForwardRule::OnNewSubscribe
    };
    filter
}

fn denied(subscriptions: &[Subscription], answer: &SubAck) -> Vec<(String, u8)> {
    let answers = subscriptions.iter().zip(&answer.return_codes);
    answers
        .filter_map(|(asked, code)| Some((asked.filter.clone(), refused_filter(*code)?)))
        .collect()
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// The first line of the file.
pub(super) fn read_password(path: &std::path::Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_PASSWORD).read_to_string(&mut text)?;
    text.truncate(text.find(['\r', '\n']).unwrap_or(text.len()));
    Ok(text)
}
