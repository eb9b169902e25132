//! Moves output from where it arrives to its log.

use super::{Files, Log, Stream};

/// Where output arrives: the reading end of a pipe that does not block.
pub trait Source {
    /// Reads into `buffer`, which is not empty.
    fn read(&mut self, buffer: &mut [u8]) -> Read;
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Dry,
    /// Nothing ever again.
    End,
}

/// How a stream is after it was pumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More may come.
    Open,
    /// It has ended and its log is complete.
    Ended,
}

/// Reads per turn: a pipe holds 64 KiB, that is sixteen buffers. Then it is the next stream's
/// turn, so a container that never stops talking cannot silence the others.
pub const READS_PER_TURN: usize = 16;

/// Writes what `source` has to `log`, through `buffer`.
///
/// There is one buffer for all streams of the pod, so nothing stays in it: the beginning of a
/// line waits there only while the rest of it is on its way, and becomes a partial record when
/// the source runs dry. Lines longer than the buffer become several records.
pub fn pump(
    stream: Stream,
    real_ns: u64,
    source: &mut impl Source,
    buffer: &mut [u8],
    log: &mut Log,
    files: &mut impl Files,
) -> Flow {
    let mut held = 0;
    let mut flow = Flow::Open;
    for _ in 0..READS_PER_TURN {
        let Some(free @ [_, ..]) = buffer.get_mut(held..) else { break };
        match source.read(free) {
            Read::Bytes(len) => held = write_lines(stream, real_ns, buffer, held + len, log, files),
            Read::Dry => break,
            Read::End => {
                flow = Flow::Ended;
                break;
            }
        }
    }
    log.write(stream, real_ns, buffer.get(..held).unwrap_or_default(), files);
    if flow == Flow::Ended {
        log.end(stream, real_ns, files);
    }
    flow
}

/// Writes the whole lines among the first `filled` bytes and moves the rest to the front; returns
/// its length. A full buffer without any newline is written as it is.
fn write_lines(
    stream: Stream,
    real_ns: u64,
    buffer: &mut [u8],
    filled: usize,
    log: &mut Log,
    files: &mut impl Files,
) -> usize {
    let chunk = buffer.get(..filled).unwrap_or_default();
    let lines = match chunk.iter().rposition(|byte| *byte == b'\n') {
        Some(last) => last + 1,
        None if filled >= buffer.len() => filled,
        None => return filled,
    };
    log.write(stream, real_ns, buffer.get(..lines).unwrap_or_default(), files);
    buffer.copy_within(lines..filled, 0);
    filled - lines
}
