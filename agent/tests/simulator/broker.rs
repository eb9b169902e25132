//! A broker, and the node's link to it: keeps, forgets, doubles and delays as MQTT allows.

use std::collections::{BTreeMap, VecDeque};

use mote_agent::link::{Delivery, FromBroker, Link, Publication, Receipt, Settlement, Ticket};
use mote_protocol::frame;
use mote_protocol::node::Session;
use mote_protocol::status::PodStatus;
use tokio::time::Instant;

use crate::universe::{Shared, Universe};

/// A message for the node.
#[derive(Clone, Debug)]
struct Waiting {
    topic: String,
    payload: Vec<u8>,
    retained: bool,
    said: Option<usize>,
    receipt: Option<Receipt>,
}

#[derive(Default)]
pub(crate) struct Broker {
    /// Topics with what is kept, and which object it is.
    pub(crate) retained: BTreeMap<String, (Vec<u8>, Option<usize>)>,
    /// The node's session: what it was not given yet, or did not acknowledge.
    session: Option<VecDeque<Waiting>>,
    /// The network between.
    pub(crate) network: bool,
    /// The retained messages were lost since the node last looked.
    pub(crate) forgot: bool,
    connected: Option<Session>,
    /// The connection is broken, which the node has not noticed.
    cut: bool,
    uplink: VecDeque<Publication>,
    settled: VecDeque<Ticket>,
    receipts: u64,
    connections: u32,
}

/// What operators say is under these topics.
fn is_spec(topic: &str) -> bool {
    topic.contains("/spec/")
}

impl Universe {
    /// Somebody else publishes.
    pub(crate) fn publish(&mut self, topic: &str, payload: Vec<u8>, said: Option<usize>) {
        self.note(|| format!("operator: {topic} {} bytes, said {said:?}", payload.len()));
        if payload.is_empty() {
            self.broker.retained.remove(topic);
        } else {
            self.broker.retained.insert(topic.to_owned(), (payload.clone(), said));
        }
        if let Some(session) = &mut self.broker.session {
            let topic = topic.to_owned();
            session.push_back(Waiting { topic, payload, retained: false, said, receipt: None });
        }
    }

    /// The broker restarts with nothing but its configuration.
    pub(crate) fn broker_forgets(&mut self) {
        self.note(|| "broker: forgets everything".into());
        self.broker.retained.clear();
        self.broker.session = None;
        self.broker.forgot = true;
        self.broker.cut = self.broker.connected.is_some();
        self.drop_connection();
    }

    /// What was on the way arrived, or did not.
    pub(crate) fn drop_connection(&mut self) {
        while let Some(publication) = self.broker.uplink.pop_front() {
            if self.chance.one_in(2) {
                break;
            }
            self.take_in(publication);
        }
        self.broker.uplink.clear();
        self.broker.settled.clear();
        for waiting in self.broker.session.iter_mut().flatten() {
            waiting.receipt = None;
        }
    }

    /// The agent that was connected is no more.
    pub(crate) fn agent_disconnects(&mut self) {
        self.broker.cut = false;
        self.drop_connection();
        self.broker.connected = None;
    }

    fn take_in(&mut self, publication: Publication) {
        let Publication { ticket, topic, payload, retain, delivery } = publication;
        let status = frame::decode::<PodStatus>(&payload);
        self.note(|| match &status {
            Ok(s) => format!(
                "node: {topic} {:?} accepted {:?} refused {:?}",
                s.phase,
                s.accepted.number,
                s.refusal.as_ref().map(|refusal| refusal.reason.to_string())
            ),
            Err(_) => format!("node: {topic} {} bytes", payload.len()),
        });
        if let Ok(status) = status {
            let running = self.kernel.running().any(|(uid, _, _)| Some(uid) == status.uid);
            self.judge.status(&status, running);
        }
        if retain && payload.is_empty() {
            self.broker.retained.remove(&topic);
        } else if retain {
            self.broker.retained.insert(topic, (payload, None));
        }
        if delivery == Delivery::AtLeastOnce {
            self.broker.settled.push_back(ticket);
        }
    }

    fn connect(&mut self, start: u32) -> FromBroker {
        self.broker.connections += 1;
        let session = Session { start, connection: self.broker.connections };
        self.broker.connected = Some(session);
        self.note(|| format!("link: connected {session:?}"));
        if self.broker.session.is_none() {
            let kept = self.broker.retained.iter().filter(|(topic, _)| is_spec(topic));
            let waiting = kept.map(|(topic, (payload, said))| Waiting {
                topic: topic.clone(),
                payload: payload.clone(),
                retained: true,
                said: *said,
                receipt: None,
            });
            self.broker.session = Some(waiting.collect());
        }
        FromBroker::Connected { session, denied: Vec::new() }
    }

