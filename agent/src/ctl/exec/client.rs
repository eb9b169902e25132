//! The side of who sits at the machine: reads the command line, and is attached.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use mote_protocol::limits::MAX_STREAM_DATA;
use mote_protocol::stream::StreamPart;
use tokio::sync::mpsc;

use super::Asked;
use super::terminal::{EndedBy, Raw, Signals, window};
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
    // One part of what is typed is read ahead; more than that the kernel keeps.
    let (say, said) = mpsc::channel(1);
    let (ended, raw) = if typed {
        let signals = Signals::catch().map_err(|error| error.to_string())?;
        let raw = Raw::enter().map_err(|error| error.to_string())?;
        let socket = stream.try_clone().map_err(broken)?;
        (signals.follow(say.clone(), socket), Some(raw))
    } else {
        (EndedBy::default(), None)
    };
    let attached = attend(stream, stdin.then_some(say), said);
    drop(raw);
    if let Some(number) = ended.signal() {
        return Ok(Exit::Command(128 + number));
    }
    let code = attached.map_err(broken)??;
    if code != 0 && !quiet {
        let _ = writeln!(io::stderr(), "command terminated with exit code {code}");
    }
    Ok(if code == 0 { Exit::Done } else { Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)) })
}

/// Carries what is typed and what is printed; gives the exit status, or why nobody knows it.
fn attend(
    mut stream: UnixStream,
    input: Option<mpsc::Sender<StreamPart>>,
    said: mpsc::Receiver<StreamPart>,
) -> io::Result<Result<i32, String>> {
    // What is typed, and what is printed, may have long pauses.
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    if let Some(say) = input {
        let to = stream.try_clone()?;
        // A read cannot be called off: the threads end with the program.
        thread::spawn(move || read_input(&say));
        thread::spawn(move || send(to, said));
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

/// Reads what is typed to its end.
fn read_input(say: &mpsc::Sender<StreamPart>) {
    let mut buffer = vec![0; MAX_STREAM_DATA];
    loop {
        let len = match io::stdin().lock().read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        let bytes = buffer.get(..len).unwrap_or_default();
        let part = if len == 0 { StreamPart::Eof } else { StreamPart::Data(bytes.to_vec()) };
        if say.blocking_send(part).is_err() || len == 0 {
            return;
        }
    }
}

/// Sends what is to be said, until nothing is or nobody hears it.
fn send(mut to: UnixStream, mut parts: mpsc::Receiver<StreamPart>) {
    while let Some(part) = parts.blocking_recv() {
        if !matches!(encode(&part).map(|bytes| to.write_all(&bytes)), Ok(Ok(()))) {
            return;
        }
    }
}
