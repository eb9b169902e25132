//! Streams: what is too long, or too slow, for an answer.
//!
//! A command opens a stream that has its id: the node sends on `stream/{id}/out`, the operator on
//! `stream/{id}/in`. Each side counts its frames, so that one that came twice is noticed, and so is
//! one that is missing. Data may be sent as far as the other side has granted it: a reader that is
//! slow holds up the writer, not the broker's memory. A node that hears nothing for
//! [`limits::STREAM_IDLE_S`] takes the operator for gone; a node that is gone its operator hears of by
//! its will.
//!
//! ```text
//! logs           out  Data* End                                            in  Credit* End
//! exec           out  (Credit | Data | Error)* Exited End                  in  (Credit | Data | Resize)* Eof? End?
//! port-forward   out  (Credit | Data)* Eof? End                            in  (Credit | Data)* Eof? End?
//! ```
//! The operator may send nothing but signs of life before the node's first `Credit`. Ids of one
//! session of an operator's are `SESSION` and `SESSION-NUMBER`, and an `End` on the stream `SESSION`
//! ends them all: a broker says that, as the session's will, for an operator who is gone; its number is
//! [`NOT_COUNTED`].

mod books;

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::command::WindowSize;
use crate::extension::Extensions;
use crate::frame::{Body, FrameKind};
use crate::limits;
use crate::name::RequestId;
use crate::status::{Message, Reason};

pub use books::{Allowance, Broken, Incoming, Outgoing};

/// The number of an [`StreamPart::End`] that somebody says for who is gone, and could not count.
pub const NOT_COUNTED: u64 = u64::MAX;

/// One frame of one direction of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFrame {
    /// Counts the frames of this direction from 0.
    pub sequence: u64,
    /// What it carries.
    pub part: StreamPart,
    /// Fields of the future.
    pub extensions: Extensions,
}

impl StreamFrame {
    /// The end of all streams of a session, said on the stream of the session's own name.
    pub fn end_of_session() -> Self {
        let part = StreamPart::End { reason: "Closed".into(), message: "".into() };
        Self { sequence: NOT_COUNTED, part, extensions: Extensions::default() }
    }
}

/// What a frame of a stream carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamPart {
    /// Bytes, at most [`limits::MAX_STREAM_DATA`].
    Data(Vec<u8>),
    /// What the other side may send in all, counted from the beginning by [`cost`]. Said again
    /// without being raised it is a sign of life.
    Credit(u64),
    /// Nothing follows.
    End {
        /// Why: `Completed`, `Closed`, `IdleTimeout`, `Failed`.
        reason: Reason,
        /// Why, for a person; empty where all is well.
        message: Message,
    },
    /// Bytes that a command wrote as its errors, at most [`limits::MAX_STREAM_DATA`].
    Error(Vec<u8>),
    /// No data follows in this direction; the other goes on.
    Eof,
    /// The operator's terminal has another size now.
    Resize(WindowSize),
    /// The command has ended, with its exit status, or 128 and the number of a signal.
    Exited(i32),
}

impl StreamPart {
    /// What it costs of the credit; what says something about the stream itself is free.
    pub const fn cost(&self) -> u64 {
        match self {
            Self::Data(bytes) | Self::Error(bytes) => cost(bytes.len()),
            _ => 0,
        }
    }
}

/// What so many bytes in one frame cost of the credit.
pub const fn cost(len: usize) -> u64 {
    len as u64 + limits::STREAM_FRAME_COST
}

impl Body for StreamFrame {
    const KIND: FrameKind = FrameKind::Stream;
}

/// The session that a stream, or a command, is of: what stands before its number.
pub fn session_of(id: &RequestId) -> &str {
    let id = id.as_str();
    match id.rsplit_once('-') {
        Some((session, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => session,
        _ => id,
    }
}
