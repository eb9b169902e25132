//! What the node says of each object: derived anew whenever something changed, sent when it
//! differs from what was said last.

use std::hash::{DefaultHasher, Hash, Hasher};

use mote_protocol::frame::{self, FrameError};
use mote_protocol::name::{Kind, ObjectKey};
use mote_protocol::status::{ContainerState, Message as Sentence, PodStatus};
use mote_protocol::text::Text;
use mote_protocol::topic::Topic;

use super::{Gone, Steward, World};
use crate::link::outbox::{Class, Message};
use crate::pod::machine::Machine;
use crate::pod::status::{self, Context};

impl<W: World> Steward<W> {
    /// Says of an object what is to be said now, where that is something else than before.
    pub(super) fn refresh(&mut self, key: &ObjectKey) {
        if !self.may_tell(key) {
            return;
        }
        // One that was over its bound is cut, never withheld.
        let encoded = if key.kind == Kind::Pod {
            let Some(status) = self.status(key) else { return };
            encode(&status, &mut self.books.buffer)
        } else {
            let Some(status) = self.data_status(key) else { return };
            frame::encode_into(&status, &mut self.books.buffer)
        };
        if encoded.is_err() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        self.books.buffer.hash(&mut hasher);
        let hash = hasher.finish();
        if self.books.statuses.insert(key.clone(), hash) == Some(hash) {
            return;
        }
        if key.kind == Kind::Pod {
            self.services_changed();
        }
        let topic = self.topic(Topic::Status(key.clone()));
        let message = Message::retained(self.books.buffer.clone());
        self.books.outbox.owe(Class::Status, topic, message);
    }

    fn may_tell(&self, key: &ObjectKey) -> bool {
        self.machine(key).is_none_or(Machine::may_tell)
    }

    /// The machine of the life that is there: the one before, until it has ended.
    pub(super) fn machine(&self, key: &ObjectKey) -> Option<&Machine> {
        let desired = self.books.desired.get(key)?;
        let mut lives = desired.previous.iter().chain(std::iter::once(&desired.life));
        lives.find_map(|life| self.books.reconciler.machine(&life.pod.name.uid))
    }

    /// What is to be said of an object; none where the node does not know yet.
    pub(super) fn status(&self, key: &ObjectKey) -> Option<PodStatus> {
        let refusal = self.books.refusals.get(key).cloned();
        let Some(desired) = self.books.desired.get(key) else {
            return Some(PodStatus { refusal: Some(refusal?), ..PodStatus::default() });
        };
        if desired.gone != Gone::No {
            return None;
        }
        let accepted = desired.revision;
        let machine = self.machine(key)?;
        let node_addresses =
            if machine.pod().host.network { (self.identity.addresses)() } else { Vec::new() };
        let context = Context { accepted, refusal, node_addresses };
        Some(status::of(machine, context))
    }

    /// Says nothing of an object any more.
    pub(super) fn clear_status(&mut self, key: &ObjectKey) {
        self.books.statuses.remove(key);
        if key.kind == Kind::Pod {
            self.services_changed();
        }
        let topic = self.topic(Topic::Status(key.clone()));
        self.books.outbox.owe(Class::Status, topic, Message::retained(Vec::new()));
    }

    /// The broker has forgotten everything.
    pub(super) fn say_everything_again(&mut self) {
        self.books.statuses.clear();
        let refused = self.books.refusals.keys();
        let desired = self.books.desired.keys().chain(self.books.data.keys());
        let mut keys: Vec<_> = desired.chain(refused).cloned().collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            self.refresh(&key);
        }
    }
}

/// Encodes a status; one that is too long loses its sentences, which are also told as events.
fn encode(status: &PodStatus, buffer: &mut Vec<u8>) -> Result<(), FrameError> {
    match frame::encode_into(status, buffer) {
        Err(FrameError::TooLong { .. }) => {
            let mut short = status.clone();
            for container in &mut short.containers {
                shorten(&mut container.state);
                if let Some(last) = &mut container.last {
                    last.message = Text::default();
                }
            }
            frame::encode_into(&short, buffer)
        }
        result => result,
    }
}

fn shorten(state: &mut ContainerState) {
    match state {
        ContainerState::Waiting { message, .. } => *message = Sentence::default(),
        ContainerState::Terminated(terminated) => terminated.message = Text::default(),
        ContainerState::Running { .. } => {}
    }
}
