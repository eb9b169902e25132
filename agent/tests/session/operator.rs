//! An MQTT client of the test's own, in place of an operator.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub(crate) struct Operator {
    client: AsyncClient,
    heard: mpsc::UnboundedReceiver<Packet>,
    task: JoinHandle<()>,
}

impl Operator {
    pub(crate) fn connect(port: u16, name: &str) -> Self {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(Some(64 * 1024 * 1024));
        let (client, mut events) = AsyncClient::new(options, 16);
        let (tell, heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(packet) = event {
                    let _ = tell.send(packet);
                }
            }
        });
        Self { client, heard, task }
    }

    /// Publishes, and returns once the broker has it.
    pub(crate) async fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>, retain: bool) {
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, payload.into())
            .await
            .expect("connected");
        while !matches!(self.hear().await, Packet::PubAck(_)) {}
    }

    pub(crate) async fn subscribe(&mut self, filter: &str) {
        self.client.subscribe(filter, QoS::AtLeastOnce).await.expect("connected");
        while !matches!(self.hear().await, Packet::SubAck(_)) {}
    }

    /// The next message on a topic that the operator subscribed to.
    pub(crate) async fn message(&mut self) -> Publish {
        loop {
            if let Packet::Publish(publish) = self.hear().await {
                return publish;
            }
        }
    }

    async fn hear(&mut self) -> Packet {
        let heard = tokio::time::timeout(Duration::from_secs(10), self.heard.recv());
        heard.await.expect("the broker says nothing").expect("the broker is gone")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}
