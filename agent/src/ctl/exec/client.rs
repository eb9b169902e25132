//! The side of who sits at the machine: reads the command line, and is attached.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use mote_protocol::command::WindowSize;
use mote_protocol::limits::MAX_STREAM_DATA;
use mote_protocol::stream::StreamPart;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::Asked;
use crate::ctl::client::{AskError, ask, begin, complain, pod_named};
use crate::ctl::logs::{failed, one};
use crate::ctl::{Answer, MAX_PART, Question, encode, length};
use crate::exit::Exit;
use crate::log::Chain;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ctl) struct Wanted {
    namespace: String,
    pod: String,
    container: Option<String>,
    stdin: bool,
    tty: bool,
    quiet: bool,
    command: Vec<String>,
}

/// Reads what stands behind `exec`; none where help is wanted.
pub(in crate::ctl) fn parse(
    parser: &mut lexopt::Parser,
    mut namespace: Option<String>,
) -> Result<Option<Wanted>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut name, mut container) = (None, None);
    let (mut stdin, mut tty, mut quiet) = (false, false, false);
    let mut command = Vec::new();
    loop {
        // All that is behind `--` is the command's, also what looks like a flag.
        if let Some(rest) = parser.try_raw_args()
            && rest.peek().is_some_and(|word| word == "--")
        {
            for word in rest.skip(1) {
                command.push(word.string()?);
            }
            break;
        }
        match parser.next()? {
            None => break,
            Some(Short('h') | Long("help")) => return Ok(None),
            Some(Short('n') | Long("namespace")) => namespace = Some(parser.value()?.string()?),
            Some(Short('c') | Long("container")) => container = Some(parser.value()?.string()?),
            Some(Short('i') | Long("stdin")) => stdin = true,
            Some(Short('t') | Long("tty")) => tty = true,
            Some(Short('q') | Long("quiet")) => quiet = true,
            Some(Value(word)) if name.is_none() => name = Some(word.string()?),
            Some(Value(_)) => return Err("the command stands behind `--`".into()),
            Some(other) => return Err(other.unexpected()),
        }
    }
    let Some(name) = name else { return Err("one pod is to be named".into()) };
    if command.is_empty() {
        return Err("you must specify at least one command for the container, behind `--`".into());
    }
    let (namespace, pod) = pod_named(&name, namespace);
    Ok(Some(Wanted { namespace, pod, container, stdin, tty, quiet, command }))
}

/// Executes what is wanted.
pub(in crate::ctl) fn run(socket: &Path, wanted: Wanted) -> Exit {
    match execute(socket, wanted) {
        Ok(exit) => exit,
        Err(why) => failed(&why),
    }
}

fn execute(socket: &Path, wanted: Wanted) -> Result<Exit, String> {
    let told = |error: AskError| Chain(&error).to_string();
    let Wanted { namespace, pod, container, stdin, tty, quiet, command } = wanted;
    let question = Question::Pod { namespace: namespace.clone(), name: pod.clone() };
    let described = match ask(socket, &question).map_err(told)? {
        Answer::Pod(Some(described)) => described,
        Answer::Pod(None) => return Err(format!("pod \"{namespace}/{pod}\" not found")),
        Answer::Failed(reason) => return Err(reason),
        _ => return Err("the agent answered something else".to_owned()),
    };
    let container = one(&described, container.as_deref(), quiet)?;
    let typed = tty && stdin && io::stdin().is_terminal();
    if tty && stdin && !typed && !quiet {
        complain("Unable to use a TTY - input is not a terminal or the right kind of file");
    }
    let terminal = typed.then(window);
    let asked = Asked { namespace, pod, container, command, stdin, terminal };
    let (stream, answer) = begin(socket, &Question::Exec(asked)).map_err(told)?;
    match answer {
        Answer::Exec => {}
        Answer::Failed(why) => return Err(why),
        _ => return Err("the agent answered something else".to_owned()),
    }
    let broken = |error: io::Error| format!("talk with the agent: {error}");
    let raw = typed.then(Raw::enter).transpose().map_err(|error| error.to_string())?;
    let attached = attend(stream, stdin, typed);
    drop(raw);
    let code = attached.map_err(broken)??;
    if code != 0 && !quiet {
        let _ = writeln!(io::stderr(), "command terminated with exit code {code}");
    }
    Ok(if code == 0 { Exit::Done } else { Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)) })
}

/// Carries what is typed and what is printed; gives the exit status, or why nobody knows it.
fn attend(mut stream: UnixStream, stdin: bool, typed: bool) -> io::Result<Result<i32, String>> {
    // What is typed, and what is printed, may have long pauses.
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    if stdin {
        let to = stream.try_clone()?;
        // A read cannot be called off: the thread ends with the program.
        thread::spawn(move || send_input(to, typed));
    }
    let mut exited = None;
    loop {
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        let mut bytes = vec![0; length(head, MAX_PART)?];
        stream.read_exact(&mut bytes)?;
        match postcard::from_bytes(&bytes).map_err(io::Error::other)? {
            StreamPart::Data(text) => {
                let mut out = io::stdout().lock();
                out.write_all(&text)?;
                out.flush()?;
            }
            StreamPart::Error(text) => io::stderr().lock().write_all(&text)?,
            StreamPart::Exited(code) => exited = Some(code),
            StreamPart::End { reason, message } => {
                let why = if message.is_empty() { &*reason } else { &*message };
                return Ok(exited.ok_or_else(|| why.to_owned()));
            }
            _ => {}
        }
    }
}

/// Sends what is typed to its end. The size of a window that changed goes with the next key.
fn send_input(mut to: UnixStream, typed: bool) {
    let mut size = window();
    let mut buffer = vec![0; MAX_STREAM_DATA];
    let mut say = |part: &StreamPart| encode(part).map(|bytes| to.write_all(&bytes));
    loop {
        let len = match io::stdin().lock().read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        let now = window();
        if typed && now != size {
            size = now;
            let _ = say(&StreamPart::Resize(size));
        }
        let bytes = buffer.get(..len).unwrap_or_default();
        let part = if len == 0 { StreamPart::Eof } else { StreamPart::Data(bytes.to_vec()) };
        if !matches!(say(&part), Ok(Ok(()))) || len == 0 {
            return;
        }
    }
}

/// How large the terminal is now.
fn window() -> WindowSize {
    let seen = tcgetwinsize(io::stdout().as_fd()).or_else(|_| tcgetwinsize(io::stdin().as_fd()));
    seen.map(|size| WindowSize { columns: size.ws_col, rows: size.ws_row }).unwrap_or_default()
}

/// A terminal that passes on every key. It is as before when this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin().as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // It is gone with its window otherwise.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Drain, &self.0);
    }
}
