//! `mote exec`: a command in a container, with this side's input, outputs and terminal.

mod input;
mod terminal;

use std::future::pending;
use std::io;

use anyhow::bail;
use mote_protocol::command::{ExecRequest, Request};
use mote_protocol::limits::STREAM_WINDOW;
use mote_protocol::stream::{StreamPart, cost};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::logs::print::{Printed, Printer, Side};
use super::stream::{BEAT, Heard, Line, PATIENCE, Stream, Wanted, asker};
use super::{Invocation, Outcome};
use crate::cli::ExecArgs;
use crate::output::console::Console;
use input::Input;
use terminal::Raw;

/// Runs the command.
pub async fn run(
    args: &ExecArgs,
    invocation: &Invocation,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let wanted = Wanted {
        pod: &args.pod,
        node: args.node.as_ref(),
        container: args.container.as_deref(),
        quiet: args.quiet,
        doing: "exec into a container in",
    };
    let reached = Line::reach(&wanted, invocation, console).await?;
    let Some((target, mut line)) = reached else { return Ok(Outcome::Failed) };
    // As kubectl: a terminal takes somebody who types.
    let tty = args.tty && args.stdin && terminal::is_there();
    if args.tty && args.stdin && !tty && !args.quiet {
        console
            .remark("Unable to use a TTY - input is not a terminal or the right kind of file")?;
    }
    let request = Request::Exec(ExecRequest {
        namespace: target.key.namespace.clone(),
        pod: target.key.name.clone(),
        container: target.container.clone(),
        command: args.command.clone(),
        stdin: args.stdin,
        terminal: tty.then(terminal::size),
        by: asker(),
        credit: STREAM_WINDOW,
    });
    let stream = line.begin(0, request).await?;
    let mut attached = Attached::new(stream, args.stdin, tty)?;
    let result = attached.serve(&mut line).await;
    line.close(&mut attached.stream);
    line.link.session.close().await;
    // The terminal is as before when something is said.
    drop(attached);
    match result? {
        Ended::Exited(0) => Ok(Outcome::Done),
        Ended::Exited(code) => {
            if !args.quiet {
                console.remark(format_args!("command terminated with exit code {code}"))?;
            }
            Ok(Outcome::Exited(u8::try_from(code).unwrap_or(u8::MAX)))
        }
        Ended::Interrupted(signal) => Ok(Outcome::Exited(128 + signal)),
    }
}

/// How it came to its end.
enum Ended {
    Exited(i32),
    /// By a signal of this number.
    Interrupted(u8),
}

/// A command, and what is attached to it.
struct Attached {
    stream: Stream,
    printer: Printer,
    /// None where it is not passed on, or at its end.
    input: Option<Input>,
    /// What was read and there is no room for.
    typed: Vec<u8>,
    /// The end of the input is to be said.
    closing: bool,
    raw: Option<Raw>,
    resized: bool,
    exited: Option<i32>,
    /// Why nobody knows how it ended.
    failed: Option<String>,
    signals: Signals,
}

impl Attached {
    fn new(stream: Stream, stdin: bool, tty: bool) -> anyhow::Result<Self> {
        Ok(Self {
            stream,
            printer: Printer::start(),
            input: stdin.then(Input::start),
            typed: Vec::new(),
            closing: false,
            raw: tty.then(Raw::enter).transpose()?,
            resized: false,
            exited: None,
            failed: None,
            signals: Signals::new()?,
        })
    }

    /// Serves it to its end.
    async fn serve(&mut self, line: &mut Line) -> anyhow::Result<Ended> {
        let patience = Instant::now() + PATIENCE;
        let mut beat = Instant::now() + BEAT;
        while !self.stream.ended || !self.printer.is_done() {
            self.speak(line)?;
            let wake = if self.stream.opening { beat.min(patience) } else { beat };
            let may_read = self.typed.is_empty() && !self.stream.ended;
            tokio::select! {
                biased;
                told = self.signals.next() => match told {
                    Told::Resized => self.resized = self.raw.is_some(),
                    Told::End(number) => return Ok(Ended::Interrupted(number)),
                },
                printed = self.printer.next(), if !self.printer.is_done() => {
                    self.printed(printed, line)?;
                }
                // What is printed yet needs no broker any more.
                heard = line.next(wake), if !self.stream.ended => match heard? {
                    Some(heard) => self.heard(heard)?,
                    None if Instant::now() < beat => bail!("the node does not answer"),
                    None => {
                        beat = Instant::now() + BEAT;
                        let alive = self.stream.alive();
                        line.say(&mut self.stream, alive)?;
                    }
                },
                read = next(&mut self.input), if may_read => self.read(read)?,
            }
        }
        match (self.failed.take(), self.exited) {
            (Some(why), _) => bail!(why),
            (None, Some(code)) => Ok(Ended::Exited(code)),
            (None, None) => bail!("the node did not tell how it ended"),
        }
    }

