//! A broker inside the demo: rumqttd, which is enough for one node and one operator, and for
//! nothing else (it drops retained messages beyond its slots and has no access control).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread;

use anyhow::{Context, Result};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

use crate::port;

/// Starts it; it ends with the process.
pub(super) fn start() -> Result<SocketAddr> {
    let address = port::free()?;
    let mut broker = Broker::new(config(address));
    thread::Builder::new()
        .name("broker".into())
        .spawn(move || {
            if let Err(error) = broker.start() {
                eprintln!("broker: {error}");
            }
        })
        .context("start the broker's thread")?;
    Ok(address)
}

fn config(listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 10_000,
        max_payload_size: 4 * 1024 * 1024,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "demo".into(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 100,
        max_outgoing_packet_count: 200,
        max_segment_size: 8 * 1024 * 1024,
        max_segment_count: 2,
        ..RouterConfig::default()
    };
    Config { router, v5: Some(HashMap::from([("demo".into(), server)])), ..Config::default() }
}

#[cfg(test)]
mod tests {
    use crate::observer::Observer;

    #[test]
    fn it_keeps_what_is_retained_and_forgets_what_is_cleared() -> anyhow::Result<()> {
        let address = super::start()?;
        let (topic, observer) = ("mote/v1/f/n/birth", Observer::connect(address, "f")?);
        observer.publish_retained(topic, b"here")?;
        assert!(Observer::connect(address, "f")?.retained()?.contains_key(topic));
        observer.publish_retained(topic, b"")?;
        assert!(!Observer::connect(address, "f")?.retained()?.contains_key(topic));
        Ok(())
    }
}
