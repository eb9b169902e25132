//! An object's end: what to publish, and whether it came. Pure.

use mote_protocol::extension::Extensions;
use mote_protocol::name::{Kind, NodeName, ObjectKey};
use mote_protocol::object::{ContentHash, Intent, Object, Revision};
use mote_protocol::status::Refusal;
use mote_protocol::topic::Scope;

use super::DEFAULT_GRACE_S;
use crate::command::apply::plan::{hash, next_revision};
use crate::content::Content;
use crate::view::Fleet;

/// The end of one object in one scope.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub key: ObjectKey,
    pub scope: Scope,
    pub object: Object,
    /// Nodes that have the object and can be heard.
    pub online: Vec<NodeName>,
    /// Nodes that may have the object and cannot be heard.
    pub offline: Vec<NodeName>,
    /// Seconds that it gets.
    pub grace_s: u32,
    /// Whether somebody asked for it again meanwhile.
    pub contested: bool,
    /// Whether every node had told of it: then its silence means that it is gone.
    seen: bool,
}

/// Whether a node is done with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    NotYet,
    Yes,
    /// Somebody else said something of it meanwhile.
    Conflict(ContentHash),
    /// It is none that ends so.
    Refused(Box<Refusal>),
}

/// Decides what to publish, at `now_ms` and `now` in Unix time.
pub(super) fn plan(
    fleet: &Fleet,
    key: &ObjectKey,
    scope: &Scope,
    grace_s: Option<u32>,
    now_ms: u64,
    now: i64,
) -> anyhow::Result<End> {
    let intent = Intent::Delete { grace_s };
    let number = next_revision(fleet, key, scope, now_ms);
    let revision = Revision { number, hash: hash(&intent)? };
    let has = |node: &&NodeName| fleet.told(key, node).is_some();
    // What a node was asked in a nearer scope stays.
    let ends = |node: &&NodeName| has(node) && fleet.nearer(key, scope, node).is_none();
    let is_online =
        |node: &&NodeName| fleet.nodes.get(*node).is_some_and(|node| node.is_online(now));
    let (online, offline): (Vec<_>, Vec<_>) = match scope {
        Scope::Node(_) => fleet.reached(scope).partition(is_online),
        // Of a wider scope only those matter that have it.
        Scope::All | Scope::Group(_) => fleet.reached(scope).filter(ends).partition(is_online),
    };
    let seen = online.iter().all(has);
    Ok(End {
        key: key.clone(),
        scope: scope.clone(),
        object: Object { revision, uid: None, intent, extensions: Extensions::default() },
        online: online.into_iter().cloned().collect(),
        offline: offline.into_iter().cloned().collect(),
        grace_s: grace_s.unwrap_or_else(|| own_grace(fleet, key, scope)),
        contested: false,
        seen,
    })
}

/// Seconds that an object gets where the command does not say; data needs none.
fn own_grace(fleet: &Fleet, key: &ObjectKey, scope: &Scope) -> u32 {
    let asked = fleet.object(key, scope).and_then(|object| match &object.intent {
        Intent::Delete { grace_s } => *grace_s,
        Intent::Apply { .. } => match Content::of(key.kind, &object.intent)?.ok()? {
            Content::Pod(pod) => pod.spec.termination_grace_period_s,
            Content::ConfigMap(_) | Content::Secret(_) | Content::Service(_) => None,
        },
    });
    asked.unwrap_or(match key.kind {
        Kind::Pod => DEFAULT_GRACE_S,
        Kind::ConfigMap | Kind::Secret | Kind::Service => 0,
    })
}

/// Whether a node is done with an object.
pub(super) fn gone(fleet: &Fleet, end: &End, node: &NodeName) -> Gone {
    let ours = end.object.revision;
    if let Some(asked) = fleet.object(&end.key, &end.scope).filter(|asked| asked.revision > ours) {
        return Gone::Conflict(asked.revision.hash);
    }
    match fleet.told(&end.key, node) {
        None if fleet.statuses.contains_key(&(end.key.clone(), node.clone())) => Gone::NotYet,
        None => Gone::Yes,
        Some(told) => match told.refusal() {
            Some(refusal) if refusal.seen == ours => match &*refusal.reason {
                "Stale" | "Conflict" | "Shadowed" => Gone::Conflict(told.accepted().hash),
                _ => Gone::Refused(Box::new(refusal.clone())),
            },
            _ if told.accepted() > ours => Gone::Conflict(told.accepted().hash),
            _ => Gone::NotYet,
        },
    }
}

impl End {
    /// Whether the tombstone did its work: every node said that it had the pod, and none has it
    /// now. What no node ever told of is left to a later look, when nodes had time to answer.
    pub(super) fn may_clear(&self, fleet: &Fleet) -> bool {
        let ours = fleet.object(&self.key, &self.scope);
        let still_ours = ours.is_none_or(|asked| asked.revision <= self.object.revision);
        let groups = matches!(self.scope, Scope::Group(_));
        self.seen && self.offline.is_empty() && !self.contested && still_ours && !groups
    }
}
