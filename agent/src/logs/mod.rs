//! Reads the logs of containers: what people want to see of them, as it is written.
//!
//! ```text
//!   choose -----> files ----> tail        which attempt, which files, where to begin
//!                   |
//!                   v blocks
//!                 lines ----> reader ----> a stream of the broker, or the local socket
//!                               ^
//!                  watch -------+         something was written, or the log is complete
//! ```
//! `mote-pause` writes the logs; this side never does. `choose`, `record`, `lines` and `tail` are
//! pure. A [`LogReader`] holds one block of a file and what it made of it, whatever the log's size
//! and however slow its reader is: it reads on when it is asked for more.

use std::io;

mod choose;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod lines;
mod reader;
mod record;
pub mod remote;
mod tail;
mod watch;

pub use choose::{Instance, choose};
pub use reader::{Beginning, LogReader};

/// Logs that operators read at a time over the broker: kubectl follows five containers of a pod at
/// a time, and somebody else should get a word in.
pub const MAX_REMOTE: usize = 8;

/// Logs that people at the machine read at a time.
pub const MAX_LOCAL: usize = 8;

/// Bytes read at a time. The longest record that `mote-pause` writes is a quarter of it.
const BLOCK: usize = 16 * 1024;

/// Why a log is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// Kubernetes' word: `NotFound`, `BadRequest`, ...
    pub reason: &'static str,
    /// Why, for a person.
    pub message: String,
}

impl Refused {
    /// What was asked makes no sense now.
    pub const fn bad_request(message: String) -> Self {
        Self { reason: "BadRequest", message }
    }

    /// There is no such thing.
    pub const fn not_found(message: String) -> Self {
        Self { reason: "NotFound", message }
    }
}

/// Why a log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its file cannot be opened.
    #[error("open the log")]
    Open(#[source] io::Error),
    /// Its file cannot be read.
    #[error("read the log")]
    Read(#[source] io::Error),
    /// The kernel does not tell when it grows.
    #[error("watch the log")]
    Watch(#[source] io::Error),
}

#[cfg(test)]
mod tests;
