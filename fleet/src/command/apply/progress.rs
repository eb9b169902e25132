//! Whether a node took what was published. Pure.

use mote_protocol::name::{NodeName, ObjectKey};
use mote_protocol::object::{ContentHash, Object};
use mote_protocol::status::Refusal;
use mote_protocol::topic::Scope;

use crate::view::Fleet;

/// How far a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It did not answer yet.
    Waiting,
    /// It has the object; or makes the change later, and says why.
    Accepted(Option<Box<Refusal>>),
    /// It does not want it.
    Refused(Box<Refusal>),
    /// Another object has the name by now.
    Conflict(ContentHash),
}

/// How far a node is with an object that was published for a scope.
pub fn of(
    fleet: &Fleet,
    key: &ObjectKey,
    scope: &Scope,
    node: &NodeName,
    object: &Object,
) -> Progress {
    let ours = object.revision;
    if let Some(told) = fleet.told(key, node) {
        if told.has(ours) {
            return Progress::Accepted(None);
        }
        let accepted = told.accepted();
        match told.refusal() {
            Some(refusal)
                if refusal.seen == ours && matches!(&*refusal.reason, "Stale" | "Conflict") =>
            {
                return Progress::Conflict(accepted.hash);
            }
            Some(refusal) if refusal.seen == ours && refusal.is_delay() => {
                return Progress::Accepted(Some(Box::new(refusal.clone())));
            }
            Some(refusal) if refusal.seen == ours => {
                return Progress::Refused(Box::new(refusal.clone()));
            }
            _ => {}
        }
        if accepted > ours {
            return Progress::Conflict(accepted.hash);
        }
    }
    match fleet.object(key, scope) {
        Some(newer) if newer.revision > ours && newer.revision.hash != ours.hash => {
            Progress::Conflict(newer.revision.hash)
        }
        _ => Progress::Waiting,
    }
}
