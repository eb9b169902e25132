//! Streams: what is too long, or too slow, for an answer.
//!
//! A command opens a stream that has its id: the node sends on `stream/{id}/out`, the operator on
//! `stream/{id}/in`. Each side counts its frames, so that one that came twice is noticed, and so is
//! one that is missing. Data may be sent as far as the other side has granted it: a reader that is
//! slow holds up the writer, not the broker's memory. A side that hears nothing for
//! [`limits::STREAM_IDLE_S`] takes the other for gone.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::extension::Extensions;
use crate::frame::{Body, FrameKind};
use crate::limits;
use crate::status::{Message, Reason};

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
}

/// What so many bytes in one frame cost of the credit.
pub const fn cost(len: usize) -> u64 {
    len as u64 + limits::STREAM_FRAME_COST
}

impl Body for StreamFrame {
    const KIND: FrameKind = FrameKind::Stream;
}
