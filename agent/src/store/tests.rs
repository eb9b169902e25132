//! What the store keeps of changes, on a card that a test looks at.

use std::time::Duration;

use mote_protocol::extension::Extensions;
use mote_protocol::frame;
use mote_protocol::name::{Kind, Namespace, ObjectName};
use mote_protocol::object::ContentHash;
use mote_protocol::rollout::{ROLLBACK_AFTER, UPDATE_LOCK};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::pod::machine::Machine;
use crate::pod::qos;
use crate::pod::room::Capacity;
use crate::pod::tests::{container, pod_from, wire_pod};
use crate::pod::{Boot, Moment};
use crate::world::still::{StillWorld, edges};

mod static_pods;

const LIFE: Uid = Uid([1; 16]);
const OTHER: Uid = Uid([2; 16]);

fn key() -> ObjectKey {
    let (namespace, name) = (Namespace::new("default").unwrap(), ObjectName::new("web").unwrap());
    ObjectKey { kind: Kind::Pod, namespace, name }
}

fn scope(text: &str) -> Source {
    Source::parse(text).unwrap()
}

fn framed(number: u64, uid: Option<Uid>, intent: Intent) -> Vec<u8> {
    let hash = ContentHash(seal::short_hash(&intent.to_hashed_bytes().unwrap()));
    let revision = Revision { number, hash };
    frame::encode(&Object { revision, uid, intent, extensions: Extensions::default() }).unwrap()
}

fn applied(number: u64, uid: Uid, label: &str, trial: bool) -> Vec<u8> {
    let mut asked = wire_pod(vec![container("a")]);
    asked.meta.labels.insert("is".into(), label.into());
    if trial {
        asked.meta.annotations.insert(ROLLBACK_AFTER.into(), "30s".into());
    }
    framed(number, Some(uid), asked.to_intent().unwrap())
}

/// A pod with these containers that may have to wait.
fn waiting(number: u64, uid: Option<Uid>, containers: &[&str]) -> Vec<u8> {
    let mut asked = wire_pod(containers.iter().map(|name| container(name)).collect());
    asked.meta.annotations.insert(UPDATE_LOCK.into(), "printing".into());
    framed(number, uid, asked.to_intent().unwrap())
}

fn deleted(number: u64) -> Vec<u8> {
    framed(number, None, Intent::Delete { grace_s: None })
}

async fn opened(edges: &SharedEdges<StillWorld>) -> Store<StillWorld> {
    open(Rc::clone(edges), NodePolicy::default(), b"board").await.store
}

fn ledger(edges: &SharedEdges<StillWorld>) -> Ledger {
    seal::unseal(&edges.disk.files.borrow()["ledger"]).unwrap()
}

/// Has the store take in what it must accept.
async fn accept(store: &mut Store<StillWorld>, to: &str, frame: &[u8]) -> Change {
    let admitted = Box::pin(store.admit(&scope(to), &key(), frame)).await;
    let Ok(Admission::Accepted { change, .. }) = admitted else { panic!("{admitted:?}") };
    change
}

/// Has the store take in what it must put off.
async fn put_off(store: &mut Store<StillWorld>, to: &str, frame: &[u8]) -> Revision {
    let admitted = Box::pin(store.admit(&scope(to), &key(), frame)).await;
    let Ok(Admission::Delayed { put_off, .. }) = admitted else { panic!("{admitted:?}") };
    put_off.revision
}

/// One life, and another on trial in its place that is taken back.
async fn take_back(store: &mut Store<StillWorld>, before: (&str, u64), tried: (&str, u64)) {
    accept(store, before.0, &applied(before.1, LIFE, "old", false)).await;
    let second = applied(tried.1, OTHER, "new", true);
    let admitted = store.admit(&scope(tried.0), &key(), &second).await.unwrap();
    let Admission::Accepted { revision, trial: Some(_), .. } = admitted else {
        panic!("{admitted:?}");
    };
    let back = Sentence::Back { why: "why".into() };
    let sentenced = store.sentence(&key(), OTHER, revision, back).await.unwrap();
    assert!(matches!(sentenced, Sentenced::Back(_)), "{sentenced:?}");
}

