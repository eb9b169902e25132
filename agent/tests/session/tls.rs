//! A broker that speaks TLS, and nodes that do.

use std::time::Duration;

use mote_agent::config::{BrokerConfig, ClientCertificate, Login};
use mote_agent::link::session::{GreetingError, LinkOptions, greet};
use mote_agent::link::{FromBroker, Settlement};

use super::authority::Authority;
use super::broker::Broker;
use super::journal::Journal;
use super::{Hands, Node, options, today};

const TLS: &str = "allow_anonymous true\ncafile {dir}/ca.pem\ncertfile {dir}/localhost.pem\n\
                   keyfile {dir}/localhost.key\nrequire_certificate true";

/// A broker that speaks TLS and asks for a certificate, with files for it and for a node.
fn tls_broker() -> (Broker, LinkOptions) {
    tls_broker_of((1975, 4096))
}

/// The same; the broker's own is valid in these years.
fn tls_broker_of(years: (i32, i32)) -> (Broker, LinkOptions) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let authority = Authority::new("fleet");
    authority.write(&directory.path().join("ca.pem"));
    authority.sign_for(directory.path(), "localhost", "localhost", years);
    authority.sign(directory.path(), "node", "node");
    let broker = Broker::start_in(directory, TLS);
    let mut options = options(&format!("mqtts://localhost:{}", broker.port));
    options.broker.ca = Some(broker.path("ca.pem"));
    let (cert, key) = (broker.path("node.pem"), broker.path("node.key"));
    options.broker.certificate = Some(ClientCertificate { cert, key });
    (broker, options)
}

#[tokio::test]
async fn tls_with_certificates_on_both_sides() {
    let (_broker, options) = tls_broker();
    let mut node = Node::connect(options);
    node.connected().await;
    node.publish(1, "mote/v1/f/n/status/node", b"x").expect("room");
    assert_eq!(node.settled().await, (1, Settlement::Delivered));
}

#[tokio::test]
async fn who_only_looks_is_told_what_tls_lacks() {
    let (_broker, options) = tls_broker();
    let greeted = async |broker| greet(&broker, "mote-doctor-1", &today()).await;
    greeted(options.broker.clone()).await.expect("it answers");
    let nobody = BrokerConfig { certificate: None, ..options.broker.clone() };
    let error = greeted(nobody).await.expect_err("a certificate is asked for");
    assert!(matches!(error, GreetingError::Tls(_)), "{error:?}");
    let mut stranger = options.broker;
    stranger.ca = stranger.certificate.clone().map(|own| own.cert);
    let error = greeted(stranger).await.expect_err("nobody vouches for the broker");
    assert!(matches!(error, GreetingError::Tls(_)), "{error:?}");
}

/// Seconds of a year, nearly.
const YEAR: u64 = 365 * 24 * 60 * 60;

#[tokio::test]
async fn a_node_whose_clock_shows_1970_reaches_its_broker() {
    // It is valid now, and was not yet when the program was written.
    for years in [(1975, 4096), (2030, 2040)] {
        let (_broker, options) = tls_broker_of(years);
        let (mut node, _set) = Node::connect_at(options, Hands::at(60, false));
        node.connected().await;
    }
}

#[tokio::test]
async fn a_certificate_that_expired_before_the_floor_is_refused_and_both_times_are_logged() {
    let mut journal = Journal::open();
    let (_broker, options) = tls_broker_of((2024, 2026));
    let (_node, _set) = Node::connect_at(options, Hands::at(60, false));
    let line = journal.line().await;
    assert!(
        line.contains(
            "its certificate expired at 2026-01-01T00:00:00Z, and it is 2026-11-01T00:00:00Z at \
             the least, though the clock shows 1970-01-01T00:01:00Z"
        ),
        "{line}"
    );
    assert!(line.contains("pause_s=15 "), "{line}");
}

#[tokio::test]
async fn a_clock_that_ran_ahead_is_named_and_the_broker_is_asked_again_when_it_is_set() {
    let mut journal = Journal::open();
    let (_broker, options) = tls_broker_of((2024, 2040));
    let hands = Hands::at(130 * YEAR, false);
    let (mut node, set) = Node::connect_at(options, hands.clone());
    let line = journal.line().await;
    assert!(
        line.contains("expired at 2040-01-01T00:00:00Z, and the clock, which nobody"),
        "{line}"
    );
    assert!(line.contains("keeps right, shows 2099-"), "{line}");
    hands.set(57 * YEAR, true);
    set.send_modify(|times| *times += 1);
    // Long before the pause of fifteen seconds is over.
    let connected = tokio::time::timeout(Duration::from_secs(10), node.connected());
    connected.await.expect("it does not wait for the pause");
}

#[tokio::test]
async fn certificates_are_read_again_for_each_connection() {
    let (mut broker, options) = tls_broker();
    let mut node = Node::connect(options);
    node.connected().await;
    // Everything is signed anew by another CA while the broker is away.
    broker.stop();
    assert!(matches!(node.next().await, FromBroker::Lost { .. }));
    let authority = Authority::new("fleet, renewed");
    authority.write(&broker.path("ca.pem"));
    for name in ["localhost", "node"] {
        authority.sign(broker.directory.path(), name, name);
    }
    broker.resume();
    node.connected().await;
}

#[tokio::test]
async fn a_broker_of_another_ca_is_not_talked_to_and_the_log_says_why() {
    let mut journal = Journal::open();
    let (broker, mut options) = tls_broker();
    Authority::new("stranger").write(&broker.path("stranger.pem"));
    options.broker.ca = Some(broker.path("stranger.pem"));
    let _node = Node::connect(options);
    let line = journal.line().await;
    assert!(line.contains("agree with the broker on TLS"), "{line}");
    assert!(line.contains("invalid peer certificate"), "{line}");
    // Not in a second: a person has to do something first.
    assert!(line.contains("pause_s=15 "), "{line}");
}

#[tokio::test]
async fn files_that_are_missing_are_named() {
    let mut journal = Journal::open();
    let (broker, mut options) = tls_broker();
    std::fs::remove_file(broker.path("node.key")).expect("was there");
    options.broker.login = Some(Login { username: "n".to_owned(), password_file: None });
    let _node = Node::connect(options);
    let line = journal.line().await;
    assert!(line.contains("prepare TLS: read /") && line.contains("node.key"), "{line}");
}
