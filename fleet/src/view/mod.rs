//! A fleet as its retained messages show it.
//!
//! [`Fleet`] absorbs messages in any order and keeps the latest of each topic; [`node`],
//! [`pod`] and [`data`] read facts out of it. Pure: no clock and no connection. What does not decode is kept as
//! such, since a listing that silently leaves things out is worse than an ugly one.

pub mod data;
pub mod node;
pub mod pod;
pub mod selector;

use std::collections::BTreeMap;

use mote_protocol::frame::{self, FrameError, FrameKind};
use mote_protocol::name::{FleetName, Kind, Namespace, NodeName, ObjectKey};
use mote_protocol::object::{Intent, Object, Revision};
use mote_protocol::static_pod;
use mote_protocol::status::{ObjectStatus, PodStatus, Refusal};
use mote_protocol::topic::{Address, ROOT, Scope, Topic, filter};

use crate::broker::Message;
use node::Node;

/// Everything known of a fleet.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Its nodes by name.
    pub nodes: BTreeMap<NodeName, Node>,
    /// What operators asked, by whom it is for.
    pub desired: BTreeMap<(ObjectKey, Scope), Result<Object, FrameError>>,
    /// What was asked before something lesser took its place: nodes keep the greater.
    pub overtaken: BTreeMap<(ObjectKey, Scope), Object>,
    /// What nodes say of it.
    pub statuses: BTreeMap<(ObjectKey, NodeName), Result<Told, FrameError>>,
}

/// What a node says of one object.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// Of a pod.
    Pod(Box<PodStatus>),
    /// Of something it could not read, or that does nothing by itself.
    Object(Box<ObjectStatus>),
}

impl Told {
    /// The revision that the node works on.
    pub fn accepted(&self) -> Revision {
        match self {
            Self::Pod(status) => status.accepted,
            Self::Object(status) => status.accepted,
        }
    }

    /// The newest revision that it refused, and why.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Pod(status) => status.refusal.as_ref(),
            Self::Object(status) => status.refusal.as_ref(),
        }
    }

    /// A file of the node asks for it, and something else was published of its name.
    pub fn is_static(&self) -> bool {
        self.refusal().is_some_and(|no| *no.reason == *static_pod::REFUSED)
    }

    /// Whether the node works on a revision; an equal content under a greater number is the same.
    pub fn has(&self, asked: Revision) -> bool {
        let accepted = self.accepted();
        accepted.hash == asked.hash && accepted.number >= asked.number
    }

    /// The highest revision number that the node ever saw.
    pub fn highest(&self) -> u64 {
        let refused = self.refusal().map_or(0, |refusal| refusal.seen.number);
        self.accepted().number.max(refused)
    }

    fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        if frame::kind(payload) == Some(FrameKind::ObjectStatus as u8) {
            return frame::decode(payload).map(|status| Self::Object(Box::new(status)));
        }
        frame::decode(payload).map(|status| Self::Pod(Box::new(status)))
    }
}

/// What a node objects to, after the field that it is about.
pub fn problem(refusal: &Refusal) -> String {
    let separator = if refusal.field.is_empty() { "" } else { ": " };
    format!("{}{separator}{}", refusal.field, refusal.message)
}

/// What a message changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something about a node.
    Node(NodeName),
    /// Something about an object, on one node or in a whole scope.
    Object(ObjectKey, Scope),
}

impl Fleet {
    /// Takes messages in.
    pub fn absorb_all(&mut self, messages: &[Message]) {
        for message in messages {
            self.absorb(message);
        }
    }

    /// Takes one message in; `None` where it is about nothing kept here.
    pub fn absorb(&mut self, message: &Message) -> Option<Change> {
        let address = Address::parse(&message.topic).ok()?;
        let payload = Some(message.payload.as_slice()).filter(|payload| !payload.is_empty());
        match (address.topic, address.scope) {
            (Topic::Spec(key), scope) => {
                let place = (key.clone(), scope.clone());
                let before = match payload {
                    Some(payload) => self.desired.insert(place.clone(), frame::decode(payload)),
                    None => self.desired.remove(&place),
                };
                self.remember(place, before);
                Some(Change::Object(key, scope))
            }
            (Topic::Status(key), Scope::Node(node)) => {
                let place = (key.clone(), node.clone());
                match payload {
                    Some(payload) => self.statuses.insert(place, Told::decode(payload)),
                    None => self.statuses.remove(&place),
                };
                Some(Change::Object(key, Scope::Node(node)))
            }
            (topic, Scope::Node(name)) => {
                let node = self.nodes.entry(name.clone()).or_default();
                let changed = node.absorb(&topic, payload);
                if node.is_empty() {
                    self.nodes.remove(&name);
                }
                changed.then_some(Change::Node(name))
            }
            _ => None,
        }
    }

    /// Keeps what was asked before where that is greater than what is asked now.
    fn remember(&mut self, place: (ObjectKey, Scope), before: Option<Result<Object, FrameError>>) {
        let now = self.desired.get(&place).and_then(|now| now.as_ref().ok());
        let Some(now) = now.map(|now| now.revision) else { return };
        if self.overtaken.get(&place).is_some_and(|old| old.revision <= now) {
            self.overtaken.remove(&place);
        }
        if let Some(Ok(before)) = before
            && before.revision > now
        {
            self.overtaken.entry(place).or_insert(before);
        }
    }

