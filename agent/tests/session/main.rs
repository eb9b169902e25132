//! The real link against a real mosquitto.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mote_agent::config::{BrokerConfig, Login};
use mote_agent::daytime::Daytime;
use mote_agent::link::session::{LinkOptions, MqttLink, Subscription, TimeOfDay, connect};
use mote_agent::link::{Delivery, FromBroker, Link, Publication, Settlement, Ticket};
use mote_agent::pod::WRITTEN_S;
use mote_agent::ports::{Random, WallClock};
use mote_protocol::frame;
use mote_protocol::node::{Session, Will};
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod authority;
mod broker;
mod greeting;
mod journal;
mod operator;
mod tls;

use broker::Broker;
use journal::Journal;
use operator::Operator;

const SPECS: &str = "mote/v1/f/n/spec/#";
const BIRTH: &str = "mote/v1/f/n/birth";
const WEB: &str = "mote/v1/f/n/spec/pod/default/web";

/// Jitter of a fiftieth of a second: no test waits for the first pause of two.
struct Steady;

impl Random for Steady {
    fn next(&self) -> u64 {
        20
    }
}

/// A clock that shows what it is told to: Unix seconds, and whether somebody keeps it.
#[derive(Clone)]
struct Hands(Arc<Mutex<(u64, bool)>>);

impl Hands {
    fn at(seconds: u64, is_kept: bool) -> Self {
        Self(Arc::new(Mutex::new((seconds, is_kept))))
    }

    /// As the machine has it.
    fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        Self::at(since.as_secs(), true)
    }

    fn set(&self, seconds: u64, is_kept: bool) {
        *self.0.lock().expect("whole") = (seconds, is_kept);
    }
}

impl WallClock for Hands {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.lock().expect("whole").0)
    }

    fn is_kept(&self) -> bool {
        self.0.lock().expect("whole").1
    }
}

/// The time as the machine has it.
fn today() -> Daytime {
    Daytime::read(&Hands::now(), WRITTEN_S)
}

/// What a node knows of the time that never was told it.
fn time(hands: Hands) -> (TimeOfDay<Hands>, watch::Sender<u32>) {
    let (set, changes) = watch::channel(0);
    let (_, seen) = watch::channel(WRITTEN_S);
    (TimeOfDay { wall: hands, seen, set: changes }, set)
}