#[tokio::test]
async fn the_ledger_does_not_say_that_what_runs_again_is_gone() {
    let edges = edges();
    let mut store = opened(&edges).await;
    take_back(&mut store, ("n", 1), ("n", 2)).await;
    let known = ledger(&edges).get(&scope("n"), &key()).map(|revision| revision.number);
    assert_eq!(known, Some(1), "the revision that runs again");
    let mut store = opened(&edges).await;
    let again = applied(2, OTHER, "new", true);
    let again = store.admit(&scope("n"), &key(), &again).await.unwrap();
    assert_eq!(again, Admission::Same, "its file knows that it was tried");
}

#[tokio::test]
async fn what_runs_again_of_another_scope_says_nothing_of_revisions_of_this_one() {
    let edges = edges();
    let mut store = opened(&edges).await;
    take_back(&mut store, ("@all", 9), ("n", 2)).await;
    for mut store in [store, opened(&edges).await] {
        accept(&mut store, "n", &applied(3, LIFE, "next", false)).await;
    }
    let known = ledger(&edges).get(&scope("n"), &key()).expect("what was tried is over");
    let store = opened(&edges).await;
    let next =
        store.entries.get(&key()).expect("what took its place is there after the next start");
    assert!(known.number >= 2 && known < next.held.revision, "{known:?}");
}

#[tokio::test]
async fn what_waits_behind_what_runs_again_of_another_scope_is_kept_and_made() {
    let edges = edges();
    let mut store = opened(&edges).await;
    take_back(&mut store, ("@all", 9), ("n", 2)).await;
    // What was tried has ended.
    store.previous_ended(&key(), OTHER).await;
    let next = waiting(3, Some(Uid([3; 16])), &["a"]);
    let revision = put_off(&mut store, "n", &next).await;
    let mut store = opened(&edges).await;
    let again = store.admit(&scope("n"), &key(), &next).await;
    assert_eq!(again.unwrap(), Admission::Same, "it is on flash");
    let made = Box::pin(store.patience(&key(), revision, Patience::Over)).await;
    assert!(matches!(made, Ok(Some(Admission::Accepted { .. }))), "{made:?}");
    assert!(opened(&edges).await.entries.contains_key(&key()));
}

#[tokio::test]
async fn the_end_of_what_runs_is_heard_again_where_flash_refused_a_part_of_it() {
    let edges = edges();
    let mut store = opened(&edges).await;
    accept(&mut store, "@all", &applied(2, LIFE, "old", false)).await;
    let waits = put_off(&mut store, "n", &waiting(5, None, &["a", "b"])).await;
    edges.disk.refused.set(Some("spec"));
    let end = store.admit(&scope("@all"), &key(), &deleted(3)).await;
    assert!(end.is_err(), "{end:?}");
    edges.disk.refused.set(None);
    let made = Box::pin(store.admit(&scope("@all"), &key(), &deleted(3))).await;
    let Ok(Admission::Accepted { revision, change, .. }) = made else { panic!("{made:?}") };
    assert_eq!((revision, change), (waits, Change::Replace));
    let again = store.admit(&scope("@all"), &key(), &deleted(3)).await;
    assert_eq!(again.unwrap(), Admission::Same);
}

#[tokio::test]
async fn the_ledger_spares_what_runs_while_others_wait_one_after_the_other() {
    let edges = edges();
    let mut store = opened(&edges).await;
    accept(&mut store, "@all", &applied(2, LIFE, "old", false)).await;
    put_off(&mut store, "@red", &waiting(5, None, &["a", "b"])).await;
    let revision = put_off(&mut store, "n", &waiting(6, None, &["a", "c"])).await;
    assert!(!edges.disk.files.borrow().contains_key("ledger"), "nothing is gone");
    let made = Box::pin(store.patience(&key(), revision, Patience::Over)).await;
    assert!(matches!(made, Ok(Some(Admission::Accepted { .. }))), "{made:?}");
    let known = ledger(&edges).get(&scope("@all"), &key()).map(|revision| revision.number);
    assert_eq!(known, Some(2), "what ran");
}

