//! Reads logs, beside each other, from the nodes that have them.

use std::time::Duration;

use anyhow::bail;
use mote_protocol::command::{Answer, LogRequest, LogSelection, Reply, Request};
use mote_protocol::frame;
use mote_protocol::limits::{STREAM_IDLE_S, STREAM_WINDOW};
use mote_protocol::name::{ContainerName, NodeName, ObjectKey, RequestId};
use mote_protocol::node::Session;
use mote_protocol::stream::StreamFrame;
use mote_protocol::topic::{Address, Direction, Scope as At, Topic};
use tokio::time::Instant;

use super::print::{Lines, Printed, Printer};
use super::stream::{Stream, Taken};
use crate::broker::{Message, Retain};
use crate::command::{Link, ask, now_s};
use crate::failure::ServerError;
use crate::view::node::Presence;

/// How long a node may take to open a stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a node hears that somebody reads.
const BEAT: Duration = Duration::from_secs(STREAM_IDLE_S / 3);

/// A log, at a node that can be asked, in the connection in which it was found.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) node: NodeName,
    pub(super) session: Session,
    pub(super) key: ObjectKey,
    pub(super) container: String,
}

/// A stream that is read.
struct Open {
    id: RequestId,
    source: Source,
    stream: Stream,
    lines: Lines,
    /// The node has not answered yet.
    opening: bool,
}

/// What is read.
pub(super) struct Reading {
    selection: LogSelection,
    streams: Vec<Open>,
    asked: usize,
}

impl Reading {
    /// What is wanted of each log; nothing is read yet.
    pub(super) const fn new(selection: LogSelection) -> Self {
        Self { selection, streams: Vec::new(), asked: 0 }
    }

    /// Whether the user had enough: streams were left that had not ended.
    pub(super) fn interrupted(&self) -> bool {
        self.streams.iter().any(|open| !open.stream.ended)
    }

    /// Reads the logs of containers, beside each other, to their ends.
    pub(super) async fn read(
        &mut self,
        sources: &[Source],
        prefix: bool,
        link: &mut Link,
    ) -> anyhow::Result<()> {
        self.streams.clear();
        for source in sources {
            self.open(source, prefix, sources.len() > 1, link).await?;
        }
        let read = self.turn_until_end(link).await;
        // Whatever the reason, nobody reads any more.
        for at in 0..self.streams.len() {
            if let Some(open) = self.streams.get_mut(at).filter(|open| !open.stream.ended) {
                let frame = open.stream.close();
                let _ = self.say(at, &frame, link).await;
            }
        }
        read
    }

    async fn open(
        &mut self,
        source: &Source,
        prefix: bool,
        several: bool,
        link: &mut Link,
    ) -> anyhow::Result<()> {
        self.asked += 1;
        let id = RequestId::new(&format!("{}-{}", link.session.id(), self.asked))?;
        let reply = topic(link, source, Topic::Reply(id.clone()));
        let out = topic(link, source, Topic::Stream(id.clone(), Direction::Out));
        link.session.watch(&[reply, out]).await?;
        let node = link.fleet.nodes.get(&source.node);
        let Some(birth) = node.and_then(|node| node.birth.as_ref()) else {
            bail!("node {} is gone", source.node);
        };
        let request = LogRequest {
            namespace: source.key.namespace.clone(),
            pod: source.key.name.clone(),
            container: ContainerName::new(&source.container)?,
            selection: self.selection.clone(),
            credit: STREAM_WINDOW,
        };
        let heard = node.map_or(0, ask::last_heard);
        let payload = frame::encode(&ask::command(birth, heard, Request::Logs(request)))?;
        let topic = topic(link, source, Topic::Command(id.clone()));
        link.session.publish(&topic, payload, Retain::Expires(PATIENCE)).await?;
        let tag = format!("[pod/{}/{}] ", source.key.name, source.container);
        let lines = Lines::new(if prefix { tag } else { String::new() }, prefix || several);
        let (source, stream) = (source.clone(), Stream::new());
        self.streams.push(Open { id, source, stream, lines, opening: true });
        Ok(())
    }

    async fn say(&self, at: usize, frame: &StreamFrame, link: &mut Link) -> anyhow::Result<()> {
        let Some(open) = self.streams.get(at) else { return Ok(()) };
        let topic = topic(link, &open.source, Topic::Stream(open.id.clone(), Direction::In));
        let payload = frame::encode(frame)?;
        Ok(link.session.publish(&topic, payload, Retain::Expires(BEAT)).await?)
    }