/// A node's link and the task behind it.
struct Node {
    link: MqttLink,
    start: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Node {
    fn connect(options: LinkOptions) -> Self {
        let (start, receiver) = watch::channel(7);
        let (link, connector) = connect(options, receiver, Steady, time(Hands::now()).0);
        Self { link, start, task: tokio::spawn(connector.run()) }
    }

    /// With a clock of its own; the sender says that somebody set it.
    fn connect_at(options: LinkOptions, hands: Hands) -> (Self, watch::Sender<u32>) {
        let (start, receiver) = watch::channel(7);
        let (time, set) = time(hands);
        let (link, connector) = connect(options, receiver, Steady, time);
        (Self { link, start, task: tokio::spawn(connector.run()) }, set)
    }

    async fn next(&mut self) -> FromBroker {
        let next = tokio::time::timeout(Duration::from_secs(20), self.link.next());
        next.await.expect("nothing happens on the link")
    }

    async fn connected(&mut self) -> (Session, Vec<(String, u8)>) {
        loop {
            match self.next().await {
                FromBroker::Connected { session, denied } => return (session, denied),
                FromBroker::Lost { .. } | FromBroker::Failed { .. } => {}
                other => panic!("before the connection: {other:?}"),
            }
        }
    }

    /// The next message, acknowledged.
    async fn message(&mut self) -> (String, Vec<u8>, bool) {
        loop {
            if let FromBroker::Received { topic, payload, retained, receipt } = self.next().await {
                if let Some(receipt) = receipt {
                    self.link.acknowledge(receipt);
                }
                return (topic, payload, retained);
            }
        }
    }

    fn publish(&mut self, ticket: u64, topic: &str, payload: &[u8]) -> Result<(), Publication> {
        self.link.publish(Publication {
            ticket: Ticket(ticket),
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            retain: true,
            delivery: Delivery::AtLeastOnce,
        })
    }

    async fn settled(&mut self) -> (u64, Settlement) {
        loop {
            if let FromBroker::Settled { ticket, settlement } = self.next().await {
                return (ticket.0, settlement);
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn options(url: &str) -> LinkOptions {
    let broker = BrokerConfig {
        url: url.parse().expect("url"),
        ca: None,
        certificate: None,
        login: None,
        keep_alive: Duration::from_secs(30),
        session_expiry: Duration::from_mins(10),
        connect_timeout: Duration::from_secs(10),
    };
    let specs = Subscription { filter: SPECS.to_owned(), every_time: false };
    let birth = Subscription { filter: BIRTH.to_owned(), every_time: true };
    LinkOptions {
        broker,
        client_id: "mote-n-0102030405060708".to_owned(),
        identity: [1, 2, 3, 4, 5, 6, 7, 8],
        will_topic: "mote/v1/f/n/will".to_owned(),
        subscriptions: vec![specs, birth],
    }
}

fn plain(broker: &Broker) -> LinkOptions {
    options(&format!("mqtt://127.0.0.1:{}", broker.port))
}

#[tokio::test]
async fn objects_arrive_and_statuses_are_settled() {
    let broker = Broker::start("allow_anonymous true");
    let mut operator = Operator::connect(broker.port, "operator");
    operator.publish(WEB, "kept", true).await;
    operator.subscribe("mote/v1/f/n/status/#").await;

    let mut node = Node::connect(plain(&broker));
    assert_eq!(node.connected().await, (Session { start: 7, connection: 1 }, vec![]));
    assert_eq!(node.message().await, (WEB.to_owned(), b"kept".to_vec(), true));
    operator.publish(WEB, "live", true).await;
    assert_eq!(node.message().await, (WEB.to_owned(), b"live".to_vec(), false));

    node.publish(1, "mote/v1/f/n/status/node", b"fine").expect("room");
    assert_eq!(node.settled().await, (1, Settlement::Delivered));
    assert_eq!(operator.message().await.payload, b"fine"[..]);
}

#[tokio::test]
async fn a_retained_payload_of_ten_mebibytes_keeps_nobody_off_the_air() {
    let broker = Broker::start("allow_anonymous true");
    let mut operator = Operator::connect(broker.port, "operator");
    operator.publish("mote/v1/f/n/spec/pod/default/a-huge", vec![7; 10 << 20], true).await;
    operator.publish(WEB, "good", true).await;
    operator.publish("mote/v1/f/n/spec/pod/default/z-huge", vec![7; 10 << 20], true).await;

    let mut node = Node::connect(plain(&broker));
    node.connected().await;
    assert_eq!(node.message().await, (WEB.to_owned(), b"good".to_vec(), true));
    // The largest object that is one still comes, on the same connection.
    let largest = vec![1; mote_protocol::limits::MAX_OBJECT];
    operator.publish(WEB, largest.clone(), true).await;
    let (_, payload, _) = node.message().await;
    assert!(payload == largest);
}

#[tokio::test]
async fn more_than_a_window_is_given_back_and_everything_is_settled_once() {
    let broker = Broker::start("allow_anonymous true");
    let mut node = Node::connect(plain(&broker));
    node.connected().await;
    let (mut next, mut open, mut settled) = (0, 0, Vec::new());
    while settled.len() < 500 {
        while next < 500 && node.publish(next, "mote/v1/f/n/status/node", b"x").is_ok() {
            (next, open) = (next + 1, open + 1);
        }
        assert!(open <= 16, "{open} under way");
        let (ticket, settlement) = node.settled().await;
        assert_eq!(settlement, Settlement::Delivered);
        open -= 1;
        settled.push(ticket);
    }
    settled.sort_unstable();
    assert_eq!(settled, (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_broker_that_comes_back_empty_is_told_everything_again() {
    let mut broker = Broker::start("allow_anonymous true");
    let mut node = Node::connect(plain(&broker));
    node.connected().await;
    broker.stop();
    assert!(matches!(node.next().await, FromBroker::Lost { taken_over: false, .. }));
    let given_back = node.publish(1, BIRTH, b"b").expect_err("no connection");
    assert_eq!(given_back.payload, b"b");
    broker.resume();
    let (session, _) = node.connected().await;
    assert!(session > Session { start: 7, connection: 1 });
    node.publish(2, BIRTH, b"b").expect("room");
    assert_eq!(node.message().await, (BIRTH.to_owned(), b"b".to_vec(), false));
}

#[tokio::test]
async fn no_broker_at_the_start_is_no_reason_to_give_up() {
    let mut broker = Broker::start("allow_anonymous true");
    broker.stop();
    let mut node = Node::connect(plain(&broker));
    tokio::task::yield_now().await;
    broker.resume();
    node.connected().await;
}

#[tokio::test]
async fn a_greater_start_is_taken_up_with_a_connection_of_its_own() {
    let broker = Broker::start("allow_anonymous true");
    let mut node = Node::connect(plain(&broker));
    node.connected().await;
    node.start.send_replace(42);
    assert!(matches!(node.next().await, FromBroker::Lost { taken_over: false, .. }));
    let (session, _) = node.connected().await;
    assert_eq!(session.start, 42);
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again() {
    let broker = Broker::start("allow_anonymous true");
    let mut operator = Operator::connect(broker.port, "operator");
    let mut node = Node::connect(plain(&broker));
    node.connected().await;
    operator.publish(WEB, "one", true).await;
    assert!(matches!(node.next().await, FromBroker::Received { .. }));

    // Somebody with its name throws it out, and goes: its next connection takes up its session.
    let thief = Operator::connect(broker.port, &plain(&broker).client_id);
    assert!(matches!(node.next().await, FromBroker::Lost { .. }));
    drop(thief);
    node.connected().await;
    assert_eq!(node.message().await.1, b"one");
}

#[tokio::test]
async fn what_the_broker_forbids_is_known_by_code() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let rules = r#"{"defaultACLAccess": {"subscribe": false, "publishClientSend": false,
        "publishClientReceive": true, "unsubscribe": true},
        "groups": [{"groupname": "all", "roles": [{"rolename": "birth"}]}],
        "anonymousGroup": "all",
        "roles": [{"rolename": "birth", "acls": [
            {"acltype": "publishClientSend", "topic": "mote/v1/f/n/birth", "allow": true},
            {"acltype": "subscribeLiteral", "topic": "mote/v1/f/n/birth", "allow": true}]}]}"#;
    std::fs::write(directory.path().join("rules.json"), rules).expect("written");
    let libraries = std::fs::read_dir("/usr/lib").expect("there").flatten();
    let mut plugins = libraries.map(|entry| entry.path().join("mosquitto_dynamic_security.so"));
    let plugin = plugins.find(|path| path.exists()).expect("part of the package mosquitto");
    let plugin = plugin.display();
    let lines =
        format!("allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {{dir}}/rules.json");
    let broker = Broker::start_in(directory, &lines);

    let mut node = Node::connect(plain(&broker));
    assert_eq!(node.connected().await.1, [(SPECS.to_owned(), 135)]);
    node.publish(1, "mote/v1/f/n/status/node", b"x").expect("room");
    node.publish(2, BIRTH, b"x").expect("room");
    assert_eq!(node.settled().await, (1, Settlement::Denied(135)));
    assert_eq!(node.settled().await, (2, Settlement::Delivered));
}

#[tokio::test]
async fn what_is_too_large_for_the_broker_is_refused_without_losing_the_connection() {
    let broker = Broker::start("allow_anonymous true\nmax_packet_size 2000");
    let mut node = Node::connect(plain(&broker));
    node.connected().await;
    node.publish(1, "mote/v1/f/n/status/node", &[0; 2000]).expect("settled at once");
    assert_eq!(node.settled().await, (1, Settlement::Denied(149)));
    node.publish(2, "mote/v1/f/n/status/node", &[0; 1900]).expect("room");
    assert_eq!(node.settled().await, (2, Settlement::Delivered));
}

/// Answers one connection: CONNACK, SUBACK for two filters, DISCONNECT with reason 142. (mosquitto
/// 2.0 closes the connection without a word, others say why.)
async fn broker_that_says_taken_over(listener: tokio::net::TcpListener) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut stream, _) = listener.accept().await.expect("the link connects");
    let mut buffer = [0; 1024];
    for answer in [&[0x20, 3, 0, 0, 0][..], &[0x90, 5, 0, 1, 0, 1, 1], &[0xe0, 2, 0x8e, 0]] {
        if answer[0] != 0xe0 {
            assert_ne!(stream.read(&mut buffer).await.expect("a packet"), 0);
        }
        stream.write_all(answer).await.expect("the link listens");
    }
    // Held until the link has read it.
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn a_takeover_is_told_from_a_loss() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let broker = tokio::spawn(broker_that_says_taken_over(listener));
    let mut node = Node::connect(options(&format!("mqtt://127.0.0.1:{port}")));
    node.connected().await;
    let lost = node.next().await;
    assert!(matches!(lost, FromBroker::Lost { taken_over: true, .. }), "{lost:?}");
    broker.await.expect("the broker said all");
}

#[tokio::test]
async fn the_broker_says_the_will_of_the_session_that_ended() {
    let broker = Broker::start("allow_anonymous true");
    let mut operator = Operator::connect(broker.port, "operator");
    operator.subscribe("mote/v1/f/n/will").await;
    let mut node = Node::connect(plain(&broker));
    let (session, _) = node.connected().await;
    drop(node);
    let will: Will = frame::decode(&operator.message().await.payload).expect("a will");
    assert_eq!(will, Will { session, identity: [1, 2, 3, 4, 5, 6, 7, 8] });
}

#[tokio::test]
async fn a_password_is_read_from_its_file_and_a_wrong_one_is_refused() {
    let mut journal = Journal::open();
    let directory = tempfile::tempdir().expect("temporary directory");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(directory.path().join("passwords"))
        .args(["n", "right"])
        .status()
        .expect("part of the package mosquitto");
    assert!(made.success());
    let broker = Broker::start_in(directory, "password_file {dir}/passwords");
    let mut options = plain(&broker);
    let path = broker.path("password");
    options.broker.login = Some(Login { username: "n".to_owned(), password_file: Some(path) });

    std::fs::write(broker.path("password"), "right\n").expect("written");
    Node::connect(options.clone()).connected().await;
    std::fs::write(broker.path("password"), "wrong\n").expect("written");
    let _node = Node::connect(options);
    let line = journal.line().await;
    assert!(line.contains("the broker refused the connection: NotAuthorized"), "{line}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_blocks_nobody() {
    let mut journal = Journal::open();
    let _node = Node::connect(options("mqtt://no-such-host.invalid:1883"));
    let line = journal.line().await;
    assert!(line.contains("reach the broker"), "{line}");
}
