//! The other side: reads the command line, asks the running agent, prints.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mote_protocol::doctor::Finding;

use super::doctor::{self, Form};
use super::{
    Answer, MAX_ANSWER, NOT_UNDERSTOOD, Question, describe, encode, exec, images, length, logs,
    pods, socket, top,
};
use crate::config;
use crate::exit::Exit;
use crate::log::Chain;
use crate::pod::Moment;
use crate::ports::{Clock, KernelClock};
use crate::steward::Standing;

/// Shown for `--help`.
const HELP: &str = include_str!("help.txt");

/// Time for an answer. Whole seconds mean that something is wrong.
const PATIENCE: Duration = Duration::from_secs(15);

/// The same where others wait for what comes of it.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Help,
    Ask { question: Question, wide: bool },
    Logs(logs::Wanted),
    Exec(exec::Wanted),
    Doctor(Form),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("no agent answers on {}", path.display())]
    Connect {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("ask the agent on {}", path.display())]
    Talk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Runs the command line behind `ctl`; `examine` finds out what ails the node.
pub fn main<E: Error>(
    config: &Path,
    arguments: Vec<OsString>,
    examine: impl FnOnce(&Path) -> Result<Vec<Finding>, E>,
) -> Exit {
    let socket = || socket(&config::run_dir(config));
    let (question, wide) = match parse(arguments) {
        Ok(Wanted::Ask { question, wide }) => (question, wide),
        Ok(Wanted::Help) => return print(HELP),
        Ok(Wanted::Logs(wanted)) => return logs::run(&socket(), &wanted),
        Ok(Wanted::Exec(wanted)) => return exec::run(&socket(), wanted),
        Ok(Wanted::Doctor(form)) => return doctor::run(config, form, examine),
        Err(error) => {
            complain(&format!("{error}; see `mote-agent ctl --help`"));
            return Exit::Usage;
        }
    };
    match ask(&socket(), &question) {
        Ok(answer) => show(&answer, &question, wide),
        Err(error) => {
            complain(&Chain(&error).to_string());
            Exit::Failed
        }
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Wanted, lexopt::Error> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut words, mut wide, mut json, mut namespace) = (Vec::new(), false, false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Wanted::Help),
            Short('o') | Long("output") => match parser.value()?.string()?.as_str() {
                "wide" => wide = true,
                "json" => json = true,
                other => {
                    return Err(format!("output `{other}` is not known: wide and json are").into());
                }
            },
            Short('n') | Long("namespace") => namespace = Some(parser.value()?.string()?),
            Value(word) if words.is_empty() && word == "logs" => {
                let wanted = logs::parse(&mut parser, namespace)?;
                return Ok(wanted.map_or(Wanted::Help, Wanted::Logs));
            }
            Value(word) if words.is_empty() && word == "exec" => {
                let wanted = exec::parse(&mut parser, namespace)?;
                return Ok(wanted.map_or(Wanted::Help, Wanted::Exec));
            }
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words == ["doctor"] {
        if wide {
            return Err("`doctor` is shown as it is, or as json".into());
        }
        return Ok(Wanted::Doctor(if json { Form::Json } else { Form::Text }));
    }
    if json {
        return Err("output `json` is `doctor`'s alone".into());
    }
    let question = match words[..] {
        ["pods" | "pod" | "po"] => Question::Pods,
        ["images" | "image", ref words @ ..] => match images::parse(words)? {
            Some(order) => Question::Order(order),
            None => Question::Images,
        },
        ["events" | "event" | "ev"] => Question::Events,
        ["top"] => Question::Usage,
        ["describe", "pod" | "pods" | "po", name] => {
            let (namespace, name) = pod_named(name, namespace);
            Question::Pod { namespace, name }
        }
        ["describe", name] if pod_kind(name).is_some() => {
            let (namespace, name) = pod_named(name, namespace);
            Question::Pod { namespace, name }
        }
        [] => return Err("what is to be shown is missing".into()),
        _ => return Err(format!("`{}` is no command", words.join(" ")).into()),
    };
    Ok(Wanted::Ask { question, wide })
}

/// What follows `pod/`, as kubectl lets people write names.
fn pod_kind(name: &str) -> Option<&str> {
    ["pod/", "pods/", "po/"].iter().find_map(|kind| name.strip_prefix(kind))
}

/// Namespace and name of a pod that is written `NAME`, `NAMESPACE/NAME` or with `pod/` in front.
pub(super) fn pod_named(text: &str, namespace: Option<String>) -> (String, String) {
    let text = pod_kind(text).unwrap_or(text);
    let (inner, name) = match text.split_once('/') {
        Some((inner, name)) => (Some(inner.to_owned()), name),
        None => (None, text),
    };
    (inner.or(namespace).unwrap_or_else(|| "default".to_owned()), name.to_owned())
}

/// Why an agent did not say how it stands.
pub(crate) enum Unanswered {
    /// There is none.
    Absent(AskError),
    /// It says nothing, or nothing that can be understood.
    Silent(AskError),
    /// It does not know the question.
    NotUnderstood,
}

