//! A node as a broker sees it: it says that it is there, and what it makes of what it is asked.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mote_protocol::command::{Answer, Command, Reply, Request};
use mote_protocol::doctor::Finding;
use mote_protocol::event::Event;
use mote_protocol::frame::{self, Body};
use mote_protocol::name::{FleetName, GroupName, Kind, NodeName, ObjectKey, RequestId, Uid};
use mote_protocol::node::{
    Birth, NodeAddress, NodeCondition, NodeConditionStatus, NodeInfo, NodeStatus, Session, Will,
};
use mote_protocol::object::{Intent, Object, Pod, Revision};
use mote_protocol::status::{ObjectStatus, PodStatus, Refusal};
use mote_protocol::topic::{Address, Direction, Scope, Topic};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet, Publish};
use rumqttc::v5::{AsyncClient, Event as Turn, EventLoop, MqttOptions};

use crate::streams::Streams;
use crate::told::{backed_off, running};
use crate::used;

/// What a node makes of what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It does it at once.
    Obeys,
    /// It refuses every object.
    Refuses,
    /// It does not answer.
    Ignores,
    /// It does not know the newest commands.
    IsOld,
    /// It says that it has something else, as after a write by somebody faster.
    Prefers,
}

/// A node that lives until it is dropped, when its will is published.
pub(crate) struct FakeNode {
    orders: tokio::sync::mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<()>>,
    address: Address,
    ended: mpsc::Receiver<String>,
}

/// What a test makes a node do.
enum Order {
    Publish(String, Vec<u8>, bool),
    Obey,
    Vanish,
}

struct Life {
    client: AsyncClient,
    events: EventLoop,
    fleet: FleetName,
    name: NodeName,
    behaviour: Behaviour,
    /// Its groups; none where it does not say.
    groups: Option<Vec<GroupName>>,
    uids: BTreeMap<ObjectKey, Uid>,
    streams: Streams,
}

/// Boot of every node: ten minutes ago.
pub(crate) fn boot_epoch() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("before the end of time") - 600
}

const SESSION: Session = Session { start: 1, connection: 1 };

impl FakeNode {
    /// A node in some groups, or one that does not say in which.
    pub(crate) fn start(
        port: u16,
        fleet: &str,
        name: &str,
        groups: Option<&[&str]>,
        behaviour: Behaviour,
    ) -> Self {
        let groups: Option<Vec<_>> = groups.map(|groups| {
            groups.iter().map(|group| GroupName::new(group).expect("group")).collect()
        });
        let fleet = FleetName::new(fleet).expect("fleet");
        let name = NodeName::new(name).expect("node");
        let address =
            Address { fleet: fleet.clone(), scope: Scope::Node(name.clone()), topic: Topic::Will };
        let (orders, inbox) = tokio::sync::mpsc::unbounded_channel();
        let (ready, is_ready) = mpsc::channel();
        let (tell_ended, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("runtime").block_on(async {
                let mut life = Life::begin(port, fleet, name, groups, behaviour, tell_ended).await;
                ready.send(()).expect("the test waits");
                life.live(inbox).await;
            });
        });
        is_ready.recv_timeout(Duration::from_secs(10)).expect("the node is up");
        Self { orders, thread: Some(thread), address, ended }
    }

    /// Says something on one of its topics.
    pub(crate) fn say<B: Body>(&self, topic: Topic, body: &B) {
        let address = Address { topic, ..self.address.clone() };
        let order =
            Order::Publish(address.to_string(), frame::encode(body).expect("encodes"), true);
        self.orders.send(order).expect("the node lives");
    }

    /// Why a reader ended a stream; waits until one does.
    pub(crate) fn stream_ended(&self) -> String {
        self.ended.recv_timeout(Duration::from_secs(10)).expect("a reader ends its stream")
    }

    fn end(&mut self) {
        let _ = self.orders.send(Order::Vanish);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Says something that the broker does not keep.
    pub(crate) fn tell<B: Body>(&self, topic: Topic, body: &B) {
        let address = Address { topic, ..self.address.clone() };
        let payload = frame::encode(body).expect("encodes");
        self.orders.send(Order::Publish(address.to_string(), payload, false)).expect("it lives");
    }

    /// Does from now on what it is asked.
    pub(crate) fn relents(&self) {
        self.orders.send(Order::Obey).expect("the node lives");
    }

    /// Goes offline, as seen by everybody: its will is out.
    pub(crate) fn vanish(mut self) {
        self.end();
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.end();
    }
}

