//! `mote-agent ctl logs`: the log of a container, read over the local socket.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use jiff::{SignedDuration, Timestamp};
use mote_protocol::command::{LogSelection, Since};
use mote_protocol::status::ContainerRole;

use super::client::{AskError, ask, begin, complain, pod_named};
use super::{Answer, MAX_PART, Part, PodDescription, Question, length};
use crate::exit::Exit;
use crate::log::Chain;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    namespace: String,
    pod: String,
    container: Option<String>,
    all: bool,
    prefix: bool,
    selection: LogSelection,
}

/// Longest line that is held back to be printed as a whole.
const MAX_LINE: usize = 64 * 1024;

/// The annotation with which a pod names its most interesting container.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Reads what stands behind `logs`; none where help is wanted.
pub(super) fn parse(
    parser: &mut lexopt::Parser,
    mut namespace: Option<String>,
) -> Result<Option<Wanted>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut names = Vec::new();
    let (mut container, mut all, mut prefix) = (None, false, false);
    let mut selection = LogSelection::default();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Short('n') | Long("namespace") => namespace = Some(parser.value()?.string()?),
            Short('c') | Long("container") => container = Some(parser.value()?.string()?),
            Short('f') | Long("follow") => selection.follow = true,
            Short('p') | Long("previous") => selection.previous = true,
            Long("timestamps") => selection.timestamps = true,
            Long("all-containers") => all = true,
            Long("prefix") => prefix = true,
            Long("tail") => selection.tail = u32::try_from(parser.value()?.parse::<i64>()?).ok(),
            Long("limit-bytes") => selection.limit_bytes = Some(parser.value()?.parse()?),
            Long("since") => selection.since = Some(parser.value()?.parse_with(ago)?),
            Long("since-time") => selection.since = Some(parser.value()?.parse_with(time)?),
            Value(name) => names.push(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let [name] = names.as_slice() else { return Err("one pod is to be named".into()) };
    let (namespace, pod) = pod_named(name, namespace);
    if all && container.is_some() {
        return Err("--all-containers and --container exclude each other".into());
    }
    Ok(Some(Wanted { namespace, pod, container, all, prefix, selection }))
}

fn ago(text: &str) -> Result<Since, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Since::Seconds(seconds));
    }
    let duration: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    u64::try_from(duration.as_millis())
        .map(|millis| Since::Seconds(millis.div_ceil(1000)))
        .map_err(|_| "a time in the past is written without a sign".to_owned())
}

fn time(text: &str) -> Result<Since, String> {
    let time: Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let nanos = time.as_nanosecond();
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
    let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default();
    Ok(Since::Time { seconds, nanos })
}

/// Prints the logs that are wanted.
pub(super) fn run(socket: &Path, wanted: &Wanted) -> Exit {
    let (namespace, name) = (wanted.namespace.clone(), wanted.pod.clone());
    let described = match ask(socket, &Question::Pod { namespace, name }) {
        Ok(Answer::Pod(Some(described))) => described,
        Ok(Answer::Pod(None)) => {
            return failed(&format!("pod \"{}/{}\" not found", wanted.namespace, wanted.pod));
        }
        Ok(Answer::Failed(reason)) => return failed(&reason),
        Ok(_) => return failed("the agent answered something else"),
        Err(error) => return failed(&Chain(&error).to_string()),
    };
    let names = match choose(&described, wanted) {
        Ok(names) => names,
        Err(why) => return failed(&why),
    };
    let several = names.len() > 1;
    let read = |name: &String| read(socket, wanted, name, several);
    let together = wanted.selection.follow && several;
    let results: Vec<_> = if together {
        thread::scope(|scope| {
            let readers: Vec<_> =
                names.iter().map(|name| scope.spawn(move || read(name))).collect();
            let broken = |_| Err("a reader panicked".to_owned());
            readers.into_iter().map(|reader| reader.join().unwrap_or_else(broken)).collect()
        })
    } else {
        names.iter().map(read).collect()
    };
    let mut exit = Exit::Done;
    for why in results.into_iter().filter_map(Result::err) {
        exit = failed(&why);
    }
    exit
}

pub(super) fn failed(why: &str) -> Exit {
    complain(why);
    Exit::Failed
}

/// Chooses as kubectl does: what is named, the pod's default, the first.
fn choose(described: &PodDescription, wanted: &Wanted) -> Result<Vec<String>, String> {
    if wanted.all {
        let (app, init) = containers(described);
        return Ok(init.into_iter().chain(app).collect());
    }
    one(described, wanted.container.as_deref(), false).map(|name| vec![name])
}

