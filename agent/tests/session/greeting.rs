//! A connection that only looks: how far it comes, and that nobody notices it.

use mote_agent::config::Login;
use mote_agent::link::FromBroker;
use mote_agent::link::session::{GreetingError, greet};
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode;
use tokio::net::TcpListener;

use crate::broker::Broker;
use crate::operator::Operator;
use crate::{Node, WEB, options, plain, today};

const NAME: &str = "mote-doctor-1";

#[tokio::test]
async fn a_broker_that_answers_is_greeted_and_the_node_keeps_its_connection() {
    let broker = Broker::start("allow_anonymous true");
    let mut operator = Operator::connect(broker.port, "operator");
    operator.subscribe("mote/v1/f/n/will").await;
    let mut node = Node::connect(plain(&broker));
    node.connected().await;
    greet(&plain(&broker).broker, NAME, &today()).await.expect("it answers");
    operator.publish(WEB, "kept", true).await;
    let next = node.next().await;
    assert!(matches!(next, FromBroker::Received { .. }), "{next:?}");
}

#[tokio::test]
async fn each_step_that_fails_is_told_from_the_others() {
    let greeted =
        async |url: &str| greet(&options(url).broker, NAME, &today()).await.expect_err("it fails");
    let error = greeted("mqtt://no-such-host.invalid:1883").await;
    assert!(matches!(error, GreetingError::Resolve { .. }), "{error:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("mqtt://{}", listener.local_addr().expect("bound"));
    let (error, ()) = tokio::join!(greeted(&url), async {
        // It takes the question and leaves.
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut question = [0; 64];
        let read = tokio::io::AsyncReadExt::read(&mut stream, &mut question);
        assert_ne!(read.await.expect("a question"), 0);
    });
    assert!(matches!(error, GreetingError::Answer(_)), "{error:?}");
    let (error, ()) = tokio::join!(greeted(&url), async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let answer = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 no\r\n\r\n");
        answer.await.expect("written");
        let mut question = [0; 64];
        while tokio::io::AsyncReadExt::read(&mut stream, &mut question).await.is_ok_and(|n| n > 0) {
        }
    });
    assert!(matches!(error, GreetingError::Answer(_)), "{error:?}");
    drop(listener);
    let error = greeted(&url).await;
    assert!(matches!(error, GreetingError::Connect { .. }), "{error:?}");

    let broker = Broker::start("allow_anonymous false");
    let mut options = plain(&broker);
    let login = Login { username: "n".to_owned(), password_file: None };
    options.broker.login = Some(login);
    let error = greet(&options.broker, NAME, &today()).await.expect_err("refused");
    let refused = matches!(error, GreetingError::Refused(ConnectReturnCode::NotAuthorized));
    assert!(refused, "{error:?}");
}
