//! One record of a log, as `mote-pause` writes it: `TIME STREAM TAG CONTENT`.

use mote_pause::log::{PREFIX_LEN, Stream};
use mote_pause::stamp::{STAMP_LEN, Stamp};

/// A piece of a container's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// When it was written. Times have one length, so that they compare as text.
    pub(super) time: &'a Stamp,
    /// To which output.
    pub(super) stream: Stream,
    /// The line ends here; else it goes on in a later record of the same stream.
    pub(super) ends_line: bool,
    /// Without a newline.
    pub(super) content: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a line of a file; none where it is no record. Nobody else writes there, so what is
    /// none was damaged, and is passed over.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (prefix, content) = line.split_at_checked(PREFIX_LEN)?;
        let (time, rest) = prefix.split_first_chunk::<STAMP_LEN>()?;
        let stream = match rest.get(..8)? {
            b" stdout " => Stream::Stdout,
            b" stderr " => Stream::Stderr,
            _ => return None,
        };
        let ends_line = match rest.get(8..)? {
            b"F " => true,
            b"P " => false,
            _ => return None,
        };
        let date = time.get(..4)?.iter().all(u8::is_ascii_digit) && time.ends_with(b"Z");
        date.then_some(Self { time, stream, ends_line, content })
    }
}
