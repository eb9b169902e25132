//! What one side of a stream keeps of each direction: how far it was counted, granted and used.

use super::{NOT_COUNTED, StreamFrame, StreamPart};
use crate::extension::Extensions;
use crate::limits::{MAX_STREAM_DATA, STREAM_FRAME_COST, STREAM_WINDOW};

/// What came from the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    expected: u64,
    granted: u64,
    came: u64,
}

/// Why a direction cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A frame is missing, so that what follows would be another text.
    #[error("part {expected} was lost on the way (part {found} came)")]
    Missing {
        /// The number that was to come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// What nobody asked for is not kept.
    #[error("more was sent than was granted")]
    Excess,
    /// A frame with more bytes than one may have.
    #[error("a part of {len} bytes exceeds {MAX_STREAM_DATA}")]
    TooLong {
        /// How many.
        len: usize,
    },
}

impl Incoming {
    /// Nothing came; so much may.
    pub const fn new(granted: u64) -> Self {
        Self { expected: 0, granted, came: 0 }
    }

    /// Takes a frame in; nothing where it came before.
    pub fn take(&mut self, frame: StreamFrame) -> Result<Option<StreamPart>, Broken> {
        if frame.sequence == NOT_COUNTED && matches!(frame.part, StreamPart::End { .. }) {
            return Ok(Some(frame.part));
        }
        if frame.sequence < self.expected {
            return Ok(None);
        }
        if frame.sequence > self.expected {
            return Err(Broken::Missing { expected: self.expected, found: frame.sequence });
        }
        if let StreamPart::Data(bytes) | StreamPart::Error(bytes) = &frame.part
            && bytes.len() > MAX_STREAM_DATA
        {
            return Err(Broken::TooLong { len: bytes.len() });
        }
        let came = self.came.saturating_add(frame.part.cost());
        if came > self.granted {
            return Err(Broken::Excess);
        }
        (self.expected, self.came) = (self.expected + 1, came);
        Ok(Some(frame.part))
    }

    /// More was granted, in all.
    pub fn grant(&mut self, granted: u64) {
        self.granted = self.granted.max(granted);
    }

    /// Granted so far.
    pub const fn granted(&self) -> u64 {
        self.granted
    }
}

/// What the other side may send: granted anew where a quarter of a window is used up. For each part it
/// would double the messages; where more is used up, a sender on a slow line has come to a halt by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    granted: u64,
    used: u64,
}

impl Allowance {
    /// So much was granted from the beginning.
    pub const fn new(granted: u64) -> Self {
        Self { granted, used: 0 }
    }

    /// So much was used up; gives what is granted in all now, where that is more.
    pub fn used(&mut self, cost: u64) -> Option<u64> {
        self.used = self.used.saturating_add(cost);
        let open = self.granted.saturating_sub(self.used);
        if open > STREAM_WINDOW / 4 * 3 {
            return None;
        }
        self.granted = self.used.saturating_add(STREAM_WINDOW);
        Some(self.granted)
    }
}

/// What goes to the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    sequence: u64,
    sent: u64,
    credit: u64,
}

impl Outgoing {
    /// Nothing was sent; so much may be.
    pub const fn new(credit: u64) -> Self {
        Self { sequence: 0, sent: 0, credit }
    }

    /// The other side said what may be sent in all.
    pub fn granted(&mut self, credit: u64) {
        self.credit = self.credit.max(credit);
    }

    /// Bytes that may be sent in one frame now.
    pub fn room(&self) -> usize {
        let left = self.credit.saturating_sub(self.sent).saturating_sub(STREAM_FRAME_COST);
        usize::try_from(left).unwrap_or(usize::MAX).min(MAX_STREAM_DATA)
    }