/// Names of a pod's containers, in their order: those of its own, and those that begin before.
fn containers(described: &PodDescription) -> (Vec<String>, Vec<String>) {
    let (mut app, mut init) = (Vec::new(), Vec::new());
    for container in &described.facts.status.containers {
        match container.role() {
            ContainerRole::App => app.push(container.name.to_string()),
            ContainerRole::Init | ContainerRole::Sidecar => init.push(container.name.to_string()),
        }
    }
    // A status has them by name.
    let place = |name: &String| {
        let pod = described.pod.as_ref();
        pod.and_then(|pod| pod.spec.containers.iter().position(|c| c.name == *name))
    };
    app.sort_by_key(place);
    (app, init)
}

/// The container that is meant where one is: the one that is named, the pod's default, the first. Which
/// one that is, is said where nobody chose and somebody listens.
pub(super) fn one(
    described: &PodDescription,
    named: Option<&str>,
    quiet: bool,
) -> Result<String, String> {
    let meta = described.pod.as_ref().map(|pod| &pod.meta.annotations);
    let preferred = meta.and_then(|annotations| annotations.get(DEFAULT_CONTAINER));
    if let Some(name) = named.or(preferred.map(String::as_str)) {
        return Ok(name.to_owned());
    }
    let (app, init) = containers(described);
    let Some(first) = app.first().cloned() else {
        return Err(format!("pod {} has no containers yet", described.facts.name));
    };
    if app.len() + init.len() > 1 && !quiet {
        let init = init.iter().map(|name| format!("{name} (init)"));
        let list: Vec<_> = app.into_iter().chain(init).collect();
        complain(&format!("Defaulted container \"{first}\" out of: {}", list.join(", ")));
    }
    Ok(first)
}

/// Prints one log to its end.
fn read(socket: &Path, wanted: &Wanted, container: &str, several: bool) -> Result<(), String> {
    let question = Question::Log {
        namespace: wanted.namespace.clone(),
        pod: wanted.pod.clone(),
        container: container.to_owned(),
        selection: wanted.selection.clone(),
    };
    let told = |error: AskError| Chain(&error).to_string();
    let (mut stream, answer) = begin(socket, &question).map_err(told)?;
    match answer {
        Answer::Log => {}
        Answer::Failed(why) => return Err(why),
        _ => return Err("the agent answered something else".to_owned()),
    }
    let prefix = format!("[pod/{}/{container}] ", wanted.pod);
    let mut lines = Lines {
        prefix: if wanted.prefix { prefix } else { String::new() },
        whole: several || wanted.prefix,
        held: Vec::new(),
    };
    match copy(&mut stream, &mut lines) {
        // A reader that left early (`| head`) has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(format!("read the log of {container}: {error}")),
        Ok(why) => why,
    }
}

fn copy(stream: &mut UnixStream, lines: &mut Lines) -> io::Result<Result<(), String>> {
    // What is followed may be silent for days.
    stream.set_read_timeout(None)?;
    loop {
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        let mut bytes = vec![0; length(head, MAX_PART)?];
        stream.read_exact(&mut bytes)?;
        let part = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
        match part {
            Part::Text(text) => print(&lines.take(&text))?,
            Part::End(why) => {
                print(&lines.rest())?;
                return Ok(why.map_or(Ok(()), Err));
            }
        }
    }
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// Puts a name before lines, and keeps the lines of several logs apart.
struct Lines {
    prefix: String,
    whole: bool,
    held: Vec<u8>,
}

impl Lines {
    fn take(&mut self, text: &[u8]) -> Vec<u8> {
        if !self.whole {
            return text.to_vec();
        }
        self.held.extend_from_slice(text);
        let end = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut lines = Vec::new();
        for line in self.held.get(..end).unwrap_or_default().split_inclusive(|b| *b == b'\n') {
            lines.extend_from_slice(self.prefix.as_bytes());
            lines.extend_from_slice(line);
        }
        self.held.drain(..end);
        if self.held.len() > MAX_LINE {
            lines.extend(self.rest());
        }
        lines
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.held);
        if !line.is_empty() {
            line.splice(..0, self.prefix.bytes());
            line.push(b'\n');
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come_and_what_is_held_back_is_bounded() {
        let mut lines = Lines { prefix: "[a] ".into(), whole: true, held: Vec::new() };
        assert_eq!(lines.take(b"on"), b"");
        assert_eq!(lines.take(b"e\ntw"), b"[a] one\n");
        assert_eq!(lines.rest(), b"[a] tw\n");
        let mut printed = 0;
        for _ in 0..1000 {
            printed += lines.take(&[b'x'; 1000]).len();
            assert!(lines.held.len() <= MAX_LINE);
        }
        assert!(printed + lines.held.len() > 1_000_000);
    }
}
