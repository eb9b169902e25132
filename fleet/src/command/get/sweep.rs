//! Clearing tombstones of objects that are gone.
//!
//! A tombstone has done its work when the node's status is gone. Whoever sees that clears it. A
//! status can also be missing because the broker forgot it or because the node was not there yet,
//! so only nodes that are online count, and only tombstones that they had time to answer.

use std::time::Duration;

use mote_protocol::name::ObjectKey;
use mote_protocol::object::{Intent, Object};
use mote_protocol::topic::{Address, Scope, Topic};
use tokio::time::Instant;

use crate::broker::{BrokerError, Retain};
use crate::command::{Link, now_s, unix_now};
use crate::view::Fleet;

/// How long nodes have to answer a tombstone.
const ANSWER_TIME: Duration = Duration::from_mins(1);

/// Tombstones that nobody needs any more.
fn spent(fleet: &Fleet, now_ms: u64, now: i64) -> Vec<(ObjectKey, Scope)> {
    let patience = u64::try_from(ANSWER_TIME.as_millis()).unwrap_or(u64::MAX);
    let is_spent = |key: &ObjectKey, scope: &Scope| {
        let mut nodes = fleet.reached(scope).peekable();
        // A node that does not list its groups may be in any: then nobody can tell that all answered.
        let known = match scope {
            Scope::Group(group) => fleet.nodes.values().all(|node| node.is_in(group).is_some()),
            Scope::Node(_) | Scope::All => true,
        };
        known
            && nodes.peek().is_some()
            && nodes.all(|name| {
                let gone = !fleet.statuses.contains_key(&(key.clone(), name.clone()));
                gone && fleet.nodes.get(name).is_some_and(|node| node.is_online(now))
            })
    };
    let tombstones = fleet.desired.iter().filter_map(|((key, scope), object)| {
        let object = object.as_ref().ok()?;
        let old = object.revision.number.saturating_add(patience) < now_ms;
        (is_tombstone(Some(object)) && old && is_spent(key, scope))
            .then(|| (key.clone(), scope.clone()))
    });
    tombstones.collect()
}

fn is_tombstone(object: Option<&Object>) -> bool {
    object.is_some_and(|object| matches!(object.intent, Intent::Delete { .. }))
}

/// Clears tombstones that nobody needs any more.
pub(in crate::command) async fn sweep(link: &mut Link) -> Result<(), BrokerError> {
    let now_ms = u64::try_from(unix_now().as_millis()).unwrap_or(u64::MAX);
    for (key, scope) in spent(&link.fleet, now_ms, now_s()) {
        // Somebody may have asked for the object again since it was listed.
        while let Some(message) = link.session.next(Some(Instant::now())).await? {
            link.fleet.absorb(&message);
        }
        if !is_tombstone(link.fleet.object(&key, &scope)) {
            continue;
        }
        let address = Address { fleet: link.name.clone(), scope, topic: Topic::Spec(key) };
        match link.session.publish(&address.to_string(), Vec::new(), Retain::Yes).await {
            // Who may only look leaves it to who may write.
            Err(error) if error.is_forbidden() => return Ok(()),
            swept => swept?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Message;
    use mote_protocol::extension::Extensions;
    use mote_protocol::frame::{self, Body};
    use mote_protocol::name::{FleetName, GroupName, Kind, Namespace, ObjectName};
    use mote_protocol::node::{Birth, Session, Will};
    use mote_protocol::object::Revision;
    use mote_protocol::status::PodStatus;

    const SESSION: Session = Session { start: 1, connection: 1 };

    fn key() -> ObjectKey {
        let namespace = Namespace::new("default").expect("label");
        ObjectKey { kind: Kind::Pod, namespace, name: ObjectName::new("web").expect("name") }
    }

    fn say<B: Body>(fleet: &mut Fleet, scope: &str, topic: Topic, body: &B) {
        let scope = Scope::parse(scope).expect("scope");
        let address = Address { fleet: FleetName::new("f").expect("label"), scope, topic };
        let payload = frame::encode(body).expect("encodes");
        fleet.absorb(&Message { topic: address.to_string(), payload });
    }

    /// A fleet with a node that is online and a tombstone from second 100, for a scope.
    fn fleet(scope: &str) -> Fleet {
        let mut fleet = Fleet::default();
        say(&mut fleet, "pi", Topic::Birth, &Birth { session: SESSION, ..Birth::default() });
        let revision = Revision { number: 100_000, ..Revision::default() };
        let intent = Intent::Delete { grace_s: None };
        let object = Object { revision, uid: None, intent, extensions: Extensions::default() };
        say(&mut fleet, scope, Topic::Spec(key()), &object);
        fleet
    }

    /// The same for a group, where the node lists those it is in.
    fn with_groups(groups: &[&str]) -> Fleet {
        let mut fleet = fleet("@blue");
        let mut birth = Birth { session: SESSION, ..Birth::default() };
        let groups: Vec<_> =
            groups.iter().map(|name| GroupName::new(name).expect("label")).collect();
        birth.set_groups(&groups);
        say(&mut fleet, "pi", Topic::Birth, &birth);
        fleet
    }

    fn count(fleet: &Fleet, now_s: u64) -> usize {
        spent(fleet, now_s * 1000, 0).len()
    }

    #[test]
    fn a_tombstone_is_spent_when_its_nodes_had_time_and_have_nothing() {
        for scope in ["pi", "@all"] {
            assert_eq!(count(&fleet(scope), 159), 0, "they may not have answered yet");
            assert_eq!(count(&fleet(scope), 161), 1);
        }
        assert_eq!(count(&fleet("@blue"), 161), 0, "nobody knows who is in a group");
        assert_eq!(count(&with_groups(&["blue"]), 161), 1);
        assert_eq!(count(&with_groups(&["red"]), 161), 0, "nobody of that group was ever seen");
        assert_eq!(count(&fleet("other"), 161), 0, "that node was never seen");
    }

    #[test]
    fn a_status_or_an_absent_node_keeps_it() {
        let mut has_it = fleet("pi");
        say(&mut has_it, "pi", Topic::Status(key()), &PodStatus::default());
        assert_eq!(count(&has_it, 161), 0);
        let mut absent = fleet("pi");
        say(&mut absent, "pi", Topic::Will, &Will { session: SESSION, ..Will::default() });
        assert_eq!(count(&absent, 161), 0);
    }
}
