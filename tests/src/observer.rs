//! What an MQTT client sees of a fleet, and what it can say to it.
//!
//! Subscribes to everything below `mote/v1/{fleet}` and keeps the latest payload of each topic and
//! all messages in their order. It connects again by itself, and then begins with an empty view:
//! what it shows is what the broker has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mote_protocol::frame::{self, Body};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, Publish};
use rumqttc::v5::{Client, Connection, Event, MqttOptions};

use crate::wait::{Deadline, Watched};

/// Larger than anything a test sends.
const MAX_PACKET: u32 = 64 * 1024 * 1024;

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(50);

/// One message, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// The broker had kept it.
    pub retained: bool,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct View {
    /// Latest payload of each topic since the last connection; cleared topics are absent.
    pub latest: BTreeMap<String, Vec<u8>>,
    /// Every message, oldest first, over all connections.
    pub history: Vec<Message>,
    connected: bool,
    connections: u32,
    acknowledged: u64,
}

impl View {
    /// The latest body on a topic; none where there is no payload or it does not decode.
    pub fn body<B: Body>(&self, topic: &str) -> Option<B> {
        self.latest.get(topic).and_then(|payload| frame::decode(payload).ok())
    }

    /// Every body that was ever seen on a topic, oldest first.
    pub fn bodies<B: Body>(&self, topic: &str) -> Vec<B> {
        let on_topic = self.history.iter().filter(|message| message.topic == topic);
        on_topic.filter_map(|message| frame::decode(&message.payload).ok()).collect()
    }
}

/// A client of the broker that watches one fleet.
pub struct Observer {
    client: Client,
    view: Arc<Watched<View>>,
    root: String,
    published: std::sync::Mutex<u64>,
    /// Dropped to end the thread.
    _stop: Sender<()>,
}

impl Observer {
    /// Connects, and returns once it is subscribed and has seen what was retained.
    pub fn connect(broker: SocketAddr, fleet: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("observer-{}-{number}", std::process::id());
        let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(Some(MAX_PACKET));
        let (client, connection) = Client::new(options, 1000);
        let view = Arc::new(Watched::new(View::default()));
        let (stop, stopped) = channel();
        let root = format!("mote/v1/{fleet}");
        let listener = Listener { client: client.clone(), view: view.clone(), root: root.clone() };
        thread::spawn(move || listener.run(connection, &stopped));
        let observer =
            Self { client, view, root, published: std::sync::Mutex::new(0), _stop: stop };
        observer.wait("the first connection", |view| view.connected.then_some(()))?;
        observer.barrier()?;
        Ok(observer)
    }

    /// Waits until `pick` finds what it looks for.
    pub fn wait<R>(&self, what: &str, pick: impl FnMut(&View) -> Option<R>) -> Result<R> {
        self.wait_until(Deadline::patient(), what, pick)
    }

    /// The same, for so long.
    pub fn wait_until<R>(
        &self,
        deadline: Deadline,
        what: &str,
        pick: impl FnMut(&View) -> Option<R>,
    ) -> Result<R> {
        self.view.wait(deadline, what, pick).with_context(|| self.summary())
    }

    /// Looks at what was seen so far.
    pub fn look<R>(&self, look: impl FnOnce(&View) -> R) -> R {
        look(&self.view.lock())
    }

    /// Publishes at `QoS` 1 and waits until the broker has it.
    pub fn publish(&self, topic: &str, payload: &[u8], retain: bool) -> Result<()> {
        let mut published = self.published.lock().expect("no panic while it is held");
        let goal = self.look(|view| view.acknowledged).max(*published) + 1;
        *published = goal;
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, payload.to_vec())
            .with_context(|| format!("publish to {topic}"))?;
        self.wait("the broker's acknowledgement", |view| (view.acknowledged >= goal).then_some(()))
    }

    /// Publishes what the broker is to keep.
    pub fn publish_retained(&self, topic: &str, payload: &[u8]) -> Result<()> {
        self.publish(topic, payload, true)
    }

    /// How often it connected so far.
    pub fn connections(&self) -> u32 {
        self.look(|view| view.connections)
    }

    /// Waits until it has connected more often than that: what it shows then is what the broker
    /// of now has.
    pub fn wait_for_connection(&self, before: u32) -> Result<()> {
        self.wait("another connection", |view| (view.connections > before).then_some(()))
    }

    /// Everything the broker keeps for the fleet, after a barrier: nothing is still on its way.
    pub fn retained(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        self.barrier()?;
        Ok(self.look(|view| view.latest.clone()))
    }

    /// Publishes to itself and waits for it: all that the broker sent before has then arrived.
    pub fn barrier(&self) -> Result<()> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let topic = format!("{}/@observer/barrier-{}-{number}", self.root, std::process::id());
        self.publish(&topic, b"here", false)?;
        self.wait("the barrier", |view| {
            view.history.iter().any(|message| message.topic == topic).then_some(())
        })?;
        self.view.update(|view| {
            view.latest.remove(&topic);
            view.history.retain(|message| message.topic != topic);
        });
        Ok(())
    }

    fn summary(&self) -> String {
        let view = self.view.lock();
        let lines = view
            .history
            .iter()
            .rev()
            .take(40)
            .rev()
            .map(|message| format!("  {} ({} bytes)", message.topic, message.payload.len()));
        format!("last messages seen:\n{}", lines.collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // The thread ends with the connection; where there is none, with the channel.
        let _ = self.client.try_disconnect();
    }
}

struct Listener {
    client: Client,
    view: Arc<Watched<View>>,
    root: String,
}

impl Listener {
    fn run(self, mut connection: Connection, stopped: &Receiver<()>) {
        for event in connection.iter() {
            match event {
                Ok(Event::Incoming(packet)) => self.take(packet),
                Ok(Event::Outgoing(_)) => {}
                Err(_) => {
                    self.view.update(|view| view.connected = false);
                    match stopped.recv_timeout(RETRY) {
                        Err(RecvTimeoutError::Timeout) => {}
                        _ => return,
                    }
                }
            }
        }
    }

    fn take(&self, packet: Packet) {
        match packet {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {
                self.view.update(|view| view.latest.clear());
                // The channel holds far more requests than a test ever has in flight.
                let _ = self.client.try_subscribe(format!("{}/#", self.root), QoS::AtLeastOnce);
            }
            Packet::SubAck(_) => self.view.update(|view| {
                view.connected = true;
                view.connections += 1;
            }),
            Packet::PubAck(_) => self.view.update(|view| view.acknowledged += 1),
            Packet::Publish(publish) => self.keep(&publish),
            _ => {}
        }
    }

    fn keep(&self, publish: &Publish) {
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let payload = publish.payload.to_vec();
        self.view.update(|view| {
            if payload.is_empty() {
                view.latest.remove(&topic);
            } else {
                view.latest.insert(topic.clone(), payload.clone());
            }
            view.history.push(Message { topic, payload, retained: publish.retain });
        });
    }
}
