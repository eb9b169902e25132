//! Clearing tombstones of pods that are gone.
//!
//! A tombstone has done its work when the node's status is gone. Whoever sees that clears it. A
//! status can also be missing because the broker forgot it or because the node was not there yet,
//! so only nodes that are online count, and only tombstones that they had time to answer.

use std::time::Duration;

use mote_protocol::name::ObjectKey;
use mote_protocol::object::Intent;
use mote_protocol::topic::{Address, Scope, Topic};

use crate::broker::{BrokerError, Retain};
use crate::command::apply::plan::reached;
use crate::command::{Link, now_s, unix_now};
use crate::view::Fleet;

/// How long nodes have to answer a tombstone.
const ANSWER_TIME: Duration = Duration::from_mins(1);

/// Tombstones that nobody needs any more.
fn spent(fleet: &Fleet, now_ms: u64, now: i64) -> Vec<(ObjectKey, Scope)> {
    let patience = u64::try_from(ANSWER_TIME.as_millis()).unwrap_or(u64::MAX);
    let is_spent = |key: &ObjectKey, scope: &Scope| {
        let mut nodes = reached(fleet, scope).peekable();
        // Who is in a group nobody can tell, so nobody can tell that all of it answered.
        !matches!(scope, Scope::Group(_))
            && nodes.peek().is_some()
            && nodes.all(|name| {
                let gone = !fleet.statuses.contains_key(&(key.clone(), name.clone()));
                gone && fleet.nodes.get(name).is_some_and(|node| node.is_online(now))
            })
    };
    let tombstones = fleet.desired.iter().filter_map(|((key, scope), object)| {
        let object = object.as_ref().ok()?;
        let old = object.revision.number.saturating_add(patience) < now_ms;
        let deleted = matches!(object.intent, Intent::Delete { .. });
        (deleted && old && is_spent(key, scope)).then(|| (key.clone(), scope.clone()))
    });
    tombstones.collect()
}

/// Clears tombstones that nobody needs any more.
pub(in crate::command) async fn sweep(link: &mut Link) -> Result<(), BrokerError> {
    let now_ms = u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX);
    for (key, scope) in spent(&link.fleet, now_ms, now_s()) {
        let address = Address { fleet: link.name.clone(), scope, topic: Topic::Spec(key) };
        match link.session.publish(&address.to_string(), Vec::new(), Retain::Yes).await {
            // Who may only look leaves it to who may write.
            Err(error) if error.is_forbidden() => return Ok(()),
            swept => swept?,
        }
    }
    Ok(())
}