/// One pod runs, and two changes wait one after the other, each of another scope: the first of `waited`.
async fn overtaken(edges: &SharedEdges<StillWorld>, waited: &str) -> (Store<StillWorld>, Revision) {
    let mut store = opened(edges).await;
    accept(&mut store, "@blue", &applied(4, LIFE, "old", false)).await;
    put_off(&mut store, waited, &waiting(5, None, &["a"])).await;
    let last = put_off(&mut store, "n", &waiting(6, None, &["a", "c"])).await;
    (store, last)
}

/// The last number that the ledger knows of a scope.
fn known(edges: &SharedEdges<StillWorld>, of: &str) -> Option<u64> {
    ledger(edges).get(&scope(of), &key()).map(|revision| revision.number)
}

/// Has the store take in the end of a life, and forget it.
async fn end(store: &mut Store<StillWorld>, number: u64, uid: Uid) {
    let gone = store.admit(&scope("n"), &key(), &deleted(number)).await.unwrap();
    assert!(matches!(gone, Admission::Deleting { .. }), "{gone:?}");
    store.forget(&key(), uid).await.unwrap();
}

#[tokio::test]
async fn what_waited_stays_away_once_what_waited_in_its_place_is_made_or_gone() {
    // The scope of what runs, and another.
    for waited in ["@blue", "@red"] {
        let edges = edges();
        overtaken(&edges, waited).await;
        end(&mut opened(&edges).await, 7, LIFE).await;
        assert_eq!(known(&edges, waited), Some(5));

        let edges = self::edges();
        let (_, last) = overtaken(&edges, waited).await;
        let mut store = opened(&edges).await;
        let made = Box::pin(store.patience(&key(), last, Patience::Over)).await;
        let Ok(Some(Admission::Accepted { life, .. })) = made else { panic!("{made:?}") };
        assert_eq!(known(&edges, waited), Some(5));
        end(&mut store, 7, life.pod.name.uid).await;
        for mut store in [store, opened(&edges).await] {
            let again = waiting(5, None, &["a"]);
            let again = store.admit(&scope(waited), &key(), &again).await.unwrap();
            assert_eq!(again, Admission::Same, "{waited}");
        }
    }
}

#[tokio::test]
async fn what_waited_may_wait_again_where_what_waited_in_its_place_cannot_be_made() {
    let edges = edges();
    let (mut store, last) = overtaken(&edges, "@blue").await;
    store.policy.taints = vec!["slow:NoExecute".parse().unwrap()];
    let made = Box::pin(store.patience(&key(), last, Patience::Over)).await;
    assert!(matches!(made, Ok(Some(Admission::Refused(_)))), "{made:?}");
    let mut store = opened(&edges).await;
    assert!(store.entries.contains_key(&key()), "what runs goes on");
    put_off(&mut store, "@blue", &waiting(5, None, &["a"])).await;
    assert!(!edges.disk.files.borrow().contains_key("ledger"), "nothing is gone");
}

#[tokio::test]
async fn what_waited_is_not_over_while_what_runs_is_taken_back() {
    let edges = edges();
    let mut store = opened(&edges).await;
    accept(&mut store, "@blue", &applied(3, LIFE, "old", false)).await;
    accept(&mut store, "@blue", &applied(4, OTHER, "new", true)).await;
    store.previous_ended(&key(), LIFE).await;
    put_off(&mut store, "@blue", &waiting(5, None, &["a"])).await;
    let last = put_off(&mut store, "n", &waiting(6, None, &["a", "c"])).await;
    let tried = store.read(&key()).await.unwrap().current.revision().unwrap();
    let back = Sentence::Back { why: "why".into() };
    let back = store.sentence(&key(), OTHER, tried, back).await.unwrap();
    assert!(matches!(back, Sentenced::Back(_)), "{back:?}");
    assert!(known(&edges, "@blue") < Some(5));
    let made = Box::pin(store.patience(&key(), last, Patience::Over)).await;
    assert!(matches!(made, Ok(Some(Admission::Accepted { .. }))), "{made:?}");
    assert_eq!(known(&edges, "@blue"), Some(5));
}

