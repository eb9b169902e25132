use super::*;
use crate::broker::Message;
use crate::command::apply::progress::{self, Progress};
use mote_protocol::frame;
use mote_protocol::name::{FleetName, GroupName, Namespace, ObjectName};
use mote_protocol::object::{ConfigMap, Service};
use mote_protocol::pod::Container;
use mote_protocol::rollout::{DELAYED, ROLLED_BACK};
use mote_protocol::status::{ObjectStatus, PodStatus, Reason, Refusal};
use mote_protocol::topic::{Address, Topic};

const UID: Uid = Uid([7; 16]);

fn key() -> ObjectKey {
    let namespace = Namespace::new("default").expect("label");
    ObjectKey { kind: Kind::Pod, namespace, name: ObjectName::new("web").expect("name") }
}

fn node() -> Scope {
    Scope::Node(pi())
}

fn pi() -> NodeName {
    NodeName::new("pi").expect("node")
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

fn refused(seen: Revision, reason: &str) -> Refusal {
    Refusal { seen, reason: Reason::new(reason), field: "".into(), message: "".into() }
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
    let accepted = first().object.revision;
    let refusal = Some(refused(seen, "Invalid"));
    let status = PodStatus { accepted, refusal, ..PodStatus::default() };
    absorb(&mut fleet, Topic::Status(key()), frame::encode(&status).expect("encodes"));
    let plan = change(&fleet);
    assert_eq!((plan.object.revision.number, plan.verb), (9001, Verb::Configured));
}

#[test]
fn what_was_taken_back_is_tried_once_more_when_it_is_applied_once_more() {
    let mut fleet = with(&first());
    let seen = first().object.revision;
    let accepted = Revision { number: 4000, ..Revision::default() };
    let refusal = Some(refused(seen, ROLLED_BACK));
    let status = PodStatus { accepted, refusal, ..PodStatus::default() };
    absorb(&mut fleet, Topic::Status(key()), frame::encode(&status).expect("encodes"));
    let again = plan(&fleet, &key(), &node(), &pod("a", "x"), given(99_000, false));
    let again = again.expect("plan");
    assert_eq!((again.verb, again.object.revision.number), (Verb::Configured, 99_000));
}

#[test]
fn what_no_node_took_is_created_anew_until_one_does() {
    let mut fleet = with(&first());
    let status =
        PodStatus { refusal: Some(refused(first().object.revision, "Invalid")), ..<_>::default() };
    absorb(&mut fleet, Topic::Status(key()), frame::encode(&status).expect("encodes"));
    let again = |fleet: &Fleet, command: &str| {
        plan(fleet, &key(), &node(), &pod("a", command), given(99_000, false)).expect("plan")
    };
    let same = again(&fleet, "x");
    assert_eq!((same.verb, same.object.revision.number), (Verb::Created, 99_000));
    assert_eq!((&same.object.intent, same.object.uid), (&first().object.intent, None));
    assert_eq!(again(&fleet, "y").verb, Verb::Created, "nothing of it runs: it may be another");
    // The answer to the one before is none to this.
    absorb(&mut fleet, Topic::Spec(key()), frame::encode(&same.object).expect("encodes"));
    let progress = |fleet: &Fleet| progress::of(fleet, &key(), &node(), &pi(), &same.object);
    assert_eq!(progress(&fleet), Progress::Waiting);
    assert_eq!(again(&fleet, "x").verb, Verb::Unchanged);
    let status = PodStatus { accepted: same.object.revision, ..PodStatus::default() };
    absorb(&mut fleet, Topic::Status(key()), frame::encode(&status).expect("encodes"));
    assert_eq!(progress(&fleet), Progress::Accepted(None));
    assert_eq!(again(&fleet, "x").verb, Verb::Unchanged);
}

#[test]
fn a_change_that_waits_is_not_said_anew_and_one_that_was_refused_is() {
    let seen = first().object.revision;
    let again = |reason: &str| {
        let mut fleet = with(&first());
        let accepted = Revision { number: 4000, ..Revision::default() };
        let status =
            PodStatus { accepted, refusal: Some(refused(seen, reason)), ..PodStatus::default() };
        absorb(&mut fleet, Topic::Status(key()), frame::encode(&status).expect("encodes"));
        plan(&fleet, &key(), &node(), &pod("a", "x"), given(99_000, false)).expect("plan").verb
    };
    assert_eq!(again(DELAYED), Verb::Unchanged);
    assert_eq!(again("Invalid"), Verb::Configured);
}

#[test]
fn what_one_node_of_a_group_refused_is_said_anew_to_all_of_them() {
    use mote_protocol::node::Birth;
    let (group, web) = (Scope::parse("@shop").expect("a group"), Service::default());
    let key = ObjectKey { kind: Kind::Service, ..key() };
    let said = |fleet: &Fleet| {
        let content = Content::Service(Box::new(web.clone()));
        plan(fleet, &key, &group, &content, given(5000, false)).expect("plan")
    };
    let mut fleet = Fleet::default();
    let asked = said(&fleet).object;
    let put = |fleet: &mut Fleet, scope: &str, topic: Topic, payload: Vec<u8>| {
        let scope = Scope::parse(scope).expect("a scope");
        let address = Address { fleet: FleetName::new("f").expect("label"), scope, topic };
        fleet.absorb(&Message { topic: address.to_string(), payload });
    };
    let spec = || frame::encode(&asked).expect("encodes");
    put(&mut fleet, "@shop", Topic::Spec(key.clone()), spec());
    let mut birth = Birth::default();
    birth.set_groups(&[GroupName::new("shop").expect("a group")]);
    let says = |fleet: &mut Fleet, node: &str, took: bool| {
        let refusal = refused(asked.revision, "Invalid");
        let status = if took {
            ObjectStatus { accepted: asked.revision, ..ObjectStatus::default() }
        } else {
            ObjectStatus { refusal: Some(refusal), ..ObjectStatus::default() }
        };
        put(fleet, node, Topic::Birth, frame::encode(&birth).expect("encodes"));
        put(fleet, node, Topic::Status(key.clone()), frame::encode(&status).expect("encodes"));
    };
    says(&mut fleet, "a", false);
    assert_eq!(said(&fleet).verb, Verb::Created, "no node took it");
    says(&mut fleet, "b", true);
    let again = said(&fleet);
    assert_eq!((again.verb, again.object.revision.number), (Verb::Configured, 5001));
    // What the node has alone keeps the group's out: to say that anew changes nothing.
    put(&mut fleet, "a", Topic::Spec(key.clone()), spec());
    assert_eq!(said(&fleet).verb, Verb::Unchanged);
}

#[test]
fn what_cannot_change_is_refused_unless_forced() {
    let fleet = with(&first());
    let refused = plan(&fleet, &key(), &node(), &pod("a", "y"), given(6000, false));
    let text = refused.expect_err("immutable").to_string();
    assert!(text.contains("spec.containers[0].command[0]: Forbidden"), "{text}");
    let forced = plan(&fleet, &key(), &node(), &pod("a", "y"), given(6000, true)).expect("plan");
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
    let address = Address { fleet: FleetName::new("f").expect("label"), scope: Scope::All, topic };
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
    let next = |value: &str, force| plan(&fleet, &key, &node(), &map(value), given(6000, force));
    assert_eq!(next("x", true).expect("plan").verb, Verb::Unchanged);
    let text = next("y", false).expect_err("immutable").to_string();
    assert!(text.starts_with("The ConfigMap \"web\" is invalid: data: Forbidden"), "{text}");
    assert_eq!(next("y", true).expect("plan").verb, Verb::Replaced);
}
