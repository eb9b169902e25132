//! How the node stands with the broker: what people ask who want to know what ails it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Steward, World};

/// Refused topics that are remembered: more than a node has that are not of one kind.
const MAX_DENIED: usize = 64;

/// How the node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// It has a connection.
    pub connected: bool,
    /// Why it has none, as far as it knows.
    pub trouble: Option<String>,
    /// What the broker refuses it.
    pub denied: Vec<Denied>,
    /// Writing to flash fails.
    pub storage_failing: bool,
    /// What pods lack of their network, or services of theirs: reason and message.
    pub network: Option<(String, String)>,
}

/// Something that the broker refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// A topic, or a filter.
    pub topic: String,
    /// The MQTT 5 reason code.
    pub code: u8,
    /// To send what is there, not to take what we say.
    pub to_read: bool,
}

/// What the steward remembers of it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    trouble: Option<String>,
    /// By topic and whether it was to be read.
    denied: BTreeMap<(String, bool), u8>,
}

impl Memory {
    /// A connection stands; these filters were refused.
    pub(super) fn connected(&mut self, filters: &[(String, u8)]) {
        let denied = filters.iter().map(|(filter, code)| ((filter.clone(), true), *code));
        (self.trouble, self.denied) = (None, denied.take(MAX_DENIED).collect());
    }

    /// There is none, and this is why.
    pub(super) fn failed(&mut self, reason: String) {
        self.trouble = Some(reason);
    }

    /// The broker would not take a message.
    pub(super) fn denied(&mut self, topic: &str, code: u8) {
        if self.denied.len() < MAX_DENIED {
            self.denied.insert((topic.to_owned(), false), code);
        }
    }

    /// It took one.
    pub(super) fn delivered(&mut self, topic: &str) {
        // Nearly always nothing is refused, and then nothing is made to look for it.
        if !self.denied.is_empty() {
            self.denied.remove(&(topic.to_owned(), false));
        }
    }
}

impl<W: World> Steward<W> {
    pub(super) fn standing(&self) -> Standing {
        let Memory { trouble, denied } = &self.books.memory;
        let denied = denied.iter().map(|((topic, to_read), code)| Denied {
            topic: topic.clone(),
            code: *code,
            to_read: *to_read,
        });
        Standing {
            connected: self.books.session.is_some(),
            trouble: trouble.clone(),
            denied: denied.collect(),
            storage_failing: self.books.storage_failing,
            network: self
                .channels
                .network
                .borrow()
                .as_ref()
                .map(|missing| (missing.reason.to_owned(), missing.message.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_remembered_until_it_is_taken_or_the_connection_is_another() {
        let mut memory = Memory::default();
        memory.failed("refused".to_owned());
        memory.connected(&[("spec/#".to_owned(), 0x87)]);
        assert_eq!(memory.trouble, None);
        memory.denied("birth", 0x87);
        memory.denied("birth", 0x87);
        assert_eq!(memory.denied.len(), 2);
        memory.delivered("birth");
        memory.delivered("spec/#");
        assert_eq!(memory.denied.into_keys().collect::<Vec<_>>(), [("spec/#".to_owned(), true)]);
        let mut memory = Memory::default();
        (0..100).for_each(|n| memory.denied(&format!("reply/{n}"), 0x97));
        assert_eq!(memory.denied.len(), MAX_DENIED);
        memory.connected(&[]);
        assert!(memory.denied.is_empty());
    }
}