/// An older agent makes the change, or a later one, and leaves the extension in the file.
#[tokio::test]
async fn what_an_older_agent_made_waits_no_longer() {
    let edges = edges();
    let mut store = opened(&edges).await;
    accept(&mut store, "n", &applied(2, LIFE, "old", false)).await;
    let change = waiting(3, Some(LIFE), &["a"]);
    put_off(&mut store, "n", &change).await;
    let stored = store.read(&key()).await.unwrap();
    assert!(stored.waits().is_some());
    for frame in [change, applied(4, LIFE, "newer", false)] {
        let mut stored = stored.clone();
        stored.current.frame = frame;
        assert!(stored.waits().is_none(), "{:?}", stored.current.revision());
    }
}

#[tokio::test]
async fn a_life_that_ended_is_not_in_the_file_of_its_successor() {
    let edges = edges();
    let mut store = opened(&edges).await;
    for (number, uid) in [(1, LIFE), (2, OTHER)] {
        accept(&mut store, "n", &applied(number, uid, "a", false)).await;
    }
    let previous = || {
        let files = edges.disk.files.borrow();
        seal::unseal::<Stored>(&files[&spec_file(&key())]).unwrap().previous
    };
    assert!(previous().is_some());
    store.previous_ended(&key(), LIFE).await;
    assert_eq!(previous(), None, "what comes next may have to wait, also after a start");
}

#[tokio::test]
async fn the_record_of_a_pod_says_who_spoke_of_it_last() {
    let edges = edges();
    let mut store = opened(&edges).await;
    let say = async |store: &mut Store<StillWorld>, to: &str, number| {
        let object = applied(number, LIFE, to, false);
        let admitted = store.admit(&scope(to), &key(), &object).await.unwrap();
        assert!(matches!(admitted, Admission::Accepted { .. }), "{admitted:?}");
    };
    say(&mut store, "@all", 1).await;
    say(&mut store, "@red", 2).await;
    let file = record_file(LIFE);
    assert!(!edges.disk.files.borrow().contains_key(&file), "where there is none, there is none");
    let machine = Machine::new(Rc::new(pod_from(&wire_pod(vec![container("a")]))), Moment(0));
    let record = machine.record(Boot::default());
    store.save_record(LIFE, &record).await.unwrap();
    let kept = || seal::unseal::<Record>(&edges.disk.files.borrow()[&file]).unwrap();
    let revision = || kept().extensions.read::<Revision>(REVISION).map(|revision| revision.number);
    assert_eq!((kept().extensions.get(SCOPE), revision()), (Some(&b"@red"[..]), Some(2)));
    say(&mut store, "n", 3).await;
    assert_eq!((kept().extensions.get(SCOPE), revision()), (Some(&b"n"[..]), Some(3)));
    assert_eq!(kept().extensions.0.len(), 2);
    assert_eq!(Record { extensions: Extensions::default(), ..kept() }, record);
}

