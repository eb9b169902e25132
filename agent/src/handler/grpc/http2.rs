//! One question and its answer over HTTP/2 (RFC 9113): the frames, without a connection.
//!
//! The usual way is the `h2` crate. It would make the program 258 KB larger, to multiplex streams,
//! to push and to schedule; here one request goes out in one piece and one small answer comes
//! back. Change back when something else of mote speaks HTTP/2.

use super::hpack;

/// Longest payload of a frame, ours and theirs: what both sides must accept.
pub(super) const MAX_PAYLOAD: usize = 16_384;
/// Most bytes of one header list, continuations included.
const MAX_BLOCK: usize = 32 * 1024;
/// Most bytes of the answer's message: it has 7.
const MAX_MESSAGE: usize = 4096;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The only stream.
const STREAM: u32 = 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The first nine bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes that follow.
    pub length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    pub(super) const LENGTH: usize = 9;

    /// Reads a head; none where more would follow than is allowed.
    pub(super) fn read(bytes: [u8; Self::LENGTH]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        (length <= MAX_PAYLOAD).then_some(Self { length, kind, flags, stream })
    }

    const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn put_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(length.get(1..).unwrap_or_default());
    out.extend([kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Frames as whoever tests reading writes them: kind, flags, stream, payload.
pub(super) fn frames(all: &[(u8, u8, u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, flags, stream, payload) in all {
        put_frame(&mut out, *kind, *flags, *stream, payload);
    }
    out
}

/// Everything that a client sends unasked: preface, settings, and the whole request.
pub(super) fn request(fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        hpack::put(&mut block, name, value);
    }
    let mut out = PREFACE.to_vec();
    // HEADER_TABLE_SIZE 0 and ENABLE_PUSH 0: see `hpack`, and nothing may come unasked.
    put_frame(&mut out, SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    put_frame(&mut out, HEADERS, END_HEADERS, STREAM, &block);
    put_frame(&mut out, DATA, END_STREAM, STREAM, body);
    out
}

/// Why an exchange cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Http2Error {
    /// It broke the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// It ended the stream.
    #[error("stream terminated by RST_STREAM with error code: {0}")]
    Reset(u32),
    /// It closes the connection.
    #[error("connection closed by GOAWAY with error code: {0}")]
    Away(u32),
}

/// What the server said so far.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The server speaks HTTP/2.
    pub settled: bool,
    /// `:status`.
    pub status: Option<u16>,
    /// `grpc-status`.
    pub grpc_status: Option<u32>,
    /// `grpc-message`, as it was sent.
    pub grpc_message: Vec<u8>,
    /// The body.
    pub message: Vec<u8>,
    /// A header list that goes on in the next frame, and whether it ends the stream.
    pub block: Option<(Vec<u8>, bool)>,
}

/// What to do after a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send this, which may be nothing, and read on.
    On(Vec<u8>),
    /// The answer is complete.
    Done,
}

impl Answer {
    /// Takes in the next frame.
    pub(super) fn take(&mut self, head: Head, payload: &[u8]) -> Result<Step, Http2Error> {
        let mut reply = Vec::new();
        if self.block.is_some() && head.kind != CONTINUATION {
            return Err(Http2Error::Protocol("a header list is not continued"));
        }
        if !self.settled && head.kind != SETTINGS {
            return Err(Http2Error::Protocol("the server did not begin with its settings"));
        }
        match head.kind {
            SETTINGS if !head.has(ACK) => {
                self.settled = true;
                put_frame(&mut reply, SETTINGS, ACK, 0, &[]);
            }
            PING if !head.has(ACK) => put_frame(&mut reply, PING, ACK, 0, payload),
            PUSH_PROMISE => return Err(Http2Error::Protocol("the server pushes")),
            GOAWAY if code(payload, 0) < STREAM => return Err(Http2Error::Away(code(payload, 4))),
            RST_STREAM if head.stream == STREAM => return Err(Http2Error::Reset(code(payload, 0))),
            HEADERS if head.stream == STREAM => {
                let mut block = unpadded(head, payload)?;
                if head.has(PRIORITY) {
                    block = block.get(5..).ok_or(CUT)?;
                }
                return self.fields(block, head.has(END_HEADERS), head.has(END_STREAM));
            }
            CONTINUATION => {
                let ends = self.block.as_ref().map(|(_, ends)| *ends);
                let ends = ends.ok_or(Http2Error::Protocol("nothing to continue"))?;
                return self.fields(payload, head.has(END_HEADERS), ends);
            }
            DATA if head.stream == STREAM => {
                self.message.extend_from_slice(unpadded(head, payload)?);
                if self.message.len() > MAX_MESSAGE {
                    return Err(Http2Error::Protocol("the message is too long"));
                }
                if head.has(END_STREAM) {
                    return Ok(Step::Done);
                }
            }
            // Windows, priorities, frames of other streams and of the future.
            _ => {}
        }
        Ok(Step::On(reply))
    }

    fn fields(&mut self, part: &[u8], whole: bool, ends: bool) -> Result<Step, Http2Error> {
        let mut block = self.block.take().map(|(block, _)| block).unwrap_or_default();
        block.extend_from_slice(part);
        if block.len() > MAX_BLOCK {
            return Err(Http2Error::Protocol("a header list is too long"));
        }
        if !whole {
            self.block = Some((block, ends));
            return Ok(Step::On(Vec::new()));
        }
        let number = |value: &[u8]| std::str::from_utf8(value).ok()?.parse::<u32>().ok();
        let read = hpack::read(&block, |name, value| match name {
            b":status" => self.status = number(value).and_then(|n| u16::try_from(n).ok()),
            b"grpc-status" => self.grpc_status = number(value),
            b"grpc-message" => self.grpc_message = value.to_vec(),
            _ => {}
        });
        read.ok_or(Http2Error::Protocol("a header list cannot be read"))?;
        Ok(if ends { Step::Done } else { Step::On(Vec::new()) })
    }
}

const CUT: Http2Error = Http2Error::Protocol("a frame is cut off");

/// A payload without its padding (section 6.1).
fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Http2Error> {
    if !head.has(PADDED) {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(CUT)?;
    let end = rest.len().checked_sub(usize::from(*padding)).ok_or(CUT)?;
    rest.get(..end).ok_or(CUT)
}

/// Four bytes of a payload as a number; 0 where it is cut off.
fn code(payload: &[u8], at: usize) -> u32 {
    let bytes = payload.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
