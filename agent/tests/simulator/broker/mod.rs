//! A broker: keeps, forgets, doubles, delays and refuses as MQTT allows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mote_agent::link::{Delivery, Publication, Receipt, Settlement, Ticket};
use mote_protocol::frame;
use mote_protocol::node::{Session, Will};
use mote_protocol::status::PodStatus;

use crate::node::IDENTITY;
use crate::universe::Universe;

mod link;
mod rules;
mod session;

pub(crate) use link::SimLink;
use rules::{NOT_AUTHORIZED, Rules};
use session::NodeSession;

/// What every topic of the simulated fleet begins with.
pub(crate) const FLEET: &str = "mote/v1/f/";

pub(crate) fn node_topic(of: &str) -> String {
    format!("{FLEET}n/{of}")
}

#[derive(Default)]
pub(crate) struct Broker {
    /// Topics with what is kept, and which object it is.
    pub(crate) retained: BTreeMap<String, (Vec<u8>, Option<usize>)>,
    /// The network between.
    pub(crate) network: bool,
    /// Who may do what.
    pub(crate) rules: Rules,
    /// Statuses that the node was refused to clear. It forgets such an object all the same: nobody
    /// hears of the end then.
    pub(crate) uncleared: BTreeSet<String>,
    session: Option<NodeSession>,
    pub(crate) connected: Option<Session>,
    /// The connection is broken, which the node has not noticed.
    cut: bool,
    /// Of connections whose end the broker has not noticed, with the boot that they were of.
    wills: Vec<(u32, Session)>,
    uplink: VecDeque<Publication>,
    settled: VecDeque<(Ticket, Settlement)>,
    receipts: u64,
}

impl Universe {
    /// Somebody else publishes.
    pub(crate) fn publish(&mut self, topic: &str, payload: Vec<u8>, said: Option<usize>) {
        self.note(|| format!("operator: {topic} {} bytes, said {said:?}", payload.len()));
        self.spread(topic, payload, said);
    }

    /// A retained message arrives at the broker.
    fn spread(&mut self, topic: &str, payload: Vec<u8>, said: Option<usize>) {
        if payload.is_empty() {
            self.broker.retained.remove(topic);
        } else {
            self.broker.retained.insert(topic.to_owned(), (payload.clone(), said));
        }
        self.offer(topic, payload, said);
    }

    fn offer(&mut self, topic: &str, payload: Vec<u8>, said: Option<usize>) {
        if let Some(session) = &mut self.broker.session {
            session.offer(topic, payload, said);
        }
    }

    /// Somebody edits the broker's access rules. They hold from now on for what is published, and
    /// for subscriptions with the next connection.
    pub(crate) fn rules_change(&mut self) {
        let changed = self.broker.rules.change(&mut self.chance);
        self.note(|| format!("broker: rule {changed:?}"));
    }

    /// The broker restarts with nothing but its configuration.
    pub(crate) fn broker_forgets(&mut self) {
        self.note(|| "broker: forgets everything".into());
        // What was on the way reached it before, or never does.
        self.drop_connection();
        self.broker.retained.clear();
        self.broker.session = None;
        self.broker.wills.clear();
        self.cut();
    }

    /// The broker restarts with all that it had: sessions, retained messages, and its wills are said.
    pub(crate) fn broker_restarts(&mut self) {
        self.say_wills(|_| true);
        self.cut();
    }

    /// The connection breaks, and no will is said for it.
    pub(crate) fn cut(&mut self) {
        self.broker.cut = self.broker.connected.is_some();
    }

    /// What was on the way arrived, or did not.
    fn drop_connection(&mut self) {
        while let Some(publication) = self.broker.uplink.pop_front() {
            if self.chance.one_in(2) {
                break;
            }
            self.take_in(publication);
        }
        self.broker.uplink.clear();
        self.broker.settled.clear();
        if let Some(session) = &mut self.broker.session {
            session.disconnected();
        }
    }

    /// The node is no longer connected; the broker says so now or later.
    pub(crate) fn node_disconnects(&mut self) {
        self.drop_connection();
        let restarted = std::mem::take(&mut self.broker.cut);
        if let Some(session) = self.broker.connected.take()
            && !restarted
        {
            self.broker.wills.push((self.kernel.boot, session));
            if self.chance.one_in(2) {
                self.say_wills(|_| true);
            }
        }
    }

    pub(crate) fn say_wills(&mut self, of: impl Fn(u32) -> bool) {
        let wills = std::mem::take(&mut self.broker.wills);
        let (now, later): (Vec<_>, Vec<_>) = wills.into_iter().partition(|(boot, _)| of(*boot));
        self.broker.wills = later;
        for (_, session) in now {
            self.note(|| format!("broker: will of {session:?}"));
            let will = frame::encode(&Will { session, identity: IDENTITY }).expect("encodes");
            self.spread(&node_topic("will"), will, None);
        }
    }

    /// What the node said arrives.
    fn take_in(&mut self, publication: Publication) {
        let Publication { ticket, topic, payload, retain, delivery } = publication;
        let denied = self.broker.rules.deny(&topic);
        self.note(|| describe(&topic, &payload, denied));
        if delivery == Delivery::AtLeastOnce {
            let no = Settlement::Denied(NOT_AUTHORIZED);
            let settlement = if denied { no } else { Settlement::Delivered };
            self.broker.settled.push_back((ticket, settlement));
        }
        if let Ok(event) = frame::decode(&payload) {
            self.judge.event(&event);
        }
        if let Some(key) = status_key(&topic) {
            self.judge_status(key, &payload, denied);
        }
        if !denied && retain {
            self.spread(&topic, payload, None);
        }
    }

    fn judge_status(&mut self, key: &str, payload: &[u8], denied: bool) {
        if let Ok(status) = frame::decode::<PodStatus>(payload) {
            let running = self.kernel.running().any(|(uid, _, _)| Some(uid) == status.uid);
            self.judge.status(key, &status, running);
            if !denied {
                self.broker.uncleared.remove(key);
            }
        } else if denied {
            self.broker.uncleared.insert(key.to_owned());
        } else {
            self.broker.uncleared.remove(key);
            self.judge.cleared(key);
        }
    }

    fn acknowledge(&mut self, receipt: Receipt) {
        let Some(session) = &mut self.broker.session else { return };
        let Some((topic, said)) = session.acknowledge(receipt) else {
            return self.judge.violation(format!("{receipt:?} is acknowledged and unknown"));
        };
        self.note(|| format!("node: acknowledges {topic} said {said:?}"));
        if let Some(said) = said {
            self.judge.acknowledged(said);
        }
    }

    /// Whether nothing is under way between node and broker.
    pub(crate) fn link_is_quiet(&self) -> bool {
        let broker = &self.broker;
        let heard = broker.session.as_ref().is_none_or(NodeSession::is_empty);
        broker.uplink.is_empty() && broker.settled.is_empty() && heard
    }
}

/// Whose status a topic is of.
fn status_key(topic: &str) -> Option<&str> {
    topic.strip_prefix(FLEET)?.strip_prefix("n/status/").filter(|key| key.contains('/'))
}

fn describe(topic: &str, payload: &[u8], denied: bool) -> String {
    let denied = if denied { "DENIED " } else { "" };
    match frame::decode::<PodStatus>(payload) {
        Ok(s) => format!(
            "node: {denied}{topic} {:?} accepted {:?} refused {:?}",
            s.phase,
            s.accepted.number,
            s.refusal.as_ref().map(|refusal| refusal.reason.to_string())
        ),
        Err(_) => format!("node: {denied}{topic} {} bytes", payload.len()),
    }
}
