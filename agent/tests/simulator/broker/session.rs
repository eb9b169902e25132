//! What the broker keeps for the node: its subscriptions, and what it was not given yet or did not
//! acknowledge.

use std::collections::{BTreeSet, VecDeque};

use mote_agent::link::Receipt;

use crate::chance::Chance;

/// A message for the node.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) retained: bool,
    pub(super) said: Option<usize>,
    receipt: Option<Receipt>,
}

#[derive(Default)]
pub(super) struct NodeSession {
    filters: BTreeSet<String>,
    queue: VecDeque<Waiting>,
}

/// Whether a topic is one that a filter asks for.
fn matches(filter: &str, topic: &str) -> bool {
    let mut words = topic.split('/');
    for asked in filter.split('/') {
        match (asked, words.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (asked, Some(word)) if asked == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

impl NodeSession {
    /// True where it was not subscribed to before.
    pub(super) fn subscribe(&mut self, filter: &str) -> bool {
        self.filters.insert(filter.to_owned())
    }

    pub(super) fn unsubscribe(&mut self, filter: &str) {
        self.filters.remove(filter);
    }

    /// Gives what is kept on the topics of a filter.
    pub(super) fn give_kept<'a>(
        &mut self,
        filter: &str,
        kept: impl Iterator<Item = (&'a String, &'a (Vec<u8>, Option<usize>))>,
    ) {
        for (topic, (payload, said)) in kept.filter(|(topic, _)| matches(filter, topic)) {
            self.push(topic, payload.clone(), *said, true);
        }
    }

    pub(super) fn offer(&mut self, topic: &str, payload: Vec<u8>, said: Option<usize>) {
        if self.filters.iter().any(|filter| matches(filter, topic)) {
            self.push(topic, payload, said, false);
        }
    }

    fn push(&mut self, topic: &str, payload: Vec<u8>, said: Option<usize>, retained: bool) {
        let topic = topic.to_owned();
        self.queue.push_back(Waiting { topic, payload, retained, said, receipt: None });
    }

    /// One of the first messages of any topic; messages of one topic keep their order.
    pub(super) fn deliver(&mut self, receipt: Receipt, chance: &mut Chance) -> Option<Waiting> {
        let mut topics = BTreeSet::new();
        let unsent = self.queue.iter().enumerate().filter(|(_, w)| w.receipt.is_none());
        let first = unsent.filter(|(_, w)| topics.insert(w.topic.as_str()));
        let first: Vec<_> = first.map(|(place, _)| place).collect();
        let waiting = self.queue.get_mut(*chance.pick(&first)?)?;
        waiting.receipt = Some(receipt);
        let waiting = waiting.clone();
        if chance.one_in(16) {
            self.queue.push_back(Waiting { receipt: None, ..waiting.clone() });
        }
        Some(waiting)
    }

    /// The message that is acknowledged.
    pub(super) fn acknowledge(&mut self, receipt: Receipt) -> Option<(String, Option<usize>)> {
        let place = self.queue.iter().position(|waiting| waiting.receipt == Some(receipt))?;
        self.queue.remove(place).map(|waiting| (waiting.topic, waiting.said))
    }

    /// What was not acknowledged is given again.
    pub(super) fn disconnected(&mut self) {
        for waiting in &mut self.queue {
            waiting.receipt = None;
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.queue.iter().any(|waiting| waiting.receipt.is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