impl Life {
    async fn begin(
        port: u16,
        fleet: FleetName,
        name: NodeName,
        groups: Option<Vec<GroupName>>,
        behaviour: Behaviour,
        ended: mpsc::Sender<String>,
    ) -> Self {
        let mut options = MqttOptions::new(format!("node-{name}"), "127.0.0.1", port);
        let scope = Scope::Node(name.clone());
        let will = Address { fleet: fleet.clone(), scope, topic: Topic::Will };
        let payload =
            frame::encode(&Will { session: SESSION, ..Will::default() }).expect("encodes");
        options.set_last_will(LastWill::new(
            will.to_string(),
            payload,
            QoS::AtLeastOnce,
            true,
            None,
        ));
        options.set_max_packet_size(Some(2 * 1024 * 1024));
        let (client, events) = AsyncClient::new(options, 8192);
        let (uids, streams) = (BTreeMap::new(), Streams::new(ended));
        let mut life = Self { client, events, fleet, name, behaviour, groups, uids, streams };
        life.introduce().await;
        life
    }

    fn topic(&self, topic: Topic) -> String {
        let scope = Scope::Node(self.name.clone());
        Address { fleet: self.fleet.clone(), scope, topic }.to_string()
    }

    fn say<B: Body>(&self, topic: Topic, body: &B) {
        let payload = frame::encode(body).expect("encodes");
        let (topic, qos) = (self.topic(topic), QoS::AtLeastOnce);
        self.client.try_publish(topic, qos, true, payload).expect("room");
    }

    async fn introduce(&mut self) {
        let word = |text: &str| text.into();
        let mut birth = Birth {
            session: SESSION,
            boot_epoch: boot_epoch(),
            clock_trusted: true,
            heartbeat_s: 300,
            pod_schemas: (1, 1),
            info: NodeInfo {
                agent: word("v0.1.0"),
                runtime: word("mote://0.1.0"),
                kernel: word("6.6.31"),
                os_image: word("Debian GNU/Linux 12 (bookworm)"),
                architecture: word("arm64"),
                ..NodeInfo::default()
            },
            labels: BTreeMap::from([
                ("kubernetes.io/hostname".into(), self.name.to_string()),
                ("node-role.kubernetes.io/edge".into(), String::new()),
            ]),
            ..Birth::default()
        };
        let ready = NodeConditionStatus {
            condition: NodeCondition::Ready,
            truth: true,
            since: 0,
            reason: "".into(),
            message: "".into(),
        };
        let mut status = NodeStatus { session: SESSION, ..NodeStatus::default() };
        status
            .addresses
            .push(NodeAddress::InternalIp("10.0.0.7".parse().expect("ip")))
            .expect("room");
        status.conditions.push(ready).expect("room");
        status.capacity.cpu_milli = 4000;
        if let Some(groups) = &self.groups {
            birth.set_groups(groups);
        }
        self.say(Topic::Birth, &birth);
        self.say(Topic::NodeStatus, &status);
        let groups = self.groups.iter().flatten().cloned().map(Scope::Group);
        let scopes: Vec<_> =
            [Scope::Node(self.name.clone()), Scope::All].into_iter().chain(groups).collect();
        for scope in &scopes {
            for below in ["spec/#", "command/+", "stream/+/in"] {
                let filter = format!("mote/v1/{}/{scope}/{below}", self.fleet);
                self.client.try_subscribe(filter, QoS::AtLeastOnce).expect("room");
            }
        }
        // Everything it said was taken when the last of its subscriptions and two messages is.
        let mut pending = 3 * scopes.len() + 2;
        while pending > 0 {
            match self.events.poll().await.expect("the broker is there") {
                Turn::Incoming(Packet::SubAck(_) | Packet::PubAck(_)) => pending -= 1,
                Turn::Incoming(Packet::Publish(publish)) => self.hear(&publish),
                _ => {}
            }
        }
    }

