//! A `ConfigMap` or Secret in a scope: what was asked, and what each node makes of it.
//!
//! Unlike a pod, data is the same thing on every node, so what was applied to a group or to all
//! nodes is one object here.

use std::collections::BTreeSet;

use mote_protocol::name::{Kind, Namespace, NodeName, ObjectKey};
use mote_protocol::object::{Intent, Object};
use mote_protocol::status::{Refusal, ServiceStatus};
use mote_protocol::topic::Scope;

use super::{Fleet, Told};
use crate::content::Content;

/// One object in one scope.
#[derive(Debug)]
pub struct DataView<'f> {
    /// Its name.
    pub key: &'f ObjectKey,
    /// Whom it is for; a node that has it though nobody asks for it.
    pub scope: Scope,
    /// What was asked.
    pub object: Option<&'f Object>,
    /// What it holds, where it was not asked to go and can be read.
    pub content: Option<Content>,
    /// What the nodes of the scope make of it.
    pub nodes: Vec<(&'f NodeName, Standing<'f>)>,
    /// What those that have it tell of a service.
    pub services: Vec<(&'f NodeName, ServiceStatus)>,
}

/// What a node makes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'f> {
    /// It has it.
    Accepted,
    /// It does not want it.
    Refused(&'f Refusal),
    /// It has what it was asked in a nearer scope.
    Nearer(Scope),
    /// It did not answer to it.
    NotSeen,
}

impl Fleet {
    /// Every object of a kind that holds data, of a namespace or of all, in the order of namespace,
    /// name, scope.
    pub fn data(&self, kind: Kind, namespace: Option<&Namespace>) -> Vec<DataView<'_>> {
        let wanted = |key: &ObjectKey| {
            key.kind == kind && namespace.is_none_or(|namespace| key.namespace == *namespace)
        };
        let mut places: BTreeSet<(&ObjectKey, Scope)> = self
            .desired
            .keys()
            .filter(|(key, scope)| wanted(key) && !self.is_over(key, scope))
            .map(|(key, scope)| (key, scope.clone()))
            .collect();
        for (key, node) in self.statuses.keys().filter(|(key, _)| wanted(key)) {
            if self.is_forgotten(key, node) {
                places.insert((key, Scope::Node(node.clone())));
            }
        }
        places.into_iter().map(|(key, scope)| self.data_in(key, scope)).collect()
    }

    /// Whether a name was asked to go from a scope, and no node has what was there.
    fn is_over(&self, key: &ObjectKey, scope: &Scope) -> bool {
        let Some(Object { revision, intent: Intent::Delete { .. }, .. }) = self.object(key, scope)
        else {
            return false;
        };
        let has = |node: &NodeName| {
            // Newer than the tombstone is what was asked in another scope.
            self.told(key, node).is_some_and(|told| told.accepted() <= *revision)
                && self.nearer(key, scope, node).is_none()
        };
        !self.reached(scope).any(has)
    }

    fn data_in<'f>(&'f self, key: &'f ObjectKey, scope: Scope) -> DataView<'f> {
        let object = self.object(key, &scope);
        let content = object.and_then(|object| Content::of(key.kind, &object.intent)?.ok());
        let nodes = self.nodes_of(key, &scope);
        let nodes = nodes.into_iter().map(|node| (node, self.standing(key, &scope, node)));
        let nodes: Vec<_> = nodes.collect();
        // What is told of a nearer one is not told of this.
        let own = nodes.iter().filter(|(_, standing)| !matches!(standing, Standing::Nearer(_)));
        let services = own.filter_map(|(node, _)| match self.told(key, node)? {
            Told::Object(status) => Some((*node, status.service()?)),
            Told::Pod(_) => None,
        });
        DataView { services: services.collect(), nodes, key, object, content, scope }
    }

    /// The nodes of a scope; not every node says which groups it is in: then it counts once it
    /// has answered.
    fn nodes_of<'f>(&'f self, key: &ObjectKey, scope: &Scope) -> Vec<&'f NodeName> {
        let known = self.nodes.iter().filter(|(name, node)| match scope {
            Scope::Node(wanted) => wanted == *name,
            Scope::All => true,
            Scope::Group(group) => {
                node.is_in(group).unwrap_or_else(|| self.told(key, name).is_some())
            }
        });
        known.map(|(name, _)| name).collect()
    }

    fn standing(&self, key: &ObjectKey, scope: &Scope, node: &NodeName) -> Standing<'_> {
        if let Some(nearer) = self.nearer(key, scope, node) {
            return Standing::Nearer(nearer);
        }
        let Some(told) = self.told(key, node) else { return Standing::NotSeen };
        let Some(asked) = self.object(key, scope).map(|object| object.revision) else {
            // Nothing is asked: it has what it says.
            return told.refusal().map_or(Standing::Accepted, Standing::Refused);
        };
        match told.refusal() {
            Some(refusal) if refusal.seen == asked => Standing::Refused(refusal),
            // Of what it should let go it still has all that it tells of.
            _ if self.is_gone(key, scope) || told.has(asked) => Standing::Accepted,
            _ => Standing::NotSeen,
        }
    }
}

