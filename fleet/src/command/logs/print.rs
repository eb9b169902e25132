//! Prints text beside the conversation with the broker.
//!
//! A pager may stop reading for an hour, and writing to it waits as long. The conversation must go
//! on meanwhile, or broker and node would take us for gone; so a thread of its own writes. What
//! waits for it is bounded by the credit that is granted only for what was printed.

use std::io::{self, Write as _};
use std::sync::mpsc as blocking;
use std::thread;

use tokio::sync::mpsc;

/// Longest line that is held back to be printed as a whole.
const MAX_LINE: usize = 64 * 1024;

/// A piece of a stream's text that was printed.
#[derive(Debug)]
pub(in crate::command) struct Printed {
    pub(in crate::command) stream: usize,
    /// Length of the piece as it came.
    pub(in crate::command) len: usize,
    pub(in crate::command) result: io::Result<()>,
}

struct Job {
    stream: usize,
    len: usize,
    text: Vec<u8>,
    to: Side,
}

/// Where something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Side {
    /// To standard output.
    Output,
    /// To standard error.
    Error,
}

impl Side {
    fn write(self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::Output => {
                let mut out = io::stdout().lock();
                out.write_all(text).and_then(|()| out.flush())
            }
            Self::Error => io::stderr().lock().write_all(text),
        }
    }
}

/// The way to the thread, and back.
pub(in crate::command) struct Printer {
    jobs: blocking::Sender<Job>,
    printed: mpsc::UnboundedReceiver<Printed>,
    under_way: usize,
}

impl Printer {
    /// A printer to standard output.
    pub(in crate::command) fn start() -> Self {
        let (jobs, work) = blocking::channel::<Job>();
        let (tell, printed) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for Job { stream, len, text, to } in work {
                let result = to.write(&text);
                if tell.send(Printed { stream, len, result }).is_err() {
                    return;
                }
            }
        });
        Self { jobs, printed, under_way: 0 }
    }

    /// Prints `text`, which is what became of `len` bytes of a stream.
    pub(super) fn print(&mut self, stream: usize, len: usize, text: Vec<u8>) {
        self.print_to(Side::Output, stream, len, text);
    }

    /// The same to one side or the other.
    pub(in crate::command) fn print_to(
        &mut self,
        to: Side,
        stream: usize,
        len: usize,
        text: Vec<u8>,
    ) {
        // The thread ends after this side only.
        if self.jobs.send(Job { stream, len, text, to }).is_ok() {
            self.under_way += 1;
        }
    }

    /// Whether everything was printed.
    pub(in crate::command) const fn is_done(&self) -> bool {
        self.under_way == 0
    }

    /// The next piece that was printed; waits for ever where there is none. Cancel-safe.
    pub(in crate::command) async fn next(&mut self) -> Printed {
        match self.printed.recv().await {
            Some(printed) => {
                self.under_way -= 1;
                printed
            }
            None => std::future::pending().await,
        }
    }
}

/// Puts a stream's name before its lines, and keeps lines of several streams apart.
#[derive(Debug, Default)]
pub(super) struct Lines {
    prefix: String,
    /// Only whole lines are given out.
    whole: bool,
    held: Vec<u8>,
}

impl Lines {
    pub(super) const fn new(prefix: String, whole: bool) -> Self {
        Self { prefix, whole, held: Vec::new() }
    }

    /// What of a text is printed now.
    pub(super) fn take(&mut self, text: Vec<u8>) -> Vec<u8> {
        if !self.whole {
            return text;
        }
        self.held.extend(text);
        let end = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut lines = Vec::new();
        for line in self.held.get(..end).unwrap_or_default().split_inclusive(|b| *b == b'\n') {
            lines.extend_from_slice(self.prefix.as_bytes());
            lines.extend_from_slice(line);
        }
        self.held.drain(..end);
        if self.held.len() > MAX_LINE {
            lines.extend(self.rest());
        }
        lines
    }

    /// A last line without an end.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let mut line = self.prefix.clone().into_bytes();
        line.append(&mut self.held);
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixed_lines_are_whole_however_they_come() {
        let mut lines = Lines::new("[pod/web/main] ".into(), true);
        let mut text = Vec::new();
        for piece in [&b"on"[..], b"e\ntwo\n", b"", b"thr", b"ee"] {
            text.extend(lines.take(piece.to_vec()));
        }
        text.extend(lines.rest());
        let text = String::from_utf8(text).expect("text");
        assert_eq!(text, "[pod/web/main] one\n[pod/web/main] two\n[pod/web/main] three\n");
    }

    #[test]
    fn one_stream_is_printed_as_it_comes() {
        let mut lines = Lines::new(String::new(), false);
        assert_eq!(lines.take(b"login: ".to_vec()), b"login: ");
        assert!(lines.rest().is_empty());
    }
}