    /// What is asked for a name in a scope.
    pub fn object(&self, key: &ObjectKey, scope: &Scope) -> Option<&Object> {
        self.desired.get(&(key.clone(), scope.clone()))?.as_ref().ok()
    }

    /// How many objects a node says that it holds, and how many it is seen to: where those are
    /// fewer, the listing is incomplete. Tells nothing unless all kinds were listed.
    pub fn missing_objects(&self, node: &NodeName) -> Option<(usize, usize)> {
        let holds = self.nodes.get(node)?.status.as_ref()?.objects.count;
        let holds = usize::try_from(holds).ok()?;
        let shown = self.statuses.keys().filter(|(_, told_by)| told_by == node).count();
        (shown < holds).then_some((holds, shown))
    }

    /// The nodes of a scope, as far as anybody can know.
    pub fn reached<'f>(&'f self, scope: &'f Scope) -> impl Iterator<Item = &'f NodeName> {
        let one = match scope {
            Scope::Node(name) => Some(name),
            Scope::All | Scope::Group(_) => None,
        };
        let many = self.nodes.iter().filter(move |(_, node)| match scope {
            Scope::Node(_) => false,
            Scope::All => true,
            Scope::Group(group) => node.is_in(group).unwrap_or(true),
        });
        one.into_iter().chain(many.map(|(name, _)| name))
    }

    /// Where a node was asked for the same name in a nearer scope, which wins: by itself, then in
    /// one of its groups.
    pub fn nearer(&self, key: &ObjectKey, scope: &Scope, node: &NodeName) -> Option<Scope> {
        let is_asked = |scope: &Scope| {
            let object = self.object(key, scope);
            object.is_some_and(|object| matches!(object.intent, Intent::Apply { .. }))
        };
        if matches!(scope, Scope::Node(_)) {
            return None;
        }
        let alone = Scope::Node(node.clone());
        if is_asked(&alone) {
            return Some(alone);
        }
        let groups = self.nodes.get(node).and_then(Node::groups).unwrap_or_default();
        let groups = groups.into_iter().filter(|_| *scope == Scope::All);
        groups.map(Scope::Group).find(is_asked)
    }

    /// What a node says of a name.
    pub fn told(&self, key: &ObjectKey, node: &NodeName) -> Option<&Told> {
        self.statuses.get(&(key.clone(), node.clone()))?.as_ref().ok()
    }

    /// Whether a node has a name that nobody asks it for: the broker forgot the spec.
    pub fn is_forgotten(&self, key: &ObjectKey, node: &NodeName) -> bool {
        let here = Scope::Node(node.clone());
        self.statuses.contains_key(&(key.clone(), node.clone()))
            && !self.asked_of(key).any(|(scope, _)| self.reaches(scope, &here))
    }

    /// All that was asked of a name, by whom it is for.
    fn asked_of<'f>(
        &'f self,
        key: &ObjectKey,
    ) -> impl Iterator<Item = (&'f Scope, &'f Result<Object, FrameError>)> {
        let first = (key.clone(), Scope::All);
        let all = self.desired.range(first..).take_while(move |((found, _), _)| found == key);
        all.map(|((_, scope), object)| (scope, object))
    }
}

/// Filters for what says who the nodes are and whether they are there.
pub fn node_filters(fleet: &FleetName, node: Option<&NodeName>) -> Vec<String> {
    let topics = [Topic::Birth, Topic::Will, Topic::NodeStatus, Topic::Heartbeat];
    let node = node.map(NodeName::as_str);
    topics.iter().map(|topic| filter::of_nodes(fleet, node, topic)).collect()
}

/// Filters for all objects of a kind, or those of a namespace: what is asked and what is said of
/// them.
pub fn kind_filters(fleet: &FleetName, kind: Kind, namespace: Option<&Namespace>) -> Vec<String> {
    let Some(namespace) = namespace else {
        return vec![filter::desired(fleet, None, kind), filter::statuses(fleet, None, kind)];
    };
    let below = |what: &str| format!("{ROOT}/{fleet}/+/{what}/{kind}/{namespace}/+");
    vec![below("spec"), below("status")]
}

/// Filters for what nodes say of all that they hold, whatever it is: hashes, no contents.
pub fn status_filters(fleet: &FleetName) -> Vec<String> {
    Kind::ALL.into_iter().map(|kind| filter::statuses(fleet, None, kind)).collect()
}

/// Filters for one name, wherever it is.
pub fn key_filters(fleet: &FleetName, key: &ObjectKey) -> Vec<String> {
    vec![format!("{ROOT}/{fleet}/+/spec/{key}"), format!("{ROOT}/{fleet}/+/status/{key}")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::extension::Extensions;
    use mote_protocol::object::ContentHash;

    fn asked(number: u64) -> Message {
        let revision = Revision { number, hash: ContentHash([1; 8]) };
        let intent = Intent::Delete { grace_s: None };
        let object = Object { revision, uid: None, intent, extensions: Extensions::default() };
        let payload = frame::encode(&object).expect("encodes");
        Message { topic: "mote/v1/f/n/spec/pod/default/web".into(), payload }
    }

    #[test]
    fn what_something_lesser_replaced_is_remembered_until_it_is_back() {
        let mut fleet = Fleet::default();
        fleet.absorb_all(&[asked(1), asked(3), asked(2)]);
        let kept = fleet.overtaken.values().map(|object| object.revision.number);
        assert_eq!(kept.collect::<Vec<_>>(), [3]);
        fleet.absorb_all(&[asked(3)]);
        assert!(fleet.overtaken.is_empty());
    }
}
