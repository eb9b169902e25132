use std::net::TcpListener;

use super::*;
use crate::ports::KernelWallClock;

/// The longest pause of any jitter but for a thousandth.
struct Longest;

impl Random for Longest {
    fn next(&self) -> u64 {
        // One less than a multiple of everything that pauses are counted by here.
        2001 * 4001 * 8001 - 1
    }
}

/// Where nobody listens.
fn nowhere() -> LinkOptions {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let broker = BrokerConfig {
        url: url.parse().unwrap(),
        ca: None,
        certificate: None,
        login: None,
        keep_alive: Duration::from_secs(30),
        session_expiry: Duration::from_mins(10),
        connect_timeout: Duration::from_secs(10),
    };
    LinkOptions {
        broker,
        client_id: "mote-n".to_owned(),
        identity: [1; 8],
        will_topic: "mote/v1/f/n/will".to_owned(),
        subscriptions: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_connects_at_once_and_then_in_windows_that_double() {
    let (_start, starts) = watch::channel(1);
    let (_seen, seen) = watch::channel(0);
    let (_set, set) = watch::channel(0);
    let time = TimeOfDay { wall: KernelWallClock, seen, set };
    let (mut link, connector) = connect(nowhere(), starts, Longest, time);
    let begin = Instant::now();
    let connector = tokio::spawn(connector.run());
    let mut tried = Vec::new();
    for _ in 0..4 {
        let failed = link.next().await;
        assert!(matches!(failed, FromBroker::Failed { .. }), "{failed:?}");
        tried.push(begin.elapsed().as_secs());
    }
    assert_eq!(tried, [0, 2, 6, 14]);
    connector.abort();
}