    /// The next thing the broker does, if it does something.
    fn heard(&mut self, start: u32) -> Option<FromBroker> {
        let network = self.broker.network && !self.broker.cut;
        match (network, self.broker.connected) {
            (true, None) => return Some(self.connect(start)),
            (false, Some(_)) => {
                self.note(|| "link: lost".into());
                self.broker.cut = false;
                self.agent_disconnects();
                return Some(FromBroker::Lost { reason: "reset".into(), taken_over: false });
            }
            (false, None) => return None,
            (true, Some(_)) => {}
        }
        if let Some(publication) = self.broker.uplink.pop_front() {
            self.take_in(publication);
        }
        if let (Some(ticket), true) = (self.broker.settled.front().copied(), self.chance.one_in(2))
        {
            self.broker.settled.pop_front();
            return Some(FromBroker::Settled { ticket, settlement: Settlement::Delivered });
        }
        self.deliver()
    }

    /// One of the first messages of any topic; messages of one topic keep their order.
    fn deliver(&mut self) -> Option<FromBroker> {
        let session = self.broker.session.as_mut()?;
        let mut first = Vec::new();
        let mut topics = std::collections::BTreeSet::new();
        for (place, waiting) in session.iter().enumerate() {
            if waiting.receipt.is_none() && topics.insert(waiting.topic.as_str()) {
                first.push(place);
            }
        }
        let place = *self.chance.pick(&first)?;
        self.broker.receipts += 1;
        let receipt = Receipt(self.broker.receipts);
        let waiting = session.get_mut(place)?;
        waiting.receipt = Some(receipt);
        let waiting = waiting.clone();
        if self.chance.one_in(16) {
            session.push_back(Waiting { receipt: None, ..waiting.clone() });
        }
        if let Some(said) = waiting.said {
            self.judge.delivered(said);
        }
        self.note(|| format!("link: delivers {} said {:?}", waiting.topic, waiting.said));
        let Waiting { topic, payload, retained, .. } = waiting;
        Some(FromBroker::Received { topic, payload, retained, receipt: Some(receipt) })
    }

    fn acknowledge(&mut self, receipt: Receipt) {
        let Some(session) = &mut self.broker.session else { return };
        let place = session.iter().position(|waiting| waiting.receipt == Some(receipt));
        let Some(waiting) = place.and_then(|place| session.remove(place)) else {
            return self.judge.violation(format!("{receipt:?} is acknowledged and unknown"));
        };
        self.note(|| format!("node: acknowledges {} said {:?}", waiting.topic, waiting.said));
        if let Some(said) = waiting.said {
            self.judge.acknowledged(said);
        }
    }

    fn link_has_work(&self) -> bool {
        let unsent = |waiting: &Waiting| waiting.receipt.is_none();
        let session = self.broker.session.as_ref().is_some_and(|s| s.iter().any(unsent));
        self.broker.cut
            || !self.broker.uplink.is_empty()
            || !self.broker.settled.is_empty()
            || session
    }

    /// Whether nothing is under way between node and broker.
    pub(crate) fn link_is_quiet(&self) -> bool {
        let session = self.broker.session.as_ref().is_none_or(VecDeque::is_empty);
        self.broker.uplink.is_empty() && self.broker.settled.is_empty() && session
    }
}

/// The node's end.
pub(crate) struct SimLink {
    pub(crate) shared: Shared,
    /// Which start of the agent it is of.
    pub(crate) start: u32,
    /// When the broker does the next thing.
    pub(crate) next: Instant,
}

impl Link for SimLink {
    async fn next(&mut self) -> FromBroker {
        loop {
            tokio::time::sleep_until(self.next).await;
            {
                let mut universe = self.shared.get();
                let heard = universe.heard(self.start);
                let busy = universe.broker.network && universe.link_has_work();
                if heard.is_some() || busy {
                    self.next = Instant::now() + universe.chance.pause_ms(32);
                }
                match heard {
                    Some(heard) => return heard,
                    None if busy => continue,
                    None => {}
                }
            }
            self.shared.stirred.notified().await;
        }
    }

    fn publish(&mut self, publication: Publication) -> Result<(), Publication> {
        let mut universe = self.shared.get();
        if universe.broker.connected.is_none() || universe.broker.uplink.len() >= 4 {
            return Err(publication);
        }
        universe.broker.uplink.push_back(publication);
        drop(universe);
        self.shared.stirred.notify_one();
        Ok(())
    }

    fn acknowledge(&mut self, receipt: Receipt) {
        self.shared.get().acknowledge(receipt);
    }
}
