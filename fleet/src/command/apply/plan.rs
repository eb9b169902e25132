//! What has to be published so that a scope has an object. Pure.

use mote_protocol::extension::Extensions;
use mote_protocol::name::{Kind, NodeName, ObjectKey, Uid};
use mote_protocol::object::{ContentHash, Intent, Object, Pod, Revision, max_body};
use mote_protocol::rollout::ROLLED_BACK;
use mote_protocol::topic::Scope;

use crate::content::Content;
use crate::failure::ServerError;
use crate::manifest::update;
use crate::view::Fleet;
use crate::view::node::Node;

/// What becomes of the object, in kubectl's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It was not there.
    Created,
    /// It changes in place.
    Configured,
    /// It ends, and another takes its name.
    Replaced,
    /// It is what was asked already.
    Unchanged,
}

impl Verb {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One object for one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub key: ObjectKey,
    /// Whom it is for.
    pub scope: Scope,
    /// What to publish, or what is there already.
    pub object: Object,
    /// What becomes of the object.
    pub verb: Verb,
}

/// What is given from outside.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// Unix time in milliseconds.
    pub now_ms: u64,
    /// A uid that nobody has.
    pub uid: Uid,
    /// Whether a pod is ended, and data that is immutable and differs.
    pub force: bool,
}

/// Decides what to publish.
pub fn plan(
    fleet: &Fleet,
    key: &ObjectKey,
    scope: &Scope,
    content: &Content,
    given: Given,
) -> anyhow::Result<Plan> {
    if key.kind == Kind::Pod {
        check_schemas(fleet, scope)?;
    }
    let existing = fleet.object(key, scope);
    // What this version cannot read cannot be compared with: it is replaced as a whole.
    let old = existing.and_then(|object| Content::of(key.kind, &object.intent)?.ok());
    // What its node never took may become anything: nothing of it runs.
    let taken = !matches!(scope, Scope::Node(node) if fleet
        .told(key, node)
        .is_some_and(|told| told.accepted() == Revision::default()));
    let binding = old.as_ref().filter(|_| taken);
    let allowed = binding.map_or(Ok(()), |old| update::check(old, content));
    // A pod starts anew when it is forced to; for data that says nothing unless it is in the way.
    let replaces = given.force && old.is_some() && (key.kind == Kind::Pod || allowed.is_err());
    let mut content = content.clone();
    content.meta_mut().created = match &old {
        Some(old) if !replaces => old.meta().created,
        _ => i64::try_from(given.now_ms / 1000).unwrap_or(i64::MAX),
    };
    let intent = content.to_intent()?;
    check_size(key.kind, &intent)?;
    let hash = hash(&intent)?;
    let settled = |object: &&Object| {
        let missed = is_missed(fleet, key, scope, given.now_ms);
        !missed && !was_taken_back(fleet, key, scope, object)
    };
    let same = existing.filter(|object| object.intent == intent && !replaces);
    if let Some(object) = same.filter(settled) {
        let (key, scope, object) = (key.clone(), scope.clone(), object.clone());
        return Ok(Plan { key, scope, object, verb: Verb::Unchanged });
    }
    let verb = match (&old, existing) {
        (Some(_), _) if replaces => Verb::Replaced,
        (Some(_), _) => {
            let (kind, name) = (key.kind.kubernetes(), key.name.to_string());
            allowed.map_err(|problems| ServerError::Immutable { kind, name, problems })?;
            Verb::Configured
        }
        (None, Some(Object { intent: Intent::Delete { .. }, .. })) => Verb::Created,
        // The broker forgot the spec, but the node has the object; or this version cannot read it.
        (None, None) if !exists(fleet, key, scope) => Verb::Created,
        (None, _) => Verb::Configured,
    };
    let uid = match (verb, existing) {
        (Verb::Configured, existing) => existing.and_then(|object| object.uid),
        (Verb::Created, None) => None,
        // A node that never heard of the end in between must still end the old object.
        _ => Some(given.uid),
    };
    let number = next_revision(fleet, key, scope, given.now_ms);
    let revision = Revision { number, hash };
    let object = Object { revision, uid, intent, extensions: Extensions::default() };
    Ok(Plan { key: key.clone(), scope: scope.clone(), object, verb })
}

