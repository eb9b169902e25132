//! `mote port-forward`: ports here that lead to ports of a pod.
//!
//! Each connection is a stream of its own, with its own window, so that one that is slow holds up no
//! other. A node lets one operator have a bounded number of them: whoever connects beyond that waits
//! in the kernel's queue.

mod listen;
mod local;

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use mote_protocol::command::{Answer, PortForwardRequest, Request};
use mote_protocol::limits::{STREAM_WINDOW, STREAMS_PER_CLIENT};
use mote_protocol::stream::{StreamPart, cost};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::stream::{BEAT, Heard, Line, PATIENCE, Stream, Target, Wanted, asker};
use super::{Invocation, Outcome};
use crate::cli::{PortForwardArgs, PortPair};
use crate::output::console::Console;
use listen::{Connected, listen};
use local::{Connection, Event};

/// Events of all connections that wait: each has one of either direction.
const EVENTS: usize = 2 * STREAMS_PER_CLIENT;

/// Runs the command.
pub async fn run(
    args: &PortForwardArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let wanted = Wanted {
        pod: &args.pod,
        node: args.node.as_ref(),
        container: None,
        quiet: true,
        doing: "forward a port of",
    };
    let reached = Line::reach(&wanted, invocation, console).await?;
    let Some((target, mut line)) = reached else { return Ok(Outcome::Failed) };
    let mut forward = Forward::new(target);
    let ready = async {
        forward.ask(&args.ports, &mut line).await?;
        listen(&args.address, &args.ports, console).await
    };
    let result = match ready.await {
        Ok(mut connected) => forward.serve(&mut connected, &mut line, console).await,
        Err(error) => Err(error),
    };
    // Nobody takes what came so far for all.
    for open in forward.open.values_mut() {
        open.local.reset();
    }
    if !forward.open.is_empty() {
        // Where it is not heard, silence says the same.
        let _ = line.close_all();
    }
    line.link.session.close().await;
    result
}

/// All connections.
struct Forward {
    target: Target,
    open: BTreeMap<u64, Open>,
    /// Streams that were opened so far.
    count: u64,
    tell: mpsc::Sender<(u64, Event)>,
    events: mpsc::Receiver<(u64, Event)>,
}

/// One connection.
struct Open {
    stream: Stream,
    ports: PortPair,
    local: Connection,
    /// What was read here and there is no room for.
    read: Vec<u8>,
    /// The end of what is read here is to be said.
    closing: bool,
}

impl Forward {
    fn new(target: Target) -> Self {
        let (tell, events) = mpsc::channel(EVENTS);
        Self { target, open: BTreeMap::new(), count: 0, tell, events }
    }

    fn request(&self, port: u16, only_ask: bool) -> Request {
        Request::PortForward(PortForwardRequest {
            namespace: self.target.key.namespace.clone(),
            pod: self.target.key.name.clone(),
            port,
            only_ask,
            by: asker(),
            credit: STREAM_WINDOW,
        })
    }

    /// Asks whether the node will do it.
    async fn ask(&mut self, ports: &[PortPair], line: &mut Line) -> anyhow::Result<()> {
        let Some(first) = ports.first() else { bail!("at least one port is to be named") };
        let request = self.request(first.remote, true);
        let mut stream = line.begin(self.count, request).await?;
        self.count += 1;
        let patience = Instant::now() + PATIENCE;
        loop {
            match line.next(patience).await? {
                Some(Heard::Answered(id, answer)) if id == stream.id => {
                    let allowed = answer == Answer::Allowed;
                    stream.answered(answer)?;
                    line.forget(&stream);
                    return if allowed { Ok(()) } else { bail!("the node answers something else") };
                }
                Some(_) => {}
                None => bail!("the node does not answer"),
            }
        }
    }

