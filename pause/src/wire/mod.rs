//! The language between an agent and the `mote-pause` of one pod.
//!
//! One message is one packet of a `SOCK_SEQPACKET` socket, so there is no framing to lose:
//!
//! ```text
//! request   version u8 | op u8   | id u16 | body      agent -> pause
//! reply     version u8 | kind u8 | id u16 | body      pause -> agent; id 0: nobody asked
//! ```
//!
//! Integers are little endian. Every request is answered with its id: by exactly one reply, only
//! [`Request::List`] by any number of them before the closing [`Reply::Done`]. Exits and ended
//! logs are also told unasked to everybody connected.
//!
//! A pod outlives the agent that started it, so an old pause meets a new agent. That is what the
//! version byte is for: it comes first in every version there will ever be, and a pause answers a
//! version it does not know with [`Failure::Version`], in its own. The agent then speaks older, or, where
//! it is itself the older one, leaves the pod alone.
//!
//! Within one version operations and kinds of replies are added, and nothing that is there changes: who
//! does not know an operation says [`Failure::Operation`], and who does not know a reply passes it over.

mod cursor;
mod names;
mod reply;
mod request;

use core::fmt;

pub use names::{Key, Name, Namespace, Namespaces, Role};
pub use reply::{Exit, Failure, Hello, LogEnd, Reply};
pub use request::{LogFile, Request, Run, Strings, Unshare, UserRange};

/// The version of this language: first byte of every message.
pub const VERSION: u8 = 1;

/// Largest message; also what is read of a log at once. One page, resident in every pod: a
/// helper's arguments and environment are a few hundred bytes, all that is long (the container's
/// own) is in its bundle.
pub const MAX_MESSAGE: usize = 4096;

/// Most file descriptors that come with one request: the executable, a `cgroup.procs` per v1
/// hierarchy (12 on the richest kernels), stdio, result pipe, configuration.
pub const MAX_FDS: usize = 20;

/// Most arguments plus environment variables of a helper.
pub const MAX_STRINGS: usize = 64;

/// Longest path of a log file, without the closing NUL. The name of a rotated file is up to three
/// bytes longer.
pub const MAX_PATH: usize = 255;

/// Longest host name, as in `sethostname(2)`.
pub const MAX_HOSTNAME: usize = 64;

/// File descriptors that a request may give a helper are below this number.
pub const MAX_TARGET: u8 = 32;

/// The socket's name in the pod's directory.
pub const SOCKET: &str = "pause.sock";

/// The name, in the pod's directory, of the file of exits: [`EXIT_SLOTS`] records as read by
/// [`Exit::read`], in no order.
pub const EXITS: &str = "exits";

/// Records in the file of exits. Without an agent nothing is started, so what can end while none
/// is there is bounded by the containers of one pod.
pub const EXIT_SLOTS: usize = 64;

/// Exit status of a helper that pause could not put into its cgroup.
pub const EXIT_JOIN_CGROUP: i32 = 125;

/// Exit status of a helper whose file descriptors pause could not arrange.
pub const EXIT_ARRANGE_FDS: i32 = 126;

/// Exit status of a helper whose executable the kernel refused.
pub const EXIT_EXECUTE: i32 = 127;

/// Why bytes are not a message, or a message does not fit into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// Written in a version other than [`VERSION`].
    Version(u8),
    /// The version is right, the operation or kind of reply is not one of it.
    Unknown(u8),
    /// Ends too early, goes on too long, or holds a value outside its bounds.
    Malformed,
    /// Longer than the buffer it should be encoded into.
    TooLong,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "message version {version} is not {VERSION}"),
            Self::Unknown(kind) => write!(f, "message kind {kind} is unknown"),
            Self::Malformed => f.write_str("message is malformed"),
            Self::TooLong => write!(f, "message exceeds {MAX_MESSAGE} bytes"),
        }
    }
}

impl core::error::Error for WireError {}

/// The id of a message, if it is long enough to have one; for answering what cannot be decoded.
pub fn id_of(message: &[u8]) -> u16 {
    match message {
        [_, _, low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