/// Whether a scope has an object of that name, as far as anybody knows. What a node has of another
/// scope is not there.
pub fn exists(fleet: &Fleet, key: &ObjectKey, scope: &Scope) -> bool {
    match fleet.desired.get(&(key.clone(), scope.clone())) {
        Some(Ok(object)) => matches!(object.intent, Intent::Apply { .. }),
        // A newer version may have asked for it.
        Some(Err(_)) => true,
        None => matches!(scope, Scope::Node(node) if fleet.is_forgotten(key, node)),
    }
}

/// A node would refuse what is longer than its kind allows.
fn check_size(kind: Kind, intent: &Intent) -> anyhow::Result<()> {
    let (Intent::Apply { body, .. }, max) = (intent, max_body(kind)) else { return Ok(()) };
    let len = body.len();
    anyhow::ensure!(
        len <= max,
        "the {kind} has {len} bytes, more than the {max} that a node takes"
    );
    Ok(())
}

/// A node that cannot read what this version writes is told before anything is sent.
fn check_schemas(fleet: &Fleet, scope: &Scope) -> anyhow::Result<()> {
    for name in fleet.reached(scope) {
        let birth = fleet.nodes.get(name).and_then(|node| node.birth.as_ref());
        let Some((oldest, newest)) = birth.map(|birth| birth.pod_schemas) else { continue };
        anyhow::ensure!(
            newest == 0 || (oldest..=newest).contains(&Pod::SCHEMA),
            "node {name} reads pods of schema {oldest} to {newest}, this mote writes {}: \
             use the version of mote that belongs to its agent",
            Pod::SCHEMA
        );
    }
    Ok(())
}

/// First eight bytes of the SHA-256 of an intent.
pub fn hash(intent: &Intent) -> anyhow::Result<ContentHash> {
    let digest = ring::digest::digest(&ring::digest::SHA256, &intent.to_hashed_bytes()?);
    let first = digest.as_ref().first_chunk().expect("a SHA-256 has 32 bytes");
    Ok(ContentHash(*first))
}

/// A revision that is greater than all that were seen of a name, and than what a clock gives.
pub fn next_revision(fleet: &Fleet, key: &ObjectKey, scope: &Scope, now_ms: u64) -> u64 {
    let asked = fleet.object(key, scope).map_or(0, |object| object.revision.number);
    let told = fleet.reached(scope).filter_map(|node| fleet.told(key, node));
    let highest = told.map(crate::view::Told::highest).fold(asked, u64::max);
    now_ms.max(highest.saturating_add(1))
}

/// Whether some node that is there says nothing of what was asked of many. It may have had something
/// nearer of that name, which kept this out and is gone, so that only what is said anew brings it
/// back; or it has not answered yet. Saying it anew does no harm.
fn is_missed(fleet: &Fleet, key: &ObjectKey, scope: &Scope, now_ms: u64) -> bool {
    let now_s = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
    let member = |node: &Node| match scope {
        Scope::Group(group) => node.is_in(group) == Some(true),
        Scope::All | Scope::Node(_) => true,
    };
    let online = |name: &&NodeName| {
        fleet.nodes.get(*name).is_some_and(|node| node.is_online(now_s) && member(node))
    };
    let silent = |name: &NodeName| {
        !fleet.statuses.contains_key(&(key.clone(), name.clone()))
            && fleet.nearer(key, scope, name).is_none()
    };
    !matches!(scope, Scope::Node(_)) && fleet.reached(scope).filter(online).any(silent)
}

