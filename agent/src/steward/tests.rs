//! What single messages make of the node; whole histories are the simulator's.

use std::io;

use mote_protocol::frame;
use mote_protocol::name::{Kind, Namespace, ObjectName};
use mote_protocol::node::Usage;
use mote_protocol::status::Phase;
use tokio::task::LocalSet;

use super::rollout::Tried;
use super::*;
use crate::link::FromBroker;
use crate::link::outbox::{Class, Settled};
use crate::pod::contents::names::NodeFilesReader;
use crate::pod::machine::{Machine, Remains};
use crate::pod::tests::{container, pod_from, wire_pod};
use crate::pod::validate::NodePolicy;
use crate::rollout::{Count, Trial};
use crate::runtime::{Observed, RuntimeError};
use crate::store::{Admission, OnTrial, Sentence, Sentenced, open};
use crate::world::still::{Still, StillWorld, edges};

/// A node, and what it orders of its store, which nobody carries out.
struct Node {
    steward: Steward<StillWorld>,
    ordered: mpsc::UnboundedReceiver<Order>,
    _ends: (mpsc::UnboundedSender<RuntimeEvent>, mpsc::UnboundedReceiver<ToPresence>),
}

fn key() -> ObjectKey {
    let (namespace, name) = (Namespace::new("default").unwrap(), ObjectName::new("web").unwrap());
    ObjectKey { kind: Kind::Pod, namespace, name }
}

async fn node() -> Node {
    let identity = Identity {
        fleet: FleetName::new("test").unwrap(),
        node: NodeName::new("n").unwrap(),
        groups: Vec::new(),
        labels: BTreeMap::new(),
        boot_id: [1; 16],
        memory_bytes: 1 << 30,
        allocatable: Amounts::default(),
        max_evicted_grace_s: 0,
        addresses: Vec::new,
        files: NodeFilesReader::new(Default::default),
        used: |_| NodeSample::default(),
        state_dir: PathBuf::new(),
        reports: Reports::default(),
        devices: Vec::new(),
        streams: Allowed::default(),
        shutdown: Shutdown::default(),
    };
    let edges = edges();
    let opened = open(Rc::clone(&edges), NodePolicy::default(), b"board").await;
    let (events, runtime) = mpsc::unbounded_channel();
    let (to_presence, presence) = mpsc::unbounded_channel();
    let (_, from_presence) = mpsc::unbounded_channel();
    let (_, local) = mpsc::unbounded_channel();
    let (doctor, _) = mpsc::unbounded_channel();
    let (power, _) = mpsc::unbounded_channel();
    let services = watch::Sender::default();
    let channels = Channels {
        runtime,
        from_presence,
        to_presence,
        doctor,
        power,
        network: tokio::sync::watch::channel(None).1,
        services,
        local,
        conditions: tokio::sync::watch::channel(0).1,
    };
    let mut steward = Steward::new(identity, edges, Still::default(), opened, channels);
    let (orders, ordered) = mpsc::unbounded_channel();
    steward.orders = orders;
    Node { steward, ordered, _ends: (events, presence) }
}

impl Node {
    fn reasons(&self) -> Vec<String> {
        let events = self.steward.events_about(None);
        events.iter().map(|event| event.reason.to_string()).collect()
    }

    /// The sentence that was ordered next.
    fn sentence(&mut self) -> Option<Sentence> {
        loop {
            if let Order::Sentence { sentence, .. } = self.ordered.try_recv().ok()? {
                return Some(sentence);
            }
        }
    }

    /// A pod that has succeeded with its last change, which is on trial.
    fn succeeded_on_trial(&mut self) -> Revision {
        let pod = Rc::new(pod_from(&wire_pod(vec![container("a")])));
        let now = self.steward.now();
        let mut record = Machine::new(Rc::clone(&pod), now).record(self.steward.boot());
        record.verdict = Some((Phase::Succeeded, None));
        let boot = self.steward.boot();
        let remains = Remains { record: Some(record), boot, ..Remains::default() };
        let machine = Machine::adopt(Rc::clone(&pod), now, remains, now);
        let trial = Trial::new(Duration::from_secs(30), Count::default());
        let on = Box::new(OnTrial { trial, before: Rc::clone(&pod) });
        let life = Life { pod, accepted_unix_ms: 0, grace_s: None, came_under: None };
        let revision = Revision { number: 2, ..Revision::default() };
        let trial = Some(Tried::new(on));
        let waiting = None;
        let desired = Desired { revision, life, previous: None, trial, waiting, gone: Gone::No };
        self.steward.books.desired.insert(key(), desired);
        self.steward.books.reconciler.take(machine, now);
        revision
    }

    fn is_on_trial(&self) -> bool {
        self.steward.books.desired[&key()].trial.is_some()
    }
}

