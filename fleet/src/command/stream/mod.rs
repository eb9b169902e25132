//! Streams that go both ways, as their operator sees them: opened by a command, counted, granted.
//!
//! A [`Line`] leads to one node, in a session of its own: should `mote` be killed, the broker tells
//! the node, as that session's will. A [`Stream`] keeps the books of one stream on it.

mod target;

use std::env;
use std::time::Duration;

use anyhow::{anyhow, bail};
use mote_protocol::command::{Answer, Asker, Reply, Request};
use mote_protocol::frame;
use mote_protocol::limits::{STREAM_IDLE_S, STREAM_WINDOW};
use mote_protocol::name::{NodeName, RequestId};
use mote_protocol::node::Session;
use mote_protocol::stream::{Allowance, Incoming, Outgoing, StreamFrame, StreamPart};
use mote_protocol::topic::{Address, Direction, Scope as At, Topic, filter};
use tokio::time::Instant;

use target::find;
pub(super) use target::{Target, Wanted};

use super::{Invocation, Link, ask, now_s};
use crate::broker::Message;
use crate::context::Context;
use crate::failure::ServerError;
use crate::output::console::Console;
use crate::view::node::Presence;

/// How long a node may take to open a stream.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How often a node hears that somebody is there.
pub(super) const BEAT: Duration = Duration::from_secs(STREAM_IDLE_S / 3);

/// The way to a node, in the connection in which it was found.
pub(super) struct Line {
    pub(super) link: Link,
    node: NodeName,
    session: Session,
}

/// What came over a line.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer to the command that opens a stream.
    Answered(RequestId, Answer),
    /// A frame of a stream.
    Frame(RequestId, StreamFrame),
    /// Something else.
    Other,
}

impl Line {
    /// To the node that has the pod that is meant. None where there are several of the name; that was said.
    pub(super) async fn reach(
        wanted: &Wanted<'_>,
        invocation: &Invocation,
        console: &mut Console,
    ) -> anyhow::Result<Option<(Target, Self)>> {
        let context = invocation.context()?;
        let mut link = invocation.connect(&context).await?;
        let found = find(wanted, &context, &mut link, console).await;
        link.session.close().await;
        let Some(target) = found? else { return Ok(None) };
        let line = Self::open(&target, invocation, &context).await?;
        Ok(Some((target, line)))
    }

    async fn open(
        target: &Target,
        invocation: &Invocation,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let node = &target.node;
        let mut link = invocation.connect_for_streams(context, node).await?;
        let of_node = |topic| filter::of_nodes(&context.fleet, Some(node.as_str()), &topic);
        link.list(&[Topic::Birth, Topic::Will, Topic::Heartbeat].map(of_node)).await?;
        let line = Self { link, node: node.clone(), session: target.session };
        line.still_there()?;
        Ok(line)
    }

    /// Opens a stream: `number` tells those of one session apart.
    pub(super) async fn begin(&mut self, number: u64, request: Request) -> anyhow::Result<Stream> {
        let id = RequestId::new(&format!("{}-{number}", self.link.session.id()))?;
        let topics = [Topic::Reply(id.clone()), Topic::Stream(id.clone(), Direction::Out)];
        let topics = topics.map(|topic| self.topic(topic));
        self.link.session.watch(&topics).await?;
        let node = self.link.fleet.nodes.get(&self.node);
        let Some(birth) = node.and_then(|node| node.birth.as_ref()) else {
            bail!("node {} is gone", self.node);
        };
        let heard = node.map_or(0, ask::last_heard);
        let payload = frame::encode(&ask::command(birth, heard, request))?;
        let topic = self.topic(Topic::Command(id.clone()));
        self.link.session.post(topic, payload, PATIENCE)?;
        Ok(Stream::new(id, topics.into()))
    }

    /// Says something on a stream.
    pub(super) fn say(&mut self, stream: &mut Stream, part: StreamPart) -> anyhow::Result<()> {
        let topic = self.topic(Topic::Stream(stream.id.clone(), Direction::In));
        let payload = frame::encode(&stream.outgoing.frame(part))?;
        Ok(self.link.session.post(topic, payload, BEAT)?)
    }

    /// Says that nobody is there any more.
    pub(super) fn close(&mut self, stream: &mut Stream) {
        if !stream.ended {
            stream.ended = true;
            let part = StreamPart::End { reason: "Closed".into(), message: "".into() };
            // Where it is not heard, silence says the same.
            let _ = self.say(stream, part);
        }
    }

