//! The node's link to the broker.

use std::sync::LazyLock;

use mote_agent::link::session::Subscription;
use mote_agent::link::{FromBroker, Link, Publication, Receipt};
use mote_protocol::node::Session;
use tokio::sync::watch;
use tokio::time::Instant;

use super::rules::NOT_AUTHORIZED;
use super::session::Waiting;
use crate::node;
use crate::universe::{Shared, Universe};

/// What a real node subscribes to.
static SUBSCRIPTIONS: LazyLock<Vec<Subscription>> = LazyLock::new(|| {
    let (fleet, node, groups) = node::names();
    Subscription::of_node(&fleet, &node, &groups)
});

/// The node's end.
pub(crate) struct SimLink {
    shared: Shared,
    /// Which start of the agent it is of.
    start: watch::Receiver<u32>,
    /// When the broker does the next thing.
    next: Instant,
    /// The broker is to forget what it kept for the start before.
    clean: bool,
    connections: u32,
    /// A greater session is needed.
    renew: bool,
}

impl SimLink {
    pub(crate) fn new(shared: Shared, start: watch::Receiver<u32>) -> Self {
        let next = Instant::now();
        Self { shared, start, next, clean: true, connections: 0, renew: false }
    }

    /// The next thing the broker does, if it does something, and whether it has more to do.
    fn heard(&mut self) -> (Option<FromBroker>, bool) {
        let mut universe = self.shared.get();
        let heard = match (universe.reachable(), universe.broker.connected) {
            (true, None) => {
                self.connections += 1;
                let start = *self.start.borrow_and_update();
                self.renew = false;
                let session = Session { start, connection: self.connections };
                let clean = std::mem::take(&mut self.clean);
                Some(universe.connect(session, clean))
            }
            (true, Some(_)) if self.renew => Some(universe.lose("a greater session is needed")),
            (false, Some(_)) => Some(universe.lose("reset")),
            (false, None) => None,
            (true, Some(_)) => universe.go_on(),
        };
        let busy = universe.broker.network && universe.link_has_work();
        if heard.is_some() || busy {
            self.next = Instant::now() + universe.chance.pause_ms(32);
        }
        (heard, busy)
    }
}

impl Universe {
    fn reachable(&self) -> bool {
        self.broker.network && !self.broker.cut
    }

    fn lose(&mut self, reason: &str) -> FromBroker {
        self.note(|| format!("link: lost ({reason})"));
        self.node_disconnects();
        FromBroker::Lost { reason: reason.into(), taken_over: false }
    }

    fn connect(&mut self, session: Session, clean: bool) -> FromBroker {
        // Who connects under a client id ends what was connected under it; that of another boot is
        // another one.
        let boot = self.kernel.boot;
        self.say_wills(|of| of == boot);
        self.note(|| format!("link: connected {session:?}, clean {clean}"));
        let broker = &mut self.broker;
        broker.connected = Some(session);
        if clean {
            broker.session = None;
        }
        let mut kept = broker.session.take().unwrap_or_default();
        let mut denied = Vec::new();
        for Subscription { filter, every_time } in SUBSCRIPTIONS.iter() {
            if broker.rules.deny(filter) {
                kept.unsubscribe(filter);
                denied.push((filter.clone(), NOT_AUTHORIZED));
            } else if kept.subscribe(filter) || *every_time {
                kept.give_kept(filter, broker.retained.iter());
            }
        }
        broker.session = Some(kept);
        FromBroker::Connected { session, denied }
    }

    fn go_on(&mut self) -> Option<FromBroker> {
        if !self.broker.wills.is_empty() && self.chance.one_in(8) {
            self.say_wills(|_| true);
        }
        if let Some(publication) = self.broker.uplink.pop_front() {
            self.take_in(publication);
        }
        if !self.broker.settled.is_empty() && self.chance.one_in(2) {
            let (ticket, settlement) = self.broker.settled.pop_front()?;
            return Some(FromBroker::Settled { ticket, settlement });
        }
        self.deliver()
    }

    fn deliver(&mut self) -> Option<FromBroker> {
        self.broker.receipts += 1;
        let receipt = Receipt(self.broker.receipts);
        let waiting = self.broker.session.as_mut()?.deliver(receipt, &mut self.chance)?;
        if let Some(said) = waiting.said {
            self.judge.delivered(said);
        }
        self.note(|| format!("link: delivers {} said {:?}", waiting.topic, waiting.said));
        let Waiting { topic, payload, retained, .. } = waiting;
        Some(FromBroker::Received { topic, payload, retained, receipt: Some(receipt) })
    }

    fn link_has_work(&self) -> bool {
        let broker = &self.broker;
        broker.cut
            || !broker.uplink.is_empty()
            || !broker.settled.is_empty()
            || broker.session.as_ref().is_some_and(super::NodeSession::has_unsent)
    }
}

impl Link for SimLink {
    async fn next(&mut self) -> FromBroker {
        loop {
            tokio::time::sleep_until(self.next).await;
            let (heard, busy) = self.heard();
            if let Some(heard) = heard {
                return heard;
            }
            if busy {
                continue;
            }
            let stirred = std::rc::Rc::clone(&self.shared.stirred);
            tokio::select! {
                biased;
                Ok(()) = self.start.changed() => self.renew = true,
                () = stirred.notified() => {}
            }
        }
    }

    fn publish(&mut self, publication: Publication) -> Result<(), Publication> {
        let mut universe = self.shared.get();
        if universe.broker.connected.is_none() || universe.broker.uplink.len() >= 4 {
            return Err(publication);
        }
        if universe.broker.cut {
            // Nobody reads it, and nobody has noticed.
            return Ok(());
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
