//! `mote-agent ctl`: what the node knows, for people at the machine, with no network at all.
//!
//! One question and one answer over a unix socket that only root can use; each is a length of four
//! bytes and that many bytes of postcard. A log follows its answer, piece by piece. Both ends are one
//! program, so there are no versions: an agent that was replaced on disk and not restarted may not
//! understand its newer half, and that one says so. The agent sends facts; tables are made where they
//! are read.

use std::io;
use std::path::{Path, PathBuf};

use mote_protocol::command::LogSelection;
use mote_protocol::event::Event;
use mote_protocol::node::Usage;
use mote_protocol::object::Pod;
use mote_protocol::status::PodStatus;
use mote_protocol::usage::Metrics;
use serde::{Deserialize, Serialize};

use crate::steward::Standing;

mod age;
pub mod client;
mod describe;
mod doctor;
mod exec;
#[doc(hidden)]
pub mod fuzz;
mod images;
mod logs;
mod pods;
pub mod server;
mod table;
mod top;

#[cfg(test)]
mod tests;

/// That of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What an agent answers to a question that is newer than it.
const NOT_UNDERSTOOD: &str = "the agent does not understand the question";

/// Longest question: many names of images.
const MAX_QUESTION: usize = 32 * 1024;

/// Longest answer: a hundred pods with every field full, or every event with a long message.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Longest piece of a log, or part of a stream.
const MAX_PART: usize = 64 * 1024;

/// The socket below a run directory.
pub fn socket(run_dir: &Path) -> PathBuf {
    run_dir.join("ctl.sock")
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Question {
    Pods,
    Pod { namespace: String, name: String },
    Images,
    Events,
    Order(images::Order),
    Log { namespace: String, pod: String, container: String, selection: LogSelection },
    Standing,
    Exec(exec::Asked),
    Usage,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    Pods(Vec<PodFacts>),
    Pod(Option<Box<PodDescription>>),
    Images(Vec<ImageFacts>),
    Events(Vec<Event>),
    Done(images::Done),
    /// The log comes behind this, in [`Part`]s.
    Log,
    /// It could not be found out.
    Failed(String),
    /// The agent's version, and how it stands with the broker.
    Standing(String, Standing),
    /// The command is being executed. Behind this come parts of a stream, both ways.
    Exec,
    /// What is used, by the node and by its pods.
    Usage(Usage, Metrics),
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Text(Vec<u8>),
    /// Nothing follows; why, where it ended early.
    End(Option<String>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PodFacts {
    namespace: String,
    name: String,
    status: PodStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PodDescription {
    facts: PodFacts,
    pod: Option<Pod>,
    events: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ImageFacts {
    names: Vec<String>,
    id: String,
    bytes: u64,
}

/// A value behind its length.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = postcard::to_extend(value, vec![0; 4])?;
    let len = u32::try_from(bytes.len() - 4).map_err(|_| postcard::Error::SerializeBufferFull)?;
    if let Some(head) = bytes.first_chunk_mut() {
        *head = len.to_le_bytes();
    }
    Ok(bytes)
}

/// The length that stands in front of a value, if it is below its bound.
pub(crate) fn length(head: [u8; 4], max: usize) -> io::Result<usize> {
    let len = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if len <= max {
        return Ok(len);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes exceed {max}")))
}
