//! Questions and answers of the local socket, without a socket.

use mote_protocol::command::{LogSelection, WindowSize};
use mote_protocol::event::Event;
use mote_protocol::node::Usage;
use mote_protocol::object::Pod;
use mote_protocol::status::PodStatus;
use mote_protocol::stream::StreamPart;
use mote_protocol::usage::Metrics;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::images::{Done, Order};
use super::{
    Answer, ImageFacts, MAX_ANSWER, MAX_QUESTION, Part, PodDescription, PodFacts, Question, encode,
    length,
};

/// Reads a question as the server does.
pub fn question(bytes: &[u8]) -> bool {
    read::<Question>(bytes, MAX_QUESTION) || part(bytes)
}

/// Reads a part of a stream, as both do.
fn part(bytes: &[u8]) -> bool {
    read::<StreamPart>(bytes, super::MAX_PART)
}

/// Reads an answer as the client does.
pub fn answer(bytes: &[u8]) -> bool {
    read::<Answer>(bytes, MAX_ANSWER) || read::<Part>(bytes, super::MAX_PART)
}

fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    most: usize,
) -> bool {
    let Some((head, body)) = bytes.split_first_chunk() else { return false };
    let Ok(body) = length(*head, most).and_then(|len| body.get(..len).ok_or(end())) else {
        return false;
    };
    let Ok(value) = postcard::from_bytes::<T>(body) else { return false };
    let again = encode(&value).expect("what was read is written");
    assert_eq!(postcard::from_bytes::<T>(&again[4..]), Ok(value));
    true
}

fn end() -> std::io::Error {
    std::io::ErrorKind::UnexpectedEof.into()
}

/// Questions that are right.
pub fn questions() -> Vec<Vec<u8>> {
    let (namespace, name) = ("default".to_owned(), "web".to_owned());
    let selection = LogSelection { tail: Some(7), limit_bytes: Some(9), ..LogSelection::default() };
    let all = [
        Question::Pods,
        Question::Pod { namespace: namespace.clone(), name: name.clone() },
        Question::Order(Order::Remove(vec!["busybox".into(), "sha256:aa".into()])),
        Question::Order(Order::Export("busybox".into(), "/a.tar".into())),
        Question::Log {
            namespace: namespace.clone(),
            pod: name.clone(),
            container: name.clone(),
            selection,
        },
        Question::Exec(super::exec::Asked {
            namespace,
            pod: name.clone(),
            container: name,
            command: vec!["sh".into(), "-c".into(), "date".into()],
            stdin: true,
            terminal: Some(WindowSize { columns: 80, rows: 24 }),
        }),
    ];
    let parts = [
        StreamPart::Data(b"typed".to_vec()),
        StreamPart::Resize(WindowSize { columns: 100, rows: 30 }),
        StreamPart::Exited(137),
    ];
    all.iter().map(encode).chain(parts.iter().map(encode)).filter_map(Result::ok).collect()
}

/// Answers that are right.
pub fn answers() -> Vec<Vec<u8>> {
    let facts = || PodFacts {
        namespace: "default".into(),
        name: "web".into(),
        status: PodStatus::default(),
    };
    let description = PodDescription {
        facts: facts(),
        pod: Some(Pod::default()),
        events: vec![Event::default()],
    };
    let image = ImageFacts { names: vec!["busybox".into()], id: "sha256:aa".into(), bytes: 7 };
    let imported = Done::Imported { names: vec!["a".into()], skipped: vec!["b".into()] };
    let all = [
        Answer::Pods(vec![facts(), facts()]),
        Answer::Pod(Some(Box::new(description))),
        Answer::Images(vec![image]),
        Answer::Events(vec![Event::default(), Event::default()]),
        Answer::Done(imported),
        Answer::Failed("no".into()),
        Answer::Usage(Usage::default(), Metrics::default()),
    ];
    let parts = [Part::Text(b"line\n".to_vec()), Part::End(Some("why".into()))];
    all.iter().map(encode).chain(parts.iter().map(encode)).filter_map(Result::ok).collect()
}