/// Asks the agent at a run directory how it stands; gives its version first.
pub(crate) fn standing(run_dir: &Path) -> Result<(String, Standing), Unanswered> {
    let path = socket(run_dir);
    let stray = || {
        let source = io::Error::other("an answer to something else");
        Unanswered::Silent(AskError::Talk { path: path.clone(), source })
    };
    match ask(&path, &Question::Standing) {
        Ok(Answer::Standing(version, standing)) => Ok((version, standing)),
        Ok(Answer::Failed(why)) if why == NOT_UNDERSTOOD => Err(Unanswered::NotUnderstood),
        Ok(_) => Err(stray()),
        Err(error @ AskError::Connect { .. }) => Err(Unanswered::Absent(error)),
        Err(error @ AskError::Talk { .. }) => Err(Unanswered::Silent(error)),
    }
}

/// Asks, and gives the answer.
pub(super) fn ask(path: &Path, question: &Question) -> Result<Answer, AskError> {
    begin(path, question).map(|(_, answer)| answer)
}

/// Asks, and gives the answer with what may follow on it.
pub(super) fn begin(path: &Path, question: &Question) -> Result<(UnixStream, Answer), AskError> {
    let connect = |source| AskError::Connect { path: path.to_owned(), source };
    let stream = UnixStream::connect(path).map_err(connect)?;
    let talk = |source| AskError::Talk { path: path.to_owned(), source };
    let answer = exchange(&stream, question).map_err(talk)?;
    Ok((stream, answer))
}

fn exchange(mut stream: &UnixStream, question: &Question) -> io::Result<Answer> {
    // A pull may take hours; whoever does not want to wait leaves, and it ends.
    let patience = match question {
        Question::Order(_) => None,
        Question::Standing => Some(SHORT_PATIENCE),
        _ => Some(PATIENCE),
    };
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&encode(question).map_err(io::Error::other)?)?;
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let len = length(head, MAX_ANSWER)?;
    let mut bytes = Vec::new();
    stream.take(len as u64).read_to_end(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(|_| {
        io::Error::other("the agent that runs is another version than this program; restart it")
    })
}

fn show(answer: &Answer, question: &Question, wide: bool) -> Exit {
    let now = Moment::from(KernelClock.now()).seconds();
    match answer {
        Answer::Pods(found) => print(&pods::render(found, wide, now)),
        Answer::Pod(Some(found)) => print(&describe::pod(found, now)),
        Answer::Images(found) => print(&describe::images(found)),
        Answer::Usage(node, metrics) => print(&top::render(node, metrics)),
        Answer::Events(found) => print(&describe::events(found, now, "")),
        Answer::Done(done) => {
            let (text, complaint) = images::show(done);
            complaint.lines().for_each(complain);
            print(&text);
            if complaint.is_empty() { Exit::Done } else { Exit::Failed }
        }
        // Not to what is asked here.
        Answer::Log | Answer::Exec | Answer::Standing(..) => Exit::Failed,
        Answer::Pod(None) => {
            if let Question::Pod { namespace, name } = question {
                complain(&format!("pod \"{namespace}/{name}\" not found"));
            }
            Exit::Failed
        }
        Answer::Failed(reason) => {
            complain(reason);
            Exit::Failed
        }
    }
}

pub(super) fn print(text: &str) -> Exit {
    // A reader that left early (`| head`) has what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    Exit::Done
}

pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "mote-agent ctl: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(line: &str) -> Result<Question, String> {
        match parse(line.split_whitespace().map(OsString::from).collect()) {
            Ok(Wanted::Ask { question, .. }) => Ok(question),
            Ok(Wanted::Help | Wanted::Logs(_) | Wanted::Exec(_) | Wanted::Doctor(_)) => {
                Err("no question".to_owned())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn pod(namespace: &str, name: &str) -> Question {
        Question::Pod { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn command_lines_are_questions() {
        assert_eq!(question("pods -o wide"), Ok(Question::Pods));
        assert_eq!(question("images"), Ok(Question::Images));
        assert_eq!(question("events"), Ok(Question::Events));
        assert_eq!(question("top"), Ok(Question::Usage));
        assert_eq!(question("describe pod web"), Ok(pod("default", "web")));
        assert_eq!(question("-n shop describe pod web"), Ok(pod("shop", "web")));
        assert_eq!(question("describe pod shop/web"), Ok(pod("shop", "web")));
        assert_eq!(question("-n shop describe pod/web"), Ok(pod("shop", "web")));
        assert_eq!(question("describe po/shop/web"), Ok(pod("shop", "web")));
        let doctor = |line: &str| parse(line.split(' ').map(OsString::from).collect()).ok();
        assert_eq!(doctor("doctor"), Some(Wanted::Doctor(Form::Text)));
        assert_eq!(doctor("doctor -o json"), Some(Wanted::Doctor(Form::Json)));
        for line in ["doctor -o wide", "doctor n1"] {
            assert_eq!(doctor(line), None, "{line}");
        }
        for line in ["", "pods x", "describe", "describe pod", "pods -o json", "--loud", "get pods"]
        {
            assert!(question(line).is_err(), "{line}");
        }
    }
}