async fn with_node(test: impl AsyncFnOnce(Node)) {
    LocalSet::new().run_until(async { test(node().await).await }).await;
}

fn refused() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

#[tokio::test]
async fn a_change_is_on_trial_until_flash_took_that_it_stays() {
    with_node(async |mut node| {
        let tried = node.succeeded_on_trial();
        let now = node.steward.now();
        node.steward.look_at_trial(&key(), now);
        assert_eq!(node.sentence(), Some(Sentence::Final));
        assert!(node.is_on_trial(), "flash did not hear of it");
        node.steward.look_at_trial(&key(), now);
        assert_eq!(node.sentence(), None, "it is being told");
        let result = Err(refused());
        node.steward.store_told(Told::Sentenced { key: key(), tried, result });
        assert!(node.steward.books.storage_failing);
        assert!(node.reasons().contains(&"StorageErrors".to_owned()));
        let retry = node.steward.trial_deadline().expect("it is told again");
        node.steward.look_at_trial(&key(), now);
        assert_eq!(node.sentence(), None, "not at once");
        node.steward.look_at_trial(&key(), retry);
        assert_eq!(node.sentence(), Some(Sentence::Final));
        let result = Ok(Sentenced::Final);
        node.steward.store_told(Told::Sentenced { key: key(), tried, result });
        assert!(!node.is_on_trial() && !node.steward.books.storage_failing);
    })
    .await;
}