    async fn turn_until_end(&mut self, link: &mut Link) -> anyhow::Result<()> {
        let mut printer = Printer::start();
        let patience = Instant::now() + PATIENCE;
        let mut beat = Instant::now() + BEAT;
        let interrupt = tokio::signal::ctrl_c();
        tokio::pin!(interrupt);
        while self.interrupted() || !printer.is_done() {
            let opening = self.streams.iter().find(|open| open.opening);
            let opening = opening.map(|open| open.source.node.to_string());
            let wake = if opening.is_some() { beat.min(patience) } else { beat };
            tokio::select! {
                biased;
                interrupted = &mut interrupt => return Ok(interrupted?),
                printed = printer.next(), if !printer.is_done() => {
                    self.printed(printed, link).await?;
                }
                message = link.session.next(Some(wake)) => match message? {
                    Some(message) => self.heard(&message, link, &mut printer)?,
                    None if Instant::now() < beat => {
                        bail!("node {} does not answer", opening.unwrap_or_default());
                    }
                    None => {
                        beat = Instant::now() + BEAT;
                        self.beat(link).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn beat(&mut self, link: &mut Link) -> anyhow::Result<()> {
        for at in 0..self.streams.len() {
            if let Some(open) = self.streams.get_mut(at).filter(|open| !open.stream.ended) {
                let frame = open.stream.alive();
                self.say(at, &frame, link).await?;
            }
        }
        Ok(())
    }

    async fn printed(&mut self, printed: Printed, link: &mut Link) -> anyhow::Result<()> {
        let Printed { stream: at, len, result } = printed;
        result?;
        let grant = self.streams.get_mut(at).and_then(|open| open.stream.printed(len));
        match grant {
            Some(frame) => self.say(at, &frame, link).await,
            None => Ok(()),
        }
    }

    fn heard(
        &mut self,
        message: &Message,
        link: &mut Link,
        printer: &mut Printer,
    ) -> anyhow::Result<()> {
        let Ok(address) = Address::parse(&message.topic) else { return Ok(()) };
        let find = |streams: &mut Vec<Open>, id: &RequestId| {
            streams.iter().position(|open| open.id == *id)
        };
        match address.topic {
            Topic::Reply(id) => match find(&mut self.streams, &id) {
                Some(at) => self.answered(at, &message.payload),
                None => Ok(()),
            },
            Topic::Stream(id, Direction::Out) => match find(&mut self.streams, &id) {
                Some(at) => self.take(at, &message.payload, printer),
                None => Ok(()),
            },
            _ => {
                link.fleet.absorb(message);
                self.still_there(link)
            }
        }
    }

    /// A stream does not outlive its node's connection.
    fn still_there(&self, link: &Link) -> anyhow::Result<()> {
        for Open { source, .. } in self.streams.iter().filter(|open| !open.stream.ended) {
            let node = link.fleet.nodes.get(&source.node);
            let there = node.is_some_and(|node| {
                node.session() == Some(source.session)
                    && !matches!(node.presence(now_s()), Presence::Offline | Presence::Unborn)
            });
            if !there {
                bail!("node {} went offline", source.node);
            }
        }
        Ok(())
    }

    fn answered(&mut self, at: usize, payload: &[u8]) -> anyhow::Result<()> {
        if let Some(open) = self.streams.get_mut(at) {
            open.opening = false;
            if let Answer::Refused { reason, message } = frame::decode::<Reply>(payload)?.answer {
                open.stream.ended = true;
                let (reason, message) = (reason.to_string(), message.to_string());
                return Err(ServerError::Answered { reason, message }.into());
            }
        }
        Ok(())
    }

    fn take(&mut self, at: usize, payload: &[u8], printer: &mut Printer) -> anyhow::Result<()> {
        let Some(open) = self.streams.get_mut(at) else { return Ok(()) };
        open.opening = false;
        match open.stream.take(frame::decode(payload)?)? {
            Taken::Nothing => {}
            Taken::Text(text) => {
                let len = text.len();
                printer.print(at, len, open.lines.take(text));
            }
            Taken::End { reason, message } => {
                printer.print(at, 0, open.lines.rest());
                if reason != "Completed" {
                    let name = &open.source.container;
                    bail!("the log of container {name} ended early: {reason}: {message}");
                }
            }
        }
        Ok(())
    }
}

fn topic(link: &Link, source: &Source, topic: Topic) -> String {
    Address { fleet: link.name.clone(), scope: At::Node(source.node.clone()), topic }.to_string()
}