    /// The next frame. The caller has seen that there is room for it.
    pub fn frame(&mut self, part: StreamPart) -> StreamFrame {
        let sequence = self.sequence;
        self.sequence = self.sequence.saturating_add(1);
        self.sent = self.sent.saturating_add(part.cost());
        StreamFrame { sequence, part, extensions: Extensions::default() }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::session_of;
    use super::*;
    use crate::name::RequestId;

    fn data(sequence: u64, len: usize) -> StreamFrame {
        let part = StreamPart::Data(vec![b'x'; len]);
        StreamFrame { sequence, part, extensions: Extensions::default() }
    }

    #[test]
    fn what_comes_twice_is_taken_once_and_what_is_missing_is_noticed() {
        let mut incoming = Incoming::new(STREAM_WINDOW);
        assert!(matches!(incoming.take(data(0, 1)), Ok(Some(_))));
        assert_eq!(incoming.take(data(0, 1)), Ok(None));
        assert_eq!(incoming.take(data(2, 1)), Err(Broken::Missing { expected: 1, found: 2 }));
        assert!(matches!(incoming.take(data(1, 1)), Ok(Some(_))));
        let part = StreamPart::End { reason: "Closed".into(), message: "".into() };
        let end = StreamFrame { sequence: NOT_COUNTED, part, extensions: Extensions::default() };
        assert!(matches!(incoming.take(end.clone()), Ok(Some(StreamPart::End { .. }))));
    }

    #[test]
    fn a_sender_that_asks_for_room_is_never_in_excess_and_one_that_does_not_is() {
        let (mut out, mut incoming) = (Outgoing::new(0), Incoming::new(0));
        assert_eq!(out.room(), 0);
        let mut granted = 0;
        for _ in 0..100 {
            granted += STREAM_WINDOW;
            out.granted(granted);
            incoming.grant(granted);
            while out.room() > 0 {
                let frame = out.frame(StreamPart::Data(vec![0; out.room()]));
                assert!(matches!(incoming.take(frame), Ok(Some(StreamPart::Data(_)))));
            }
        }
        assert_eq!(incoming.take(data(out.sequence, 1)), Err(Broken::Excess));
        assert!(incoming.take(out.frame(StreamPart::Eof)).is_ok(), "an end costs nothing");
        incoming.grant(u64::MAX);
        let len = MAX_STREAM_DATA + 1;
        assert_eq!(incoming.take(data(out.sequence, len)), Err(Broken::TooLong { len }));
    }

    #[test]
    fn most_of_a_window_is_always_open() {
        let mut allowance = Allowance::new(0);
        let mut granted = allowance.used(0).expect("a window");
        assert_eq!(granted, STREAM_WINDOW);
        let (mut used, mut grants) = (0, 0);
        for _ in 0..1000 {
            used += 1000;
            if let Some(more) = allowance.used(1000) {
                (granted, grants) = (more, grants + 1);
            }
            assert!((STREAM_WINDOW / 4 * 3..=STREAM_WINDOW).contains(&(granted - used)));
        }
        assert!(grants < 80, "{grants}");
    }

    #[test]
    fn a_session_is_told_by_its_streams() {
        for id in ["mote-a1b2", "mote-a1b2-12"] {
            let id = RequestId::new(id).expect("an id");
            assert_eq!(session_of(&id), "mote-a1b2");
        }
    }

    proptest! {
        /// Whatever the other side sends, no more is taken than was granted, and in its order.
        #[test]
        fn no_more_is_taken_than_was_granted(
            frames in vec((0..6_u64, 0..3_u8, 0..2 * MAX_STREAM_DATA), 0..40), granted in 0..STREAM_WINDOW,
        ) {
            let mut incoming = Incoming::new(granted);
            let (mut taken, mut next) = (0, 0);
            for (sequence, kind, len) in frames {
                let part = match kind {
                    0 => StreamPart::Data(vec![0; len]),
                    1 => StreamPart::Error(vec![0; len]),
                    _ => StreamPart::Eof,
                };
                let frame = StreamFrame { sequence, part, extensions: Extensions::default() };
                if let Ok(Some(part)) = incoming.take(frame) {
                    prop_assert_eq!(sequence, next);
                    (next, taken) = (next + 1, taken + part.cost());
                }
                prop_assert!(taken <= granted);
            }
        }
    }
}