#[tokio::test]
async fn what_flash_has_of_one_revision_says_nothing_of_the_next() {
    with_node(async |mut node| {
        let tried = node.succeeded_on_trial();
        let now = node.steward.now();
        node.steward.look_at_trial(&key(), now);
        let before = Revision { number: 1, ..tried };
        for result in [Ok(Sentenced::Counted), Ok(Sentenced::Final), Ok(Sentenced::Void)] {
            node.steward.store_told(Told::Sentenced { key: key(), tried: before, result });
        }
        assert!(node.is_on_trial());
        let result = Ok(Sentenced::Counted);
        node.steward.store_told(Told::Sentenced { key: key(), tried, result });
        assert!(node.is_on_trial(), "that its time runs was told before its end");
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_the_last_events_hears_of_the_write_that_is_under_way() {
    with_node(async |mut node| {
        let kept = |node: &mut Node| {
            let ordered = node.ordered.try_recv();
            let Ok(Order::KeepEvents { answer, .. }) = ordered else { return None };
            Some(answer.is_some())
        };
        node.steward.node_event("A", "a".into());
        let due = node.steward.books.events.next_write().expect("it is written");
        node.steward.keep_events(due);
        assert_eq!(kept(&mut node), Some(false));
        let (answer, mut answered) = oneshot::channel();
        node.steward.keep_events_at_last(answer);
        assert!(answered.try_recv().is_err(), "nobody knows whether it gets there");
        node.steward.store_told(Told::EventsKept { result: Ok(()) });
        assert_eq!((answered.try_recv(), kept(&mut node)), (Ok(()), None));
        // What happens meanwhile is written behind it.
        node.steward.node_event("B", "b".into());
        node.steward.keep_events(due.after(Duration::from_hours(1)));
        assert_eq!(kept(&mut node), Some(false));
        node.steward.node_event("C", "c".into());
        let (answer, _answered) = oneshot::channel();
        node.steward.keep_events_at_last(answer);
        assert_eq!(kept(&mut node), None);
        node.steward.store_told(Told::EventsKept { result: Ok(()) });
        assert_eq!(kept(&mut node), Some(true));
    })
    .await;
}

#[tokio::test]
async fn who_asks_for_pods_hears_after_the_first_look() {
    for result in [Ok(Observed::default()), Err(RuntimeError::NoSandbox { uid: Uid([0; 16]) })] {
        with_node(async |mut node| {
            let (answer, mut answered) = oneshot::channel();
            node.steward.answer_local(LocalRequest::Pods(answer));
            assert!(answered.try_recv().is_err(), "nobody knows what runs");
            let (answer, mut events) = oneshot::channel();
            node.steward.answer_local(LocalRequest::Events { about: None, answer });
            assert_eq!(events.try_recv(), Ok(Vec::new()), "they are known");
            node.steward.reported(Report::Listed { since: 0, result });
            assert_eq!(answered.try_recv(), Ok(Vec::new()));
            let (answer, mut answered) = oneshot::channel();
            node.steward.answer_local(LocalRequest::Pods(answer));
            assert_eq!(answered.try_recv(), Ok(Vec::new()), "at once, from then on");
        })
        .await;
    }
}

#[tokio::test]
async fn of_a_denied_event_no_event_is_made() {
    with_node(async |mut node| {
        let denied = |class, topic: &str| {
            let topic = topic.to_owned();
            [
                Settled::Denied { class, topic: topic.clone(), code: 0x87, cleared: false },
                Settled::Dropped { class, topic, code: 0x99, mark: None },
            ]
        };
        for settled in denied(Class::Event, "event") {
            node.steward.settled(settled);
        }
        assert_eq!(node.reasons(), [""; 0]);
        assert_eq!(node.steward.standing().denied.len(), 1, "who asks hears of it");
        for settled in denied(Class::Reply, "reply") {
            node.steward.settled(settled);
        }
        assert_eq!(node.reasons(), ["PublishDenied", "PublishDenied"]);
    })
    .await;
}

#[tokio::test]
async fn a_card_that_took_an_end_and_not_the_ledger_is_failing() {
    with_node(async |mut node| {
        let admission = Admission::Deleting {
            revision: Revision::default(),
            uid: Uid::from_random([7; 16]),
            grace_s: 1,
        };
        let scope = mote_protocol::topic::Scope::All.into();
        node.steward.store_told(Told::Received { scope, key: key(), receipt: None, admission });
        node.steward.store_told(Told::LedgerKept { result: Err(refused()) });
        assert!(node.steward.books.storage_failing);
        assert_eq!(node.reasons(), ["StorageErrors"]);
        node.steward.store_told(Told::LedgerKept { result: Ok(()) });
        assert!(!node.steward.books.storage_failing);
    })
    .await;
}

/// The only message that waits to be sent.
fn only(node: &mut Node) -> crate::link::Publication {
    let outbox = &mut node.steward.books.outbox;
    let found = outbox.take_next().expect("a message");
    assert_eq!(outbox.take_next(), None);
    found
}

#[tokio::test]
async fn what_is_used_is_told_in_a_cadence_and_lost_with_the_connection() {
    with_node(async |mut node| {
        let every = Duration::from_mins(5);
        let start = node.steward.now();
        assert_eq!(node.steward.usage_deadline(), None, "nobody listens");
        let connected =
            || FromBroker::Connected { session: Session::default(), denied: Vec::new() };
        node.steward.heard(connected());
        assert_eq!(node.steward.usage_deadline(), None, "what runs is not known");
        node.steward.books.looked = true;
        assert_eq!(node.steward.usage_deadline(), Some(start));
        node.steward.look_at_usage(start);
        assert!(node.steward.books.outbox.is_empty(), "one look tells no rates");
        assert_eq!(node.steward.usage_deadline(), Some(start.after(every)));
        node.steward.look_at_usage(start.after(every));
        let told = only(&mut node);
        assert_eq!((told.topic.as_str(), told.retain), ("mote/v1/test/n/usage", false));
        let usage: Usage = frame::decode(&told.payload).expect("a report");
        assert_eq!(usage.metrics().expect("a window").window_ms, 300_000);
        // It is not sent in time.
        node.steward.look_at_usage(start.after(2 * every));
        node.steward.look_at_usage(start.after(3 * every));
        let reason = String::new();
        node.steward.heard(FromBroker::Lost { reason, taken_over: false });
        assert_eq!(node.steward.usage_deadline(), None);
        node.steward.heard(connected());
        assert!(node.steward.books.outbox.is_empty(), "nobody wants to know of back then");
        node.steward.look_at_usage(start.after(9 * every));
        assert!(node.steward.books.outbox.is_empty(), "nor of a mean over all that time");
        node.steward.look_at_usage(start.after(10 * every));
        let usage: Usage = frame::decode(&only(&mut node).payload).expect("a report");
        assert_eq!(usage.metrics().expect("a window").window_ms, 300_000);
    })
    .await;
}

#[tokio::test]
async fn who_asks_what_is_used_waits_for_a_second_with_others() {
    with_node(async |mut node| {
        let (now, second) = (node.steward.now(), Duration::from_secs(1));
        node.steward.books.early = None;
        let mut ask = || {
            let (answer, answered) = oneshot::channel();
            node.steward.answer_local(LocalRequest::Usage(answer));
            answered
        };
        let mut waiting: Vec<_> = (0..17).map(|_| ask()).collect();
        assert_eq!(node.steward.usage_deadline(), Some(now.after(second)), "also offline");
        node.steward.look_at_usage(now);
        assert!(waiting[0].try_recv().is_err());
        node.steward.look_at_usage(now.after(second));
        let last = waiting.pop().expect("one too many");
        for mut answered in waiting {
            let report = answered.try_recv().expect("a report");
            assert_eq!(report.whole().1.window_ms, 1000);
        }
        assert!(last.await.is_err(), "there is a bound on who may wait");
        assert_eq!(node.steward.usage_deadline(), None);
    })
    .await;
}