    async fn live(&mut self, mut orders: tokio::sync::mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Publish(topic, payload, retain)) => {
                        let sent = self.client.try_publish(topic, QoS::AtLeastOnce, retain, payload);
                        sent.expect("room");
                    }
                    Some(Order::Obey) => self.behaviour = Behaviour::Obeys,
                    // Dropping the connection without a word makes the broker publish the will.
                    Some(Order::Vanish) | None => return,
                },
                event = self.events.poll() => match event {
                    Ok(Turn::Incoming(Packet::Publish(publish))) => self.hear(&publish),
                    Ok(_) => {}
                    Err(_) => return,
                },
            }
        }
    }

    fn hear(&mut self, publish: &Publish) {
        let topic = std::str::from_utf8(&publish.topic).expect("text");
        let key = match Address::parse(topic).map(|address| address.topic) {
            Ok(Topic::Spec(key)) => key,
            Ok(Topic::Command(id)) => return self.answer(&id, &publish.payload),
            Ok(Topic::Stream(id, Direction::In)) => {
                self.streams.hear(&id, &publish.payload);
                return self.stream(&id);
            }
            _ => return,
        };
        if publish.payload.is_empty() || self.behaviour == Behaviour::Ignores {
            return;
        }
        let object: Object = frame::decode(&publish.payload).expect("an object");
        match &object.intent {
            Intent::Delete { .. } => {
                self.uids.remove(&key);
                let (topic, qos) = (self.topic(Topic::Status(key)), QoS::AtLeastOnce);
                self.client.try_publish(topic, qos, true, Vec::new()).expect("room");
            }
            Intent::Apply { schema, body } => match key.kind {
                Kind::Pod => {
                    let pod = Pod::decode(*schema, body).expect("a pod");
                    let status = self.status(&key, &object, &pod);
                    self.say(Topic::Status(key), &status);
                }
                Kind::ConfigMap | Kind::Secret | Kind::Service => {
                    let status = self.object_status(&object);
                    self.say(Topic::Status(key), &status);
                }
            },
        }
    }

    /// Answers a command as a node would: in parts, which may overtake each other.
    fn answer(&mut self, id: &RequestId, payload: &[u8]) {
        if self.behaviour == Behaviour::Ignores {
            return;
        }
        let command: Command = frame::decode(payload).expect("a command");
        let part = |part, last, answer| Reply {
            part,
            last,
            answer,
            extensions: command.extensions.clone(),
        };
        if let (Request::Logs(asked), Behaviour::Obeys) = (&command.request, self.behaviour) {
            let reply = part(0, true, self.streams.open(id, asked));
            let payload = frame::encode(&reply).expect("encodes");
            let topic = self.topic(Topic::Reply(id.clone()));
            self.client.try_publish(topic, QoS::AtLeastOnce, false, payload).expect("room");
            return self.stream(id);
        }
        let parts = if command.request == Request::Usage {
            let told = used::measured(self.uids.keys(), self.behaviour).into_iter().rev();
            told.map(|(number, last, answer)| part(number, last, answer)).collect()
        } else if command.request == Request::Doctor {
            self.examined().into_iter().map(|answer| part(0, true, answer)).collect()
        } else if self.behaviour == Behaviour::Refuses || command.session != SESSION {
            let (reason, message) = ("Forbidden".into(), "not today".into());
            vec![part(0, true, Answer::Refused { reason, message })]
        } else {
            let events = |event| Answer::Events(vec![event]);
            vec![part(1, true, events(backed_off())), part(0, false, events(Event::default()))]
        };
        for reply in parts {
            let payload = frame::encode(&reply).expect("encodes");
            let topic = self.topic(Topic::Reply(id.clone()));
            self.client.try_publish(topic, QoS::AtLeastOnce, false, payload).expect("room");
        }
    }

    /// What ails it.
    fn examined(&self) -> Option<Answer> {
        let refused = |reason: &str, message: &str| Answer::Refused {
            reason: reason.into(),
            message: message.into(),
        };
        Some(match self.behaviour {
            Behaviour::Ignores => return None,
            Behaviour::IsOld => refused("MalformedBody", "body cannot be decoded"),
            Behaviour::Refuses => {
                let remedy = "remove something";
                Answer::Findings(vec![Finding::problem("DiskFull", "no room", remedy)])
            }
            _ => Answer::Findings(vec![Finding::hint("ClockNotSynchronized", "nobody", "")]),
        })
    }

    fn stream(&mut self, id: &RequestId) {
        let topic = self.topic(Topic::Stream(id.clone(), Direction::Out));
        for frame in self.streams.due(id) {
            let payload = frame::encode(&frame).expect("encodes");
            self.client.try_publish(&topic, QoS::AtLeastOnce, false, payload).expect("room");
        }
    }

    fn status(&mut self, key: &ObjectKey, object: &Object, pod: &Pod) -> PodStatus {
        if self.behaviour == Behaviour::Refuses {
            let refusal = Refusal {
                seen: object.revision,
                reason: "Unsupported".into(),
                field: "spec.hostIPC".into(),
                message: "this node does not do that".into(),
            };
            return PodStatus { refusal: Some(refusal), ..PodStatus::default() };
        }
        let accepted = self.accepted(object);
        let next = u8::try_from(self.uids.len()).expect("few");
        let uid = *self.uids.entry(key.clone()).or_insert(Uid::from_random([next; 16]));
        let uid = object.uid.unwrap_or(uid);
        self.uids.insert(key.clone(), uid);
        running(accepted, uid, pod)
    }

    fn accepted(&self, object: &Object) -> Revision {
        let mut accepted = object.revision;
        if self.behaviour == Behaviour::Prefers {
            accepted.number += 1;
            accepted.hash.0[0] ^= 1;
        }
        accepted
    }

    fn object_status(&self, object: &Object) -> ObjectStatus {
        if self.behaviour == Behaviour::Refuses {
            let refusal = Refusal {
                seen: object.revision,
                reason: "TooLarge".into(),
                field: "data".into(),
                message: "the node has no room".into(),
            };
            return ObjectStatus { refusal: Some(refusal), ..ObjectStatus::default() };
        }
        ObjectStatus { accepted: self.accepted(object), ..ObjectStatus::default() }
    }
}