/// What is told of an order, without its details.
fn words(told: &Told) -> String {
    match told {
        Told::Received { admission: Admission::Deleting { .. }, .. } => "deleting".into(),
        Told::Received { admission, .. } => format!("{admission:?}").chars().take(8).collect(),
        Told::LedgerKept { result } => format!("ledger {}", result.is_ok()),
        Told::Sentenced { result, .. } => format!("{result:?}").chars().take(10).collect(),
        other => format!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn that_flash_refused_the_ledger_is_told_behind_the_end_and_that_it_took_it_later() {
    let tasks = async {
        let edges = edges();
        let (orders, inbox) = mpsc::unbounded_channel();
        let (outbox, mut told) = mpsc::unbounded_channel();
        spawn_local(serve(opened(&edges).await, inbox, outbox));
        let receive = |payload| {
            let arrival = Arrival { scope: scope("n"), key: key(), payload, receipt: None };
            orders.send(Order::Receive(arrival)).unwrap();
        };
        let settle = async || tokio::time::sleep(Duration::from_secs(1)).await;
        receive(applied(1, LIFE, "a", false));
        settle().await;
        edges.disk.refused.set(Some("ledger"));
        receive(deleted(2));
        settle().await;
        edges.disk.refused.set(None);
        tokio::time::sleep(Duration::from_mins(1)).await;
        let said: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        let said: Vec<_> = said.iter().map(words).collect();
        assert_eq!(said, ["Accepted", "deleting", "ledger false", "Same", "ledger true"]);
    };
    LocalSet::new().run_until(tasks).await;
}

#[tokio::test(start_paused = true)]
async fn every_sentence_is_answered() {
    let tasks = async {
        let edges = edges();
        let mut store = opened(&edges).await;
        store.admit(&scope("n"), &key(), &applied(1, LIFE, "a", false)).await.unwrap();
        let tried = applied(2, LIFE, "b", true);
        let Ok(Admission::Accepted { revision, .. }) =
            store.admit(&scope("n"), &key(), &tried).await
        else {
            panic!("it is taken")
        };
        let (orders, inbox) = mpsc::unbounded_channel();
        let (outbox, mut told) = mpsc::unbounded_channel();
        spawn_local(serve(store, inbox, outbox));
        for (sentence, refused) in [
            (Sentence::Counts(crate::rollout::Count::default()), None),
            (Sentence::Final, Some("spec")),
            (Sentence::Final, None),
            (Sentence::Final, None),
        ] {
            edges.disk.refused.set(refused);
            orders
                .send(Order::Sentence { key: key(), uid: LIFE, tried: revision, sentence })
                .unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let said: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        let said: Vec<_> = said.iter().map(words).collect();
        assert_eq!(said, ["Ok(Counted", "Err(Kind(S", "Ok(Final)", "Ok(Void)"]);
    };
    Box::pin(LocalSet::new().run_until(tasks)).await;
}

/// A pod of this class, priority and toleration.
fn of_class(number: u64, memory: Option<u64>, priority: Option<i32>, tolerates: bool) -> Vec<u8> {
    use mote_protocol::pod::{Toleration, TolerationOperator};
    let mut asked = wire_pod(vec![container("a")]);
    asked.spec.containers[0].requests.memory_bytes = memory;
    asked.spec.priority = priority;
    let (operator, key) = (TolerationOperator::Exists, "node.kubernetes.io/memory-pressure".into());
    let (value, effect, seconds) = (String::new(), None, None);
    let toleration = Toleration { key, operator, value, effect, seconds };
    asked.spec.tolerations.extend(tolerates.then_some(toleration));
    framed(number, None, asked.to_intent().unwrap())
}

#[test]
fn a_node_that_is_short_of_something_takes_no_pod_that_makes_it_worse() {
    use crate::eviction::{Pressure, Pressures};
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (some, critical) = (Some(1 << 20), Some(2_000_000_000));
    // Pressure, request, priority, toleration, and whether the pod is taken.
    let rows = [
        (Pressure::Memory, None, None, false, false),
        (Pressure::Memory, some, None, false, true),
        (Pressure::Memory, None, None, true, true),
        (Pressure::Memory, None, critical, false, true),
        (Pressure::Disk, some, None, true, false),
        (Pressure::Disk, None, critical, false, true),
        (Pressure::Pid, some, None, false, false),
    ];
    for (pressure, memory, priority, tolerates, taken) in rows {
        let admission = runtime.block_on(async {
            let mut store = opened(&edges()).await;
            store.under(Pressures::of(|one| one == pressure));
            let frame = of_class(1, memory, priority, tolerates);
            Box::pin(store.admit(&scope("n"), &key(), &frame)).await.unwrap()
        });
        match admission {
            Admission::Accepted { .. } => assert!(taken, "{pressure:?} {memory:?} {priority:?}"),
            Admission::Refused(no) => {
                assert!(!taken, "{pressure:?} {memory:?} {priority:?}");
                let message = format!("The node had condition: [{}]. ", pressure.as_str());
                assert_eq!((&*no.reason, &*no.message), ("Evicted", &*message));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_pod_that_does_not_tolerate_a_taint_is_not_taken() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let taints = ["node.kubernetes.io/memory-pressure:NoExecute", "slow:NoSchedule"];
    let taints: Vec<_> = taints.iter().map(|text| text.parse().unwrap()).collect();
    for tolerates in [false, true] {
        let admission = runtime.block_on(async {
            let mut store = opened(&edges()).await;
            store.policy.taints.clone_from(&taints);
            let frame = of_class(1, None, None, tolerates);
            Box::pin(store.admit(&scope("n"), &key(), &frame)).await.unwrap()
        });
        match admission {
            Admission::Refused(no) => {
                assert!(!tolerates && &*no.reason == "TaintToleration", "{no:?}");
            }
            other => assert!(tolerates, "{other:?}"),
        }
    }
}

/// A pod that asks for CPU, of a priority.
fn asking(milli: u64, priority: i32) -> Vec<u8> {
    let mut asked = wire_pod(vec![container("a")]);
    asked.spec.containers[0].requests.cpu_milli = Some(milli);
    asked.spec.priority = Some(priority);
    framed(7, None, asked.to_intent().unwrap())
}

#[tokio::test]
async fn who_asks_for_more_than_there_is_is_refused_and_a_critical_one_takes_it_from_others() {
    let policy = || NodePolicy {
        room: Capacity([Some(3), Some(1000), None, None]),
        ..NodePolicy::default()
    };
    let edges = edges();
    let mut store = open(Rc::clone(&edges), policy(), b"board").await.store;
    let named = |name: &str| ObjectKey { name: ObjectName::new(name).unwrap(), ..key() };
    for (name, milli) in [("small", 100), ("large", 600)] {
        let admitted = store.admit(&scope("n"), &named(name), &asking(milli, 0)).await.unwrap();
        assert!(matches!(admitted, Admission::Accepted { .. }), "{admitted:?}");
    }
    let refused = |admission: Admission| match admission {
        Admission::Refused(refusal) => (refusal.reason.to_string(), refusal.message.to_string()),
        other => panic!("{other:?}"),
    };
    let more = store.admit(&scope("n"), &named("more"), &asking(301, 0)).await.unwrap();
    let message =
        "Node didn't have enough resource: cpu, requested: 301, used: 700, capacity: 1000";
    assert_eq!(refused(more), ("OutOfcpu".into(), message.into()));
    let huge = store.admit(&scope("n"), &named("huge"), &asking(1001, qos::CRITICAL)).await;
    assert_eq!(refused(huge.unwrap()).0, "OutOfcpu", "all of them would not be enough");

    let uid = store.entries[&named("small")].held.uid;
    let first = store.admit(&scope("n"), &named("first"), &asking(400, qos::CRITICAL)).await;
    let Ok(Admission::Accepted { preempted, .. }) = first else { panic!("{first:?}") };
    assert_eq!(preempted, [uid], "the smallest that is enough");
    // It has its room until it has ended, also for an agent that comes meanwhile, which ends it then.
    let early = store.admit(&scope("n"), &named("early"), &asking(0, 0)).await.unwrap();
    assert_eq!(refused(early).0, "OutOfpods");
    let again = open(Rc::clone(&edges), policy(), b"board").await;
    assert_eq!(again.preempted, [uid].into());
    assert!(again.store.entries[&named("small")].claims.gives_way);
    let mut over = Machine::new(Rc::new(pod_from(&wire_pod(vec![container("a")]))), Moment(0))
        .record(Boot::default());
    over.verdict = Some((mote_protocol::status::Phase::Failed, None));
    store.save_record(uid, &over).await.unwrap();
    // The critical one does not give way to another.
    let second = store.admit(&scope("n"), &named("second"), &asking(0, 0)).await.unwrap();
    assert!(matches!(second, Admission::Accepted { .. }), "{second:?}");
    let fourth = store.admit(&scope("n"), &named("fourth"), &asking(0, 0)).await.unwrap();
    assert_eq!(refused(fourth).0, "OutOfpods");
    let third = store.admit(&scope("n"), &named("third"), &asking(600, qos::CRITICAL)).await;
    let Ok(Admission::Accepted { preempted, .. }) = third else { panic!("{third:?}") };
    assert_eq!(preempted, [store.entries[&named("large")].held.uid]);
}

#[tokio::test]
async fn nobody_has_the_uid_of_another_pod() {
    let edges = edges();
    let mut store = opened(&edges).await;
    accept(&mut store, "n", &applied(1, LIFE, "one", false)).await;
    let other = ObjectKey { name: ObjectName::new("other").unwrap(), ..key() };
    let asked = store.admit(&scope("n"), &other, &applied(2, LIFE, "two", false)).await.unwrap();
    let Admission::Refused(refusal) = asked else { panic!("{asked:?}") };
    assert_eq!((&*refusal.reason, &*refusal.field), ("Conflict", "metadata.uid"));
    assert!(refusal.message.contains("pod/default/web"), "{}", refusal.message);
}
