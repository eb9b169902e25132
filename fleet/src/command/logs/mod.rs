//! `mote logs`: what a container prints.
//!
//! The node reads its files and sends no more than was granted; see `mote_protocol::stream`.

mod print;
mod select;
mod stream;

use std::time::Duration;

use anyhow::{anyhow, bail};
use mote_protocol::command::{Answer, LogRequest, LogSelection, Reply, Request, Since};
use mote_protocol::frame;
use mote_protocol::limits::{STREAM_IDLE_S, STREAM_WINDOW};
use mote_protocol::name::{ContainerName, NodeName, ObjectKey, ObjectName, RequestId};
use mote_protocol::node::Session;
use mote_protocol::stream::StreamFrame;
use mote_protocol::topic::{Address, Direction, Scope as At, Topic};
use tokio::time::Instant;

use super::get::{Scope, several};
use super::resource::{Selection, pod_key};
use super::{Invocation, Link, Outcome, ask, now_s};
use crate::broker::{Message, Retain};
use crate::cli::LogsArgs;
use crate::failure::ServerError;
use crate::output::console::Console;
use crate::view::node::Presence;
use crate::view::{key_filters, node_filters};
use print::{Lines, Printed, Printer};
use stream::{Stream, Taken};

/// How long a node may take to open a stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a node hears that somebody reads.
const BEAT: Duration = Duration::from_secs(STREAM_IDLE_S / 3);

/// Logs that are followed at one time, as kubectl's `--max-log-requests` has it.
const MAX_FOLLOWED: usize = 5;

/// Runs the command.
pub async fn run(
    args: &LogsArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let name = args.pod.strip_prefix("pod/").or_else(|| args.pod.strip_prefix("pods/"));
    let name = ObjectName::new(name.unwrap_or(&args.pod))?;
    let selection = selection(args)?;
    let context = invocation.context()?;
    let key = pod_key(&context.namespace, &name);
    let mut link = invocation.connect(&context).await?;
    let mut filters = node_filters(&link.name, None);
    filters.extend(key_filters(&link.name, &key));
    link.list(&filters).await?;
    let Some((place, chosen)) = find(args, &key, &link, console)? else {
        return Ok(Outcome::Failed);
    };
    if let Some(note) = &chosen.note {
        console.remark(note)?;
    }
    if args.follow && chosen.names.len() > MAX_FOLLOWED {
        bail!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {MAX_FOLLOWED}",
            chosen.names.len()
        );
    }
    let together = if args.follow { chosen.names.len().max(1) } else { 1 };
    let mut reading = Reading { place, key, selection, streams: Vec::new(), asked: 0 };
    let mut result = Ok(());
    for names in chosen.names.chunks(together) {
        result = reading.read(names, args.prefix, &mut link).await;
        if result.is_err() || reading.interrupted() {
            break;
        }
    }
    link.session.close().await;
    result.map(|()| Outcome::Done)
}

/// What of the log is wanted.
fn selection(args: &LogsArgs) -> anyhow::Result<LogSelection> {
    // Of a second that has begun, all is wanted.
    let seconds = |since: Duration| since.as_secs() + u64::from(since.subsec_nanos() > 0);
    let ago = args.since.map(|since| Since::Seconds(seconds(since)));
    let since = match &args.since_time {
        None => ago,
        Some(text) => {
            let time: jiff::Timestamp = text.parse().map_err(|error| {
                anyhow!("--since-time must be a time as RFC 3339 writes it: {error}")
            })?;
            let nanos = time.as_nanosecond();
            let seconds = i64::try_from(nanos.div_euclid(1_000_000_000))?;
            let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000))?;
            Some(Since::Time { seconds, nanos })
        }
    };
    Ok(LogSelection {
        follow: args.follow,
        previous: args.previous,
        timestamps: args.timestamps,
        // Negative is kubectl's word for everything.
        tail: u32::try_from(args.tail).ok(),
        since,
        limit_bytes: args.limit_bytes,
    })
}

/// A node that can be asked, in the connection in which it was found.
struct Place {
    node: NodeName,
    session: Session,
}

