//! From records to the text that is shown.
//!
//! The pieces of a line are put together again, and shown as they come: a prompt that waits for its
//! answer is seen. Where the other stream writes in the middle of a line, the kubelet glues the two
//! together; here each begins on a line of its own, and what goes on later does so, too.

use mote_pause::log::Stream;
use mote_pause::stamp::Stamp;

use super::record::Record;

/// What is shown of each line, and how far the last one is.
#[derive(Debug)]
pub(super) struct Lines {
    /// Lines that began earlier are left out.
    since: Option<Stamp>,
    timestamps: bool,
    /// Bytes that may still be shown.
    left: u64,
    /// Whose line the text ends in, where it does not end with a newline.
    open: Option<Stream>,
    stdout: Line,
    stderr: Line,
}

/// The line that one stream is in.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    begun: bool,
    left_out: bool,
    /// The other stream wrote in the middle of it.
    interrupted: bool,
}

impl Lines {
    pub(super) fn new(since: Option<Stamp>, timestamps: bool, limit: Option<u64>) -> Self {
        let left = limit.unwrap_or(u64::MAX);
        let (stdout, stderr) = (Line::default(), Line::default());
        Self { since, timestamps, left, open: None, stdout, stderr }
    }

    /// Whether no more may be shown.
    pub(super) const fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Adds what is shown of a record.
    pub(super) fn take(&mut self, record: &Record<'_>, text: &mut Vec<u8>) {
        let early = self.since.is_some_and(|since| *record.time < since);
        let line = self.line(record.stream);
        if !line.begun {
            *line = Line { begun: true, left_out: early, interrupted: false };
        }
        line.begun = !record.ends_line;
        let Line { left_out, interrupted, .. } = *line;
        // The rest of a line that was interrupted may be nothing but its end, which was shown.
        let nothing = interrupted && record.ends_line && record.content.is_empty();
        if left_out || nothing {
            return;
        }
        if let Some(other) = self.open.filter(|open| *open != record.stream) {
            self.line(other).interrupted = true;
            self.push(b"\n", text);
            self.open = None;
        }
        if self.open.is_none() && self.timestamps {
            self.push(record.time, text);
            self.push(b" ", text);
        }
        self.line(record.stream).interrupted = false;
        self.push(record.content, text);
        self.open = Some(record.stream).filter(|_| !record.ends_line);
        if record.ends_line {
            self.push(b"\n", text);
        }
    }

    const fn line(&mut self, stream: Stream) -> &mut Line {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn push(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let taken = bytes.get(..room).unwrap_or(bytes);
        text.extend_from_slice(taken);
        self.left -= taken.len() as u64;
    }
}
