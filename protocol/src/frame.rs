//! The bytes around every body.
//!
//! ```text
//! byte 0      high nibble: frame version (1); low nibble: flags, bit 0 = signed
//! byte 1      what the body is (FrameKind)
//! byte 2      schema of the body, counted from 1 for each kind
//! byte 3..    body (postcard)
//! last 72     only where signed: key id (8 bytes), Ed25519 signature (64 bytes) over all before
//! ```
//! A decoder keeps every schema that was ever released and refuses a newer one by number: what
//! may be added without breaking old readers goes into [`crate::extension`] instead.

use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// The frame version that this crate writes and reads.
pub const VERSION: u8 = 1;

/// Bytes before the body.
pub const HEADER: usize = 3;

/// Bytes of a signature block.
pub const SIGNATURE: usize = 72;

const SIGNED: u8 = 1;

/// What a frame's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// [`crate::object::Object`].
    Object = 1,
    /// [`crate::status::PodStatus`].
    PodStatus = 2,
    /// [`crate::node::NodeStatus`].
    NodeStatus = 3,
    /// [`crate::node::Birth`].
    Birth = 4,
    /// [`crate::node::Will`].
    Will = 5,
    /// [`crate::node::Heartbeat`].
    Heartbeat = 6,
    /// [`crate::event::Event`].
    Event = 7,
    /// [`crate::node::Usage`].
    Usage = 8,
    /// [`crate::command::Command`].
    Command = 9,
    /// [`crate::command::Reply`].
    Reply = 10,
    /// [`crate::status::ObjectStatus`].
    ObjectStatus = 11,
    /// [`crate::stream::StreamFrame`].
    Stream = 12,
}

/// A type that travels in a frame of its own.
pub trait Body: Serialize + DeserializeOwned {
    /// Its number on the wire.
    const KIND: FrameKind;
    /// The schema that this crate writes; it reads 1 up to this one.
    const SCHEMA: u8 = 1;
    /// Longest encoded body.
    const MAX: usize = limits::MAX_STATUS;

    /// Reads a body of a schema from 1 to [`Body::SCHEMA`], and gives what is left over behind it.
    /// A type whose schema changed reads its older ones here, each by the struct that it was.
    fn read(_schema: u8, body: &[u8]) -> Result<(Self, &[u8]), postcard::Error> {
        postcard::take_from_bytes(body)
    }
}

/// Why bytes are no frame, or no frame of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Nothing: an empty retained payload clears a topic, it says nothing.
    #[error("payload is empty")]
    Empty,
    /// Ends before its header, or before its signature block.
    #[error("payload of {len} bytes ends inside its frame header")]
    Truncated {
        /// Its length.
        len: usize,
    },
    /// Longer than the kind allows.
    #[error("payload of {len} bytes exceeds {max}")]
    TooLong {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// Another frame version.
    #[error("frame version {found} is not known (this side speaks {VERSION})")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Flags that this version does not know.
    #[error("frame flags {found:#x} are not known")]
    Flags {
        /// The flags found.
        found: u8,
    },
    /// Another kind of body.
    #[error("frame holds kind {found}, expected {expected}")]
    Kind {
        /// The number found.
        found: u8,
        /// The number expected.
        expected: u8,
    },
    /// A newer schema.
    #[error("schema {found} is newer than {newest}, the newest this side knows")]
    Schema {
        /// The schema found.
        found: u8,
        /// The newest known.
        newest: u8,
    },
    /// The body does not decode.
    #[error("body does not decode: {0}")]
    Body(#[from] postcard::Error),
    /// Bytes are left over behind the body.
    #[error("{len} bytes are left over behind the body")]
    Trailing {
        /// How many.
        len: usize,
    },
}

impl FrameError {
    /// A stable word for the reason, as it stands in refusals and events.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "EmptyPayload",
            Self::Truncated { .. } => "TruncatedFrame",
            Self::TooLong { .. } => "TooLarge",
            Self::Version { .. } => "UnknownFrameVersion",
            Self::Flags { .. } => "UnknownFrameFlags",
            Self::Kind { .. } => "WrongFrameKind",
            Self::Schema { .. } => "UnknownSchema",
            Self::Body(_) => "MalformedBody",
            Self::Trailing { .. } => "TrailingBytes",
        }
    }
}