/// Where the pod is, and which of its containers are meant; none where that was said already.
fn find(
    args: &LogsArgs,
    key: &ObjectKey,
    link: &Link,
    console: &mut Console,
) -> anyhow::Result<Option<(Place, select::Chosen)>> {
    let selection = Selection::Pods(vec![key.name.clone()]);
    let namespace = Some(&key.namespace);
    let scope =
        Scope { selection: &selection, namespace, node: args.node.as_ref(), selector: None };
    let pods = scope.pods(&link.fleet);
    if several(&scope, &pods, console)? {
        return Ok(None);
    }
    let Some(view) = pods.first() else { return Err(ServerError::no_pod(key).into()) };
    let (Some(node), Some(facts)) = (view.node_name(), view.node) else {
        bail!("no node is known that has pod {}", key.name);
    };
    let heard = (facts.presence(now_s()), facts.session());
    let (Presence::Online | Presence::Silent { .. }, Some(session)) = heard else {
        bail!("node {node} is offline: its logs can be read when it is back");
    };
    let chosen = select::choose(
        view,
        args.container.as_deref().or(args.container_name.as_deref()),
        args.all_containers,
    )?;
    Ok(Some((Place { node: node.clone(), session }, chosen)))
}

/// A stream that is read.
struct Open {
    id: RequestId,
    container: String,
    stream: Stream,
    lines: Lines,
    /// The node has not answered yet.
    opening: bool,
}

/// What is read, and from whom.
struct Reading {
    place: Place,
    key: ObjectKey,
    selection: LogSelection,
    streams: Vec<Open>,
    asked: usize,
}

impl Reading {
    /// Whether the user had enough: streams were left that had not ended.
    fn interrupted(&self) -> bool {
        self.streams.iter().any(|open| !open.stream.ended)
    }

    /// Reads the logs of containers, beside each other, to their ends.
    async fn read(
        &mut self,
        names: &[String],
        prefix: bool,
        link: &mut Link,
    ) -> anyhow::Result<()> {
        self.streams.clear();
        for name in names {
            self.open(name, prefix, names.len() > 1, link).await?;
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
        name: &str,
        prefix: bool,
        several: bool,
        link: &mut Link,
    ) -> anyhow::Result<()> {
        self.asked += 1;
        let id = RequestId::new(&format!("{}-{}", link.session.id(), self.asked))?;
        let reply = self.topic(link, Topic::Reply(id.clone()));
        let out = self.topic(link, Topic::Stream(id.clone(), Direction::Out));
        link.session.watch(&[reply, out]).await?;
        let node = link.fleet.nodes.get(&self.place.node);
        let Some(birth) = node.and_then(|node| node.birth.as_ref()) else {
            bail!("node {} is gone", self.place.node);
        };
        let request = LogRequest {
            namespace: self.key.namespace.clone(),
            pod: self.key.name.clone(),
            container: ContainerName::new(name)?,
            selection: self.selection.clone(),
            credit: STREAM_WINDOW,
        };
        let heard = node.map_or(0, ask::last_heard);
        let payload = frame::encode(&ask::command(birth, heard, Request::Logs(request)))?;
        let topic = self.topic(link, Topic::Command(id.clone()));
        link.session.publish(&topic, payload, Retain::Expires(PATIENCE)).await?;
        let tag = format!("[pod/{}/{name}] ", self.key.name);
        let lines = Lines::new(if prefix { tag } else { String::new() }, prefix || several);
        let container = name.to_owned();
        self.streams.push(Open { id, container, stream: Stream::new(), lines, opening: true });
        Ok(())
    }

    fn topic(&self, link: &Link, topic: Topic) -> String {
        let scope = At::Node(self.place.node.clone());
        Address { fleet: link.name.clone(), scope, topic }.to_string()
    }

    async fn say(&self, at: usize, frame: &StreamFrame, link: &mut Link) -> anyhow::Result<()> {
        let Some(open) = self.streams.get(at) else { return Ok(()) };
        let topic = self.topic(link, Topic::Stream(open.id.clone(), Direction::In));
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
            let opening = self.streams.iter().any(|open| open.opening);
            let wake = if opening { beat.min(patience) } else { beat };
            tokio::select! {
                biased;
                interrupted = &mut interrupt => return Ok(interrupted?),
                printed = printer.next(), if !printer.is_done() => {
                    self.printed(printed, link).await?;
                }
                message = link.session.next(Some(wake)) => match message? {
                    Some(message) => self.heard(&message, link, &mut printer)?,
                    None if opening && Instant::now() >= patience => {
                        bail!("node {} does not answer", self.place.node);
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

    /// A stream does not outlive the node's connection.
    fn still_there(&self, link: &Link) -> anyhow::Result<()> {
        let node = link.fleet.nodes.get(&self.place.node);
        let there = node.is_some_and(|node| {
            node.session() == Some(self.place.session)
                && !matches!(node.presence(now_s()), Presence::Offline | Presence::Unborn)
        });
        if there { Ok(()) } else { Err(anyhow!("node {} went offline", self.place.node)) }
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
                    let name = &open.container;
                    bail!("the log of container {name} ended early: {reason}: {message}");
                }
            }
        }
        Ok(())
    }
}
