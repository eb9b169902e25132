//! The reading end of a stream: what came, what was granted. Pure.

use mote_protocol::extension::Extensions;
use mote_protocol::limits::STREAM_WINDOW;
use mote_protocol::stream::{StreamFrame, StreamPart, cost};

/// One stream of a node.
#[derive(Debug)]
pub(super) struct Stream {
    expected: u64,
    /// Granted so far, and used up by what came and by what was printed.
    granted: u64,
    came: u64,
    used: u64,
    /// Frames said to the node.
    said: u64,
    /// The node has said that nothing follows.
    pub(super) ended: bool,
}

/// What a frame brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Text(Vec<u8>),
    /// It came before, or says nothing.
    Nothing,
    End {
        reason: String,
        message: String,
    },
}

/// What cannot be read on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// A frame is missing, so that what follows would be another text.
    #[error("part {expected} of the log was lost on the way (part {found} came)")]
    Missing { expected: u64, found: u64 },
    /// What nobody asked for is not kept.
    #[error("the node sent more of the log than it was granted")]
    Excess,
}

impl Stream {
    /// A stream that is opened with the credit of a whole window.
    pub(super) const fn new() -> Self {
        Self { expected: 0, granted: STREAM_WINDOW, came: 0, used: 0, said: 0, ended: false }
    }

    /// Takes a frame in.
    pub(super) fn take(&mut self, frame: StreamFrame) -> Result<Taken, Broken> {
        if frame.sequence < self.expected {
            return Ok(Taken::Nothing);
        }
        if frame.sequence > self.expected {
            return Err(Broken::Missing { expected: self.expected, found: frame.sequence });
        }
        self.expected += 1;
        Ok(match frame.part {
            StreamPart::Data(text) => {
                self.came = self.came.saturating_add(cost(text.len()));
                if self.came > self.granted {
                    return Err(Broken::Excess);
                }
                Taken::Text(text)
            }
            StreamPart::End { reason, message } => {
                self.ended = true;
                Taken::End { reason: reason.to_string(), message: message.to_string() }
            }
            // Nothing else is said of a log.
            _ => Taken::Nothing,
        })
    }

    /// A frame's text of this length was printed. Gives the frame that grants more, where half of
    /// the window is used up: not for each, which would double the messages.
    pub(super) fn printed(&mut self, len: usize) -> Option<StreamFrame> {
        self.used += cost(len);
        let open = self.granted.saturating_sub(self.used);
        if self.ended || open > STREAM_WINDOW / 2 {
            return None;
        }
        self.granted = self.used + STREAM_WINDOW;
        Some(self.alive())
    }

    /// A sign of life.
    pub(super) fn alive(&mut self) -> StreamFrame {
        self.say(StreamPart::Credit(self.granted))
    }

    /// Says that nobody reads any more.
    pub(super) fn close(&mut self) -> StreamFrame {
        self.say(StreamPart::End { reason: "Closed".into(), message: "".into() })
    }

    fn say(&mut self, part: StreamPart) -> StreamFrame {
        let sequence = self.said;
        self.said += 1;
        StreamFrame { sequence, part, extensions: Extensions::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(sequence: u64, text: &[u8]) -> StreamFrame {
        let part = StreamPart::Data(text.to_vec());
        StreamFrame { sequence, part, extensions: Extensions::default() }
    }

    #[test]
    fn what_comes_twice_is_read_once_and_what_is_missing_is_noticed() {
        let mut stream = Stream::new();
        assert_eq!(stream.take(data(0, b"a")), Ok(Taken::Text(b"a".to_vec())));
        assert_eq!(stream.take(data(0, b"a")), Ok(Taken::Nothing));
        assert_eq!(stream.take(data(2, b"c")), Err(Broken::Missing { expected: 1, found: 2 }));
        assert_eq!(stream.take(data(1, b"b")), Ok(Taken::Text(b"b".to_vec())));
    }

    #[test]
    fn credit_is_granted_for_what_was_printed_and_never_exceeds_the_window() {
        let mut stream = Stream::new();
        let (mut granted, mut used, mut grants) = (STREAM_WINDOW, 0, 0);
        for _ in 0..10_000 {
            used += cost(10);
            assert!(used <= granted, "the node would have to wait for ever");
            if let Some(frame) = stream.printed(10) {
                let StreamPart::Credit(total) = frame.part else { panic!("credit") };
                assert!(total > granted && total - used <= STREAM_WINDOW);
                (granted, grants) = (total, grants + 1);
            }
        }
        assert!(grants < 100, "{grants} messages for 10,000");
    }

    #[test]
    fn what_was_not_granted_is_refused() {
        let mut stream = Stream::new();
        let text = vec![b'x'; 1000];
        let (granted, mut sequence) = (STREAM_WINDOW / cost(text.len()), 0);
        for _ in 0..granted {
            assert_eq!(stream.take(data(sequence, &text)), Ok(Taken::Text(text.clone())));
            sequence += 1;
        }
        assert_eq!(stream.take(data(sequence, &text)), Err(Broken::Excess));
        let mut stream = Stream::new();
        for sequence in 0..10 * granted {
            assert_eq!(stream.take(data(sequence, &text)), Ok(Taken::Text(text.clone())));
            stream.printed(text.len());
        }
    }
}