/// Whether some node tried it in vain: who applies it once more wants it to be tried once more.
fn was_taken_back(fleet: &Fleet, key: &ObjectKey, scope: &Scope, object: &Object) -> bool {
    let told = fleet.reached(scope).filter_map(|node| fleet.told(key, node));
    let mut refusals = told.filter_map(crate::view::Told::refusal);
    refusals.any(|refusal| refusal.seen == object.revision && &*refusal.reason == ROLLED_BACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Message;
    use mote_protocol::frame;
    use mote_protocol::name::{FleetName, Namespace, ObjectName};
    use mote_protocol::object::ConfigMap;
    use mote_protocol::pod::Container;
    use mote_protocol::status::{PodStatus, Refusal};
    use mote_protocol::topic::{Address, Topic};

    const UID: Uid = Uid([7; 16]);

    fn key() -> ObjectKey {
        let namespace = Namespace::new("default").expect("label");
        ObjectKey { kind: Kind::Pod, namespace, name: ObjectName::new("web").expect("name") }
    }

    fn node() -> Scope {
        Scope::parse("pi").expect("node")
    }

    fn pod(image: &str, command: &str) -> Content {
        let mut pod = Pod::default();
        let (name, image) = ("web".to_owned(), image.to_owned());
        let command = vec![command.to_owned()];
        pod.spec.containers = vec![Container { name, image, command, ..Container::default() }];
        Content::Pod(Box::new(pod))
    }

    fn given(now_ms: u64, force: bool) -> Given {
        Given { now_ms, uid: UID, force }
    }

    fn absorb(fleet: &mut Fleet, topic: Topic, payload: Vec<u8>) {
        let address = Address { fleet: FleetName::new("f").expect("label"), scope: node(), topic };
        fleet.absorb(&Message { topic: address.to_string(), payload });
    }

    /// A fleet in which the node was asked for a pod.
    fn with(plan: &Plan) -> Fleet {
        let mut fleet = Fleet::default();
        let payload = frame::encode(&plan.object).expect("encodes");
        absorb(&mut fleet, Topic::Spec(key()), payload);
        fleet
    }

    fn first() -> Plan {
        let fleet = Fleet::default();
        plan(&fleet, &key(), &node(), &pod("a", "x"), given(5000, false)).expect("plan")
    }

    #[test]
    fn a_new_pod_is_created_now_and_its_node_mints_the_uid() {
        let plan = first();
        assert_eq!(
            (plan.verb, plan.object.revision.number, plan.object.uid),
            (Verb::Created, 5000, None)
        );
        assert_eq!(plan.object.revision.hash, hash(&plan.object.intent).expect("hash"));
    }

    #[test]
    fn the_same_manifest_again_changes_nothing_whenever_that_is() {
        let again = plan(&with(&first()), &key(), &node(), &pod("a", "x"), given(99_000, false));
        let again = again.expect("plan");
        assert_eq!((again.verb, again.object), (Verb::Unchanged, first().object));
    }

    #[test]
    fn a_revision_is_higher_than_all_that_were_seen_also_by_a_slow_clock() {
        let mut fleet = with(&first());
        let change = |fleet: &Fleet| {
            plan(fleet, &key(), &node(), &pod("b", "x"), given(10, false)).expect("plan")
        };
        assert_eq!(change(&fleet).object.revision.number, 5001);
        let seen = Revision { number: 9000, ..Revision::default() };
        let refusal =
            Refusal { seen, reason: "Invalid".into(), field: "".into(), message: "".into() };
        let status = PodStatus { refusal: Some(refusal), ..PodStatus::default() };
        absorb(&mut fleet, Topic::Status(key()), frame::encode(&status).expect("encodes"));
        let plan = change(&fleet);
        assert_eq!((plan.object.revision.number, plan.verb), (9001, Verb::Configured));
    }

    #[test]
    fn what_was_taken_back_is_tried_once_more_when_it_is_applied_once_more() {
        let mut fleet = with(&first());
        let seen = first().object.revision;
        let refusal =
            Refusal { seen, reason: ROLLED_BACK.into(), field: "".into(), message: "".into() };
        let status = PodStatus { refusal: Some(refusal), ..PodStatus::default() };
        absorb(&mut fleet, Topic::Status(key()), frame::encode(&status).expect("encodes"));
        let again = plan(&fleet, &key(), &node(), &pod("a", "x"), given(99_000, false));
        let again = again.expect("plan");
        assert_eq!((again.verb, again.object.revision.number), (Verb::Configured, 99_000));
    }

    #[test]
    fn what_cannot_change_is_refused_unless_forced() {
        let fleet = with(&first());
        let refused = plan(&fleet, &key(), &node(), &pod("a", "y"), given(6000, false));
        let text = refused.expect_err("immutable").to_string();
        assert!(text.contains("spec.containers[0].command[0]: Forbidden"), "{text}");
        let forced =
            plan(&fleet, &key(), &node(), &pod("a", "y"), given(6000, true)).expect("plan");
        assert_eq!((forced.verb, forced.object.uid), (Verb::Replaced, Some(UID)));
        // An update after that must not lead a node that missed it back to the old uid.
        let next = plan(&with(&forced), &key(), &node(), &pod("b", "y"), given(7000, false));
        assert_eq!(next.expect("plan").object.uid, Some(UID));
    }

    #[test]
    fn what_a_node_lost_to_something_nearer_is_said_anew() {
        use mote_protocol::node::{Birth, Heartbeat};
        let config = || Content::ConfigMap(ConfigMap::default());
        let map = ObjectKey { kind: Kind::ConfigMap, ..key() };
        let said = |fleet: &Fleet| {
            plan(fleet, &map, &Scope::All, &config(), given(5_000_000, false)).expect("plan")
        };
        let mut fleet = Fleet::default();
        let first = said(&fleet);
        let mut put = |scope: Scope, topic: Topic, payload: Vec<u8>| {
            let address = Address { fleet: FleetName::new("f").expect("label"), scope, topic };
            fleet.absorb(&Message { topic: address.to_string(), payload });
        };
        let payload = frame::encode(&first.object).expect("encodes");
        put(Scope::All, Topic::Spec(map.clone()), payload);
        let birth = frame::encode(&Birth::default()).expect("encodes");
        put(node(), Topic::Birth, birth);
        let heartbeat = frame::encode(&Heartbeat::default()).expect("encodes");
        put(node(), Topic::Heartbeat, heartbeat);
        let again = said(&fleet);
        assert_eq!(again.verb, Verb::Configured);
        assert!(again.object.revision > first.object.revision);
        assert_eq!(again.object.intent, first.object.intent);
    }

    #[test]
    fn what_is_for_all_is_not_there_for_one_node_and_what_is_unreadable_is() {
        let status = frame::encode(&PodStatus::default()).expect("encodes");
        let mut fleet = Fleet::default();
        absorb(&mut fleet, Topic::Status(key()), status);
        assert!(exists(&fleet, &key(), &node()), "the broker forgot what was asked");
        let topic = Topic::Spec(key());
        let address =
            Address { fleet: FleetName::new("f").expect("label"), scope: Scope::All, topic };
        let payload = frame::encode(&first().object).expect("encodes");
        fleet.absorb(&Message { topic: address.to_string(), payload });
        assert!(!exists(&fleet, &key(), &node()), "the node has what was asked of all");
        let next = plan(&fleet, &key(), &node(), &pod("a", "x"), given(6000, false));
        let next = next.expect("plan");
        assert_eq!((next.verb, next.object.uid), (Verb::Created, None));
        absorb(&mut fleet, Topic::Spec(key()), vec![255]);
        assert!(exists(&fleet, &key(), &node()), "a newer version asked for it");
        let next = plan(&fleet, &key(), &node(), &pod("a", "x"), given(6000, false));
        assert_eq!(next.expect("plan").verb, Verb::Configured);
    }

    #[test]
    fn a_node_of_another_age_is_told_before_anything_is_sent() {
        use mote_protocol::node::Birth;
        let mut fleet = Fleet::default();
        let birth = Birth { pod_schemas: (2, 3), ..Birth::default() };
        absorb(&mut fleet, Topic::Birth, frame::encode(&birth).expect("encodes"));
        let error = plan(&fleet, &key(), &node(), &pod("a", "x"), given(1, false));
        let text = error.expect_err("a schema that the node does not read").to_string();
        assert!(text.starts_with("node pi reads pods of schema 2 to 3"), "{text}");
    }

    #[test]
    fn a_pod_after_a_tombstone_is_a_new_one() {
        let mut gone = first();
        gone.object.intent = Intent::Delete { grace_s: None };
        let plan = plan(&with(&gone), &key(), &node(), &pod("a", "x"), given(6000, false));
        let plan = plan.expect("plan");
        assert_eq!((plan.verb, plan.object.uid), (Verb::Created, Some(UID)));
    }

    #[test]
    fn force_replaces_data_only_where_it_may_not_change() {
        let key = ObjectKey { kind: Kind::ConfigMap, ..key() };
        let map = |value: &str| {
            let data = [("a".to_owned(), value.to_owned())].into();
            Content::ConfigMap(ConfigMap { data, immutable: true, ..ConfigMap::default() })
        };
        let mut fleet = Fleet::default();
        let first = plan(&fleet, &key, &node(), &map("x"), given(5000, true)).expect("plan");
        assert_eq!((first.verb, first.object.uid), (Verb::Created, None));
        let payload = frame::encode(&first.object).expect("encodes");
        absorb(&mut fleet, Topic::Spec(key.clone()), payload);
        let next =
            |value: &str, force| plan(&fleet, &key, &node(), &map(value), given(6000, force));
        assert_eq!(next("x", true).expect("plan").verb, Verb::Unchanged);
        let text = next("y", false).expect_err("immutable").to_string();
        assert!(text.starts_with("The ConfigMap \"web\" is invalid: data: Forbidden"), "{text}");
        assert_eq!(next("y", true).expect("plan").verb, Verb::Replaced);
    }
}