/// Replaces the content of `buffer` by the frame of `body`, keeping its allocation.
pub fn encode_into<B: Body>(body: &B, buffer: &mut Vec<u8>) -> Result<(), FrameError> {
    buffer.clear();
    buffer.extend_from_slice(&[VERSION << 4, B::KIND as u8, B::SCHEMA]);
    // `to_extend` takes and gives back the buffer; on error its content is of no interest.
    *buffer = postcard::to_extend(body, core::mem::take(buffer))?;
    let len = buffer.len() - HEADER;
    if len > B::MAX {
        buffer.clear();
        return Err(FrameError::TooLong { len, max: B::MAX });
    }
    Ok(())
}

/// The frame of `body` in a buffer of its own.
pub fn encode<B: Body>(body: &B) -> Result<Vec<u8>, FrameError> {
    let mut buffer = Vec::new();
    encode_into(body, &mut buffer)?;
    Ok(buffer)
}

/// Key id and signature of a signed frame, and the bytes they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Which key signed.
    pub key_id: &'a [u8; 8],
    /// Ed25519 signature (RFC 8032).
    pub signature: &'a [u8; 64],
    /// Everything before the signature block.
    pub signed: &'a [u8],
}

/// Reads a frame; a signature is split off, not verified.
pub fn decode_signed<B: Body>(bytes: &[u8]) -> Result<(B, Option<Signature<'_>>), FrameError> {
    let (bytes, signature) = split_signature(bytes)?;
    let [head, kind, schema, body @ ..] = bytes else {
        return Err(FrameError::Truncated { len: bytes.len() });
    };
    debug_assert_eq!(head >> 4, VERSION, "split_signature checked it");
    if *kind != B::KIND as u8 {
        return Err(FrameError::Kind { found: *kind, expected: B::KIND as u8 });
    }
    if *schema == 0 || *schema > B::SCHEMA {
        return Err(FrameError::Schema { found: *schema, newest: B::SCHEMA });
    }
    if body.len() > B::MAX {
        return Err(FrameError::TooLong { len: body.len(), max: B::MAX });
    }
    let (value, rest) = B::read(*schema, body)?;
    if rest.is_empty() {
        Ok((value, signature))
    } else {
        Err(FrameError::Trailing { len: rest.len() })
    }
}

/// Reads a frame, signed or not.
pub fn decode<B: Body>(bytes: &[u8]) -> Result<B, FrameError> {
    decode_signed(bytes).map(|(body, _)| body)
}

/// The kind of a frame, for readers that take several; `None` where there is no readable header.
pub fn kind(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [head, kind, ..] if head >> 4 == VERSION => Some(*kind),
        _ => None,
    }
}

fn split_signature(bytes: &[u8]) -> Result<(&[u8], Option<Signature<'_>>), FrameError> {
    let len = bytes.len();
    let head = *bytes.first().ok_or(FrameError::Empty)?;
    if head >> 4 != VERSION {
        return Err(FrameError::Version { found: head >> 4 });
    }
    match head & 0xf {
        0 => Ok((bytes, None)),
        SIGNED => {
            let at = len.checked_sub(SIGNATURE).filter(|at| *at >= HEADER);
            let (signed, block) = at
                .and_then(|at| bytes.split_at_checked(at))
                .ok_or(FrameError::Truncated { len })?;
            let parts = block.split_first_chunk().and_then(|(key_id, rest)| {
                Some(Signature { key_id, signature: rest.first_chunk()?, signed })
            });
            Ok((signed, Some(parts.ok_or(FrameError::Truncated { len })?)))
        }
        found => Err(FrameError::Flags { found }),
    }
}