    /// Serves whoever connects, until somebody ends it or the node is lost.
    async fn serve(
        &mut self,
        connected: &mut mpsc::Receiver<Connected>,
        line: &mut Line,
        console: &mut Console,
    ) -> anyhow::Result<Outcome> {
        let mut beat = Instant::now() + BEAT;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            self.speak(line).context("lost connection to pod")?;
            let has_place = self.open.len() < STREAMS_PER_CLIENT;
            tokio::select! {
                biased;
                // As kubectl: who is interrupted has done what was asked.
                _ = interrupt.recv() => return Ok(Outcome::Done),
                _ = terminate.recv() => return Ok(Outcome::Exited(143)),
                _ = hangup.recv() => return Ok(Outcome::Exited(129)),
                heard = line.next(beat) => {
                    if let Some(heard) = heard.context("lost connection to pod")? {
                        self.heard(heard, line, console)?;
                    } else {
                        beat = Instant::now() + BEAT;
                        self.beat(line)?;
                    }
                }
                Some((number, event)) = self.events.recv() => self.happened(number, event, line)?,
                Some(new) = connected.recv(), if has_place => self.begin(new, line, console).await?,
            }
        }
    }

    async fn begin(
        &mut self,
        Connected { ports, socket }: Connected,
        line: &mut Line,
        console: &mut Console,
    ) -> anyhow::Result<()> {
        console.line(format_args!("Handling connection for {}", ports.local))?;
        let number = self.count;
        self.count += 1;
        let request = self.request(ports.remote, false);
        let stream = line.begin(number, request).await.context("lost connection to pod")?;
        let local = Connection::begin(socket, number, &self.tell);
        let open = Open { stream, ports, local, read: Vec::new(), closing: false };
        self.open.insert(number, open);
        Ok(())
    }

    /// Says what was read here, as far as there is room.
    fn speak(&mut self, line: &mut Line) -> anyhow::Result<()> {
        // In turn, a frame of each: one that has much to say holds up no other.
        let mut said = true;
        while said {
            said = false;
            for open in self.open.values_mut() {
                if line.link.session.has_room() {
                    said |= open.speak(line)?;
                }
            }
        }
        Ok(())
    }

    fn beat(&mut self, line: &mut Line) -> anyhow::Result<()> {
        for open in self.open.values_mut() {
            let alive = open.stream.alive();
            line.say(&mut open.stream, alive)?;
        }
        Ok(())
    }

    /// Something happened here.
    fn happened(&mut self, number: u64, event: Event, line: &mut Line) -> anyhow::Result<()> {
        let Some(open) = self.open.get_mut(&number) else { return Ok(()) };
        match event {
            Event::Read(bytes) if bytes.is_empty() => open.closing = true,
            Event::Read(bytes) => open.read = bytes,
            Event::Written(cost) => {
                if let Some(grant) = open.stream.used(cost) {
                    line.say(&mut open.stream, grant)?;
                }
            }
            Event::Gone => {
                line.close(&mut open.stream);
                self.end(number, line);
            }
        }
        Ok(())
    }

    /// The node said something.
    fn heard(
        &mut self,
        heard: Heard,
        line: &mut Line,
        console: &mut Console,
    ) -> anyhow::Result<()> {
        let (Heard::Answered(ref id, _) | Heard::Frame(ref id, _)) = heard else { return Ok(()) };
        let found = self.open.iter_mut().find(|(_, open)| open.stream.id == *id);
        let Some((number, open)) = found else { return Ok(()) };
        let number = *number;
        let failed = match heard {
            Heard::Answered(_, answer) => open.stream.answered(answer).err().map(|e| e.to_string()),
            Heard::Frame(_, frame) => match open.stream.take(frame) {
                Ok(Some(part)) => open.take(part),
                Ok(None) => None,
                Err(broken) => {
                    line.close(&mut open.stream);
                    Some(broken.to_string())
                }
            },
            Heard::Other => None,
        };
        if let Some(why) = failed {
            let PortPair { local, remote } = open.ports;
            open.local.reset();
            console
                .remark(format_args!("an error occurred forwarding {local} -> {remote}: {why}"))?;
        }
        if open.stream.ended {
            self.end(number, line);
        }
        Ok(())
    }

    fn end(&mut self, number: u64, line: &mut Line) {
        if let Some(open) = self.open.remove(&number) {
            line.forget(&open.stream);
        }
    }
}

impl Open {
    /// Says one thing, where there is one and it may be said.
    fn speak(&mut self, line: &mut Line) -> anyhow::Result<bool> {
        let room = self.stream.outgoing.room().min(self.read.len());
        if room > 0 {
            let rest = self.read.split_off(room);
            let piece = std::mem::replace(&mut self.read, rest);
            line.say(&mut self.stream, StreamPart::Data(piece))?;
            if self.read.is_empty() {
                self.local.read_on();
            }
            return Ok(true);
        }
        if self.closing && self.read.is_empty() && !self.stream.opening {
            self.closing = false;
            line.say(&mut self.stream, StreamPart::Eof)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes what came; why it failed, where it did.
    fn take(&mut self, part: StreamPart) -> Option<String> {
        match part {
            StreamPart::Data(bytes) => {
                // Nothing to be written, and it was used.
                if bytes.is_empty() {
                    let _ = self.stream.used(cost(0));
                } else {
                    self.local.write(bytes);
                }
            }
            StreamPart::Eof => self.local.write(Vec::new()),
            StreamPart::End { reason, message } if reason != *"Completed" => {
                return Some(if message.is_empty() {
                    reason.to_string()
                } else {
                    message.to_string()
                });
            }
            _ => {}
        }
        None
    }
}
