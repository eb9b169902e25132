//! Turns what a container writes into the log format of the Container Runtime Interface.
//!
//! ```text
//! 2026-11-23T18:04:05.000000001Z stdout F a line
//! 2026-11-23T18:04:05.000000002Z stdout P the beginning of a li
//! 2026-11-23T18:04:05.000000003Z stdout F ne that was interrupted
//! ```
//!
//! The promises: every byte a container wrote is in its log once, in order per stream, in whole
//! records; no file passes its limit; a line stays in one file unless it alone would fill it, or
//! stays open while the other stream writes on. What a full medium refused is counted.

mod pump;
mod records;

pub use pump::{Flow, READS_PER_TURN, Read, Source, pump};
pub use records::{MAX_PARTS, PREFIX_LEN, Stream};

use records::{Batch, Prefixes, records};

/// The files of one log, as the writer sees them.
pub trait Files {
    /// Appends all `parts`, at most [`MAX_PARTS`], or nothing; false if nothing.
    fn append(&mut self, parts: &[&[u8]]) -> bool;

    /// Puts the current file aside and begins an empty one.
    fn rotate(&mut self);
}

/// State of one container's log.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    /// Bytes in the current file.
    size: u32,
    /// Bytes a file may have.
    limit: u32,
    /// For stdout and stderr: its last record was not the end of a line.
    open: [bool; 2],
    /// Bytes of output that no file took.
    lost: u64,
}

impl Log {
    /// A log whose slot is free; in a constant, so that a table of them costs no memory yet.
    pub const UNUSED: Self = Self { size: 0, limit: 0, open: [false; 2], lost: 0 };

    /// A log whose current file has `size` bytes already.
    pub const fn new(size: u32, limit: u32) -> Self {
        Self { size, limit, ..Self::UNUSED }
    }

    /// How many bytes of output were lost.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes `chunk` of `stream`, all lines under the time `real_ns`.
    pub fn write(&mut self, stream: Stream, real_ns: u64, chunk: &[u8], files: &mut impl Files) {
        let prefixes = Prefixes::new(stream, real_ns);
        let mut batch = Batch::default();
        for record in records(chunk) {
            if batch.full() || self.passes_limit(batch.len() + record.len()) {
                self.flush(&mut batch, files);
            }
            if self.passes_limit(record.len()) {
                files.rotate();
                self.size = 0;
            }
            self.set_open(stream, !record.ends_line);
            batch.push(&prefixes, record);
        }
        self.flush(&mut batch, files);
    }

    /// Ends a stream: a line that was left open is closed.
    pub fn end(&mut self, stream: Stream, real_ns: u64, files: &mut impl Files) {
        if self.is_open(stream) {
            self.write(stream, real_ns, b"\n", files);
        }
    }

    /// Whether `len` more bytes are too many for the current file.
    ///
    /// Between lines the limit is a sixteenth lower: a line that begins below it has that much
    /// room to end in the same file.
    fn passes_limit(&self, len: u32) -> bool {
        let between_lines = !self.open.contains(&true);
        let limit = if between_lines { self.limit - self.limit / 16 } else { self.limit };
        self.size > 0 && self.size.saturating_add(len) > limit
    }

    fn flush(&mut self, batch: &mut Batch<'_>, files: &mut impl Files) {
        if batch.is_empty() {
            return;
        }
        if files.append(batch.parts()) {
            self.size = self.size.saturating_add(batch.len());
        } else {
            self.lost += u64::from(batch.content());
        }
        batch.clear();
    }

    fn is_open(&self, stream: Stream) -> bool {
        let [stdout, stderr] = self.open;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }

    fn set_open(&mut self, stream: Stream, open: bool) {
        let [stdout, stderr] = &mut self.open;
        *match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        } = open;
    }
}

#[cfg(test)]
mod tests;