impl DataView<'_> {
    /// The scope as it is shown.
    pub fn place(&self) -> String {
        self.scope.to_string()
    }

    /// When it was first applied, in Unix seconds.
    pub fn created(&self) -> Option<i64> {
        self.content.as_ref().map(|content| content.meta().created).filter(|at| *at > 0)
    }

    /// Whether it was asked to go.
    pub fn is_deleted(&self) -> bool {
        self.object.is_some_and(|object| matches!(object.intent, Intent::Delete { .. }))
    }

    /// How many keys it has.
    pub fn keys(&self) -> Option<usize> {
        match self.content.as_ref()? {
            Content::ConfigMap(map) => Some(map.data.len() + map.binary_data.len()),
            Content::Secret(secret) => Some(secret.data.len()),
            Content::Pod(_) | Content::Service(_) => None,
        }
    }

    /// Addresses of a service, by the nodes that have it: mostly the same ones.
    pub fn cluster_ips(&self) -> Vec<String> {
        distinct(self.services.iter().flat_map(|(_, status)| &status.addresses))
    }

    /// Whether it is what a node has of its name, or should have.
    pub fn is_for(&self, node: &NodeName) -> bool {
        let nearer = |standing: &Standing<'_>| matches!(standing, Standing::Nearer(_));
        self.scope == Scope::Node(node.clone())
            || self.nodes.iter().any(|(name, standing)| *name == node && !nearer(standing))
    }

    /// Nodes that have it, and nodes that should.
    pub fn accepted(&self) -> (usize, usize) {
        let mut counts = (0, 0);
        for (_, standing) in &self.nodes {
            counts.0 += usize::from(*standing == Standing::Accepted);
            counts.1 += usize::from(!matches!(standing, Standing::Nearer(_)));
        }
        counts
    }
}

/// Each text once, in the order in which they came first.
pub fn distinct(all: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    let mut texts = Vec::new();
    for text in all.into_iter().map(|each| each.to_string()) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Message;
    use mote_protocol::extension::Extensions;
    use mote_protocol::frame::{self, Body};
    use mote_protocol::name::{FleetName, ObjectName};
    use mote_protocol::node::Birth;
    use mote_protocol::object::{ConfigMap, ContentHash, Revision};
    use mote_protocol::status::ObjectStatus;
    use mote_protocol::topic::{Address, Topic};

    fn key() -> ObjectKey {
        let namespace = Namespace::new("default").expect("label");
        ObjectKey { kind: Kind::ConfigMap, namespace, name: ObjectName::new("web").expect("name") }
    }

    fn revision(number: u64) -> Revision {
        Revision { number, hash: ContentHash([number.to_le_bytes()[0]; 8]) }
    }

    fn say<B: Body>(fleet: &mut Fleet, scope: &str, topic: Topic, body: &B) {
        let scope = Scope::parse(scope).expect("scope");
        let address = Address { fleet: FleetName::new("f").expect("label"), scope, topic };
        let payload = frame::encode(body).expect("encodes");
        fleet.absorb(&Message { topic: address.to_string(), payload });
    }

    fn ask(fleet: &mut Fleet, scope: &str, number: u64, intent: Intent) {
        let revision = revision(number);
        let object = Object { revision, uid: None, intent, extensions: Extensions::default() };
        say(fleet, scope, Topic::Spec(key()), &object);
    }

    fn apply(fleet: &mut Fleet, scope: &str, number: u64) {
        ask(fleet, scope, number, ConfigMap::default().to_intent().expect("encodes"));
    }

    fn answer(fleet: &mut Fleet, node: &str, number: u64) {
        let status = ObjectStatus { accepted: revision(number), ..ObjectStatus::default() };
        say(fleet, node, Topic::Status(key()), &status);
    }

    /// Two nodes.
    fn fleet() -> Fleet {
        let mut fleet = Fleet::default();
        for node in ["a", "b"] {
            say(&mut fleet, node, Topic::Birth, &Birth::default());
        }
        fleet
    }

    fn places(fleet: &Fleet) -> Vec<String> {
        fleet.data(Kind::ConfigMap, None).iter().map(DataView::place).collect()
    }

    #[test]
    fn what_is_for_all_is_one_object_and_a_nearer_one_another() {
        let mut fleet = fleet();
        apply(&mut fleet, "@all", 1);
        answer(&mut fleet, "a", 1);
        let views = fleet.data(Kind::ConfigMap, None);
        let standings: Vec<_> = views[0].nodes.iter().map(|(_, standing)| standing).collect();
        assert_eq!(views.len(), 1);
        assert_eq!(standings, [&Standing::Accepted, &Standing::NotSeen]);
        apply(&mut fleet, "b", 2);
        answer(&mut fleet, "b", 2);
        assert_eq!(places(&fleet), ["@all", "b"]);
        let views = fleet.data(Kind::ConfigMap, None);
        let b = NodeName::new("b").expect("label");
        assert_eq!(views[0].accepted(), (1, 1));
        assert_eq!(views.iter().map(|view| view.is_for(&b)).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn it_is_there_until_the_last_node_let_go() {
        let mut fleet = fleet();
        apply(&mut fleet, "@all", 1);
        answer(&mut fleet, "a", 1);
        ask(&mut fleet, "@all", 2, Intent::Delete { grace_s: None });
        let views = fleet.data(Kind::ConfigMap, None);
        assert!(views[0].is_deleted() && views[0].content.is_none(), "{views:?}");
        assert_eq!(views[0].accepted(), (1, 2), "one still has it");
        // What it has instead by now is another object's business.
        answer(&mut fleet, "a", 3);
        assert_eq!(places(&fleet), Vec::<String>::new());
    }

    #[test]
    fn what_the_broker_forgot_is_shown_where_it_is() {
        let mut fleet = fleet();
        answer(&mut fleet, "a", 1);
        let views = fleet.data(Kind::ConfigMap, None);
        assert_eq!((views[0].place(), views[0].keys()), ("a".into(), None));
        assert_eq!(fleet.data(Kind::Secret, None).len(), 0);
    }
}