    /// Says the same for all streams of this line at once.
    pub(super) fn close_all(&mut self) -> anyhow::Result<()> {
        let session = self.link.session.id().clone();
        let topic = self.topic(Topic::Stream(session, Direction::In));
        let payload = frame::encode(&StreamFrame::end_of_session())?;
        Ok(self.link.session.post(topic, payload, BEAT)?)
    }

    /// Forgets a stream that has ended.
    pub(super) fn forget(&mut self, stream: &Stream) {
        self.link.session.leave(&stream.topics);
    }

    /// The next thing that comes; none until `wake`. Cancel-safe.
    pub(super) async fn next(&mut self, wake: Instant) -> anyhow::Result<Option<Heard>> {
        let Some(message) = self.link.session.next(Some(wake)).await? else { return Ok(None) };
        self.sort(&message).map(Some)
    }

    fn sort(&mut self, message: &Message) -> anyhow::Result<Heard> {
        let Ok(address) = Address::parse(&message.topic) else { return Ok(Heard::Other) };
        Ok(match address.topic {
            Topic::Reply(id) => {
                Heard::Answered(id, frame::decode::<Reply>(&message.payload)?.answer)
            }
            Topic::Stream(id, Direction::Out) => Heard::Frame(id, frame::decode(&message.payload)?),
            _ => {
                self.link.fleet.absorb(message);
                self.still_there()?;
                Heard::Other
            }
        })
    }

    /// A stream does not outlive its node's connection.
    fn still_there(&self) -> anyhow::Result<()> {
        let node = self.link.fleet.nodes.get(&self.node);
        let there = node.is_some_and(|node| {
            node.session() == Some(self.session)
                && !matches!(node.presence(now_s()), Presence::Offline | Presence::Unborn)
        });
        if there { Ok(()) } else { Err(anyhow!("node {} went offline", self.node)) }
    }

    fn topic(&self, topic: Topic) -> String {
        let (fleet, scope) = (self.link.name.clone(), At::Node(self.node.clone()));
        Address { fleet, scope, topic }.to_string()
    }
}

/// The books of one stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: RequestId,
    topics: Vec<String>,
    incoming: Incoming,
    pub(super) outgoing: Outgoing,
    allowance: Allowance,
    /// The node has not answered yet.
    pub(super) opening: bool,
    /// Nothing follows.
    pub(super) ended: bool,
}

impl Stream {
    fn new(id: RequestId, topics: Vec<String>) -> Self {
        Self {
            id,
            topics,
            incoming: Incoming::new(STREAM_WINDOW),
            outgoing: Outgoing::new(0),
            allowance: Allowance::new(STREAM_WINDOW),
            opening: true,
            ended: false,
        }
    }

    /// Takes the node's answer.
    pub(super) fn answered(&mut self, answer: Answer) -> Result<(), ServerError> {
        self.opening = false;
        let Answer::Refused { reason, message } = answer else { return Ok(()) };
        self.ended = true;
        let message = if reason == *ask::NOT_UNDERSTOOD {
            "the node's agent is too old for this: update it".to_owned()
        } else {
            message.to_string()
        };
        let reason = reason.to_string();
        Err(ServerError::Answered { reason, message })
    }

    /// Takes a frame in; nothing where it came before, or is of the books alone.
    pub(super) fn take(&mut self, frame: StreamFrame) -> anyhow::Result<Option<StreamPart>> {
        self.opening = false;
        let part = match self.incoming.take(frame) {
            Ok(part) => part,
            Err(broken) => bail!("the stream is broken: {broken}"),
        };
        Ok(match part {
            Some(StreamPart::Credit(credit)) => {
                self.outgoing.granted(credit);
                None
            }
            Some(part @ StreamPart::End { .. }) => {
                self.ended = true;
                Some(part)
            }
            part => part,
        })
    }

    /// What came, at this cost, was printed or passed on. Gives what is to be said for it.
    pub(super) fn used(&mut self, cost: u64) -> Option<StreamPart> {
        if self.ended {
            return None;
        }
        self.incoming.grant(self.allowance.used(cost)?);
        Some(self.alive())
    }

    /// A sign of life.
    pub(super) const fn alive(&self) -> StreamPart {
        StreamPart::Credit(self.incoming.granted())
    }
}

/// Who asks, for the node's event.
pub(in crate::command) fn asker() -> Asker {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| env::var(name).ok());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Asker::new(&format!("{}@{host}", user.unwrap_or_else(|| "somebody".to_owned())))
}
