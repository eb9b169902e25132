//! A broker that speaks TLS, and nodes that do.

use mote_agent::config::{ClientCertificate, Login};
use mote_agent::link::session::LinkOptions;
use mote_agent::link::{FromBroker, Settlement};

use super::authority::Authority;
use super::broker::Broker;
use super::journal::Journal;
use super::{Node, options};

const TLS: &str = "allow_anonymous true\ncafile {dir}/ca.pem\ncertfile {dir}/localhost.pem\n\
                   keyfile {dir}/localhost.key\nrequire_certificate true";

/// A broker that speaks TLS and asks for a certificate, with files for it and for a node.
fn tls_broker() -> (Broker, LinkOptions) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let authority = Authority::new("fleet");
    authority.write(&directory.path().join("ca.pem"));
    for name in ["localhost", "node"] {
        authority.sign(directory.path(), name, name);
    }
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
