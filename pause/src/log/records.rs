//! Records: cutting output into lines, and collecting what is written with one system call.

use crate::stamp::{STAMP_LEN, stamp};

/// What stands before the content of a record: stamp, stream, tag, each with a space.
pub const PREFIX_LEN: usize = STAMP_LEN + 1 + 6 + 1 + 1 + 1;

/// Which of a container's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

impl Stream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    const fn name(self) -> &'static [u8; 6] {
        match self {
            Self::Stdout => b"stdout",
            Self::Stderr => b"stderr",
        }
    }
}

/// A piece of output that becomes one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// Without the newline.
    content: &'a [u8],
    /// False: the line goes on in a later record.
    pub(super) ends_line: bool,
}

impl Record<'_> {
    /// Bytes in the file.
    pub(super) fn len(&self) -> u32 {
        bytes(PREFIX_LEN + self.content.len() + 1)
    }
}

/// The lines of `chunk`, the last perhaps unfinished.
pub(super) fn records(chunk: &[u8]) -> impl Iterator<Item = Record<'_>> {
    chunk.split_inclusive(|byte| *byte == b'\n').map(|line| match line {
        [content @ .., b'\n'] => Record { content, ends_line: true },
        content => Record { content, ends_line: false },
    })
}

/// The two beginnings that the records of one chunk have.
pub(super) struct Prefixes {
    full: [u8; PREFIX_LEN],
    partial: [u8; PREFIX_LEN],
}

impl Prefixes {
    pub(super) fn new(stream: Stream, real_ns: u64) -> Self {
        let mut full = [b' '; PREFIX_LEN];
        let pieces = [&stamp(real_ns)[..], b" ", stream.name(), b" F "];
        for (to, from) in full.iter_mut().zip(pieces.into_iter().flatten()) {
            *to = *from;
        }
        let mut partial = full;
        partial[PREFIX_LEN - 2] = b'P';
        Self { full, partial }
    }
}

/// A record in a batch: prefix, content, newline.
const RECORD_PARTS: usize = 3;

/// Sixteen records: enough to make the system call cheap beside them, and 768 bytes of stack.
pub const MAX_PARTS: usize = 16 * RECORD_PARTS;

/// Records that are written together; it borrows all of their bytes.
pub(super) struct Batch<'a> {
    parts: [&'a [u8]; MAX_PARTS],
    used: usize,
    len: u32,
    content: u32,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Self { parts: [&[]; MAX_PARTS], used: 0, len: 0, content: 0 }
    }
}

impl<'a> Batch<'a> {
    pub(super) fn push(&mut self, prefixes: &'a Prefixes, record: Record<'a>) {
        let prefix = if record.ends_line { &prefixes.full } else { &prefixes.partial };
        for part in [prefix, record.content, b"\n"] {
            if let Some(slot) = self.parts.get_mut(self.used) {
                *slot = part;
                self.used += 1;
            }
        }
        self.len += record.len();
        self.content += bytes(record.content.len());
    }

    pub(super) fn full(&self) -> bool {
        self.used + RECORD_PARTS > MAX_PARTS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    pub(super) fn parts(&self) -> &[&'a [u8]] {
        self.parts.get(..self.used).unwrap_or_default()
    }

    /// Bytes in the file.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Bytes of output.
    pub(super) fn content(&self) -> u32 {
        self.content
    }

    pub(super) fn clear(&mut self) {
        (self.used, self.len, self.content) = (0, 0, 0);
    }
}

/// A chunk is at most a buffer long, so no count of its bytes comes near the limit.
fn bytes(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