    /// Says what there is to be said, as far as there is room.
    fn speak(&mut self, line: &mut Line) -> anyhow::Result<()> {
        while line.link.session.has_room() && !self.stream.ended {
            let room = self.stream.outgoing.room().min(self.typed.len());
            if self.resized && !self.stream.opening {
                self.resized = false;
                line.say(&mut self.stream, StreamPart::Resize(terminal::size()))?;
            } else if room > 0 {
                let rest = self.typed.split_off(room);
                let piece = std::mem::replace(&mut self.typed, rest);
                line.say(&mut self.stream, StreamPart::Data(piece))?;
            } else if self.closing && self.typed.is_empty() && !self.stream.opening {
                self.closing = false;
                line.say(&mut self.stream, StreamPart::Eof)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self, read: io::Result<Vec<u8>>) -> anyhow::Result<()> {
        self.typed = read?;
        if self.typed.is_empty() {
            (self.input, self.closing) = (None, true);
        }
        Ok(())
    }

    fn printed(&mut self, printed: Printed, line: &mut Line) -> anyhow::Result<()> {
        printed.result?;
        match self.stream.used(cost(printed.len)) {
            Some(grant) => line.say(&mut self.stream, grant),
            None => Ok(()),
        }
    }

    fn heard(&mut self, heard: Heard) -> anyhow::Result<()> {
        match heard {
            Heard::Answered(id, answer) if id == self.stream.id => {
                self.stream.answered(answer)?;
            }
            Heard::Frame(id, frame) if id == self.stream.id => {
                if let Some(part) = self.stream.take(frame)? {
                    self.take(part);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, part: StreamPart) {
        match part {
            StreamPart::Data(text) => self.print(Side::Output, text),
            StreamPart::Error(text) => self.print(Side::Error, text),
            StreamPart::Exited(code) => self.exited = Some(code),
            StreamPart::End { reason, message } if reason != *"Completed" => {
                let why = if message.is_empty() { &*reason } else { &*message };
                self.failed = Some(why.to_owned());
            }
            _ => {}
        }
    }

    fn print(&mut self, side: Side, text: Vec<u8>) {
        self.printer.print_to(side, 0, text.len(), text);
    }
}

/// What is read next; nothing where nothing is read.
async fn next(input: &mut Option<Input>) -> io::Result<Vec<u8>> {
    match input {
        Some(input) => input.next().await,
        None => pending().await,
    }
}

/// What a signal says.
enum Told {
    /// The window has another size.
    Resized,
    /// It is to end, by the signal of this number.
    End(u8),
}

/// What the terminal, or somebody, tells this program.
struct Signals {
    window: Signal,
    ends: [(u8, Signal); 3],
}

impl Signals {
    fn new() -> io::Result<Self> {
        let ends = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
        let [hangup, interrupt, terminate] = ends.map(|kind| {
            signal(kind)
                .map(|signal| (u8::try_from(kind.as_raw_value()).unwrap_or_default(), signal))
        });
        let window = signal(SignalKind::window_change())?;
        Ok(Self { window, ends: [hangup?, interrupt?, terminate?] })
    }

    /// The next of them. Cancel-safe.
    async fn next(&mut self) -> Told {
        let [(one, first), (two, second), (three, third)] = &mut self.ends;
        tokio::select! {
            _ = self.window.recv() => Told::Resized,
            _ = first.recv() => Told::End(*one),
            _ = second.recv() => Told::End(*two),
            _ = third.recv() => Told::End(*three),
        }
    }
}
