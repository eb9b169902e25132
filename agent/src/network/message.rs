//! Netlink messages (netlink(7), rtnetlink(7)): how they are put together, and taken apart. PURE.
//!
//! A dozen kinds of messages are needed, with few fields each; a crate would bring hundreds. Numbers
//! are the host's byte order, everything is padded to four bytes.

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Bytes of `struct nlattr`.
const ATTRIBUTE: usize = 4;

/// `NLMSG_ERROR`: the answer to a request, also to one that succeeded.
pub const ERROR: u16 = 2;

/// `NLMSG_DONE`: the end of a list.
pub const DONE: u16 = 3;

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;

/// `NLM_F_ACK`.
pub const ACK: u16 = 4;

/// `NLM_F_DUMP`: all there are.
pub const DUMP: u16 = 0x300;

/// `NLM_F_DUMP_INTR`: what was listed changed meanwhile, so that the list is none of any moment.
pub const INTERRUPTED: u16 = 0x10;

/// `NLM_F_CREATE | NLM_F_EXCL`: it must not be there.
pub const CREATE: u16 = 0x600;

/// `NLM_F_CREATE | NLM_F_REPLACE`: it may be there.
pub const REPLACE: u16 = 0x500;

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// A request of a kind with its own header (`struct ifinfomsg`, ...).
    pub fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((REQUEST | flags).to_ne_bytes());
        // Sequence and port are written when it is sent.
        bytes.resize(HEADER, 0);
        bytes.extend(header);
        Self(bytes).padded()
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(self, kind: u16, value: &[u8]) -> Self {
        self.nested(kind, |mut message| {
            message.0.extend(value);
            message
        })
    }

    /// Adds what has a form of its own.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.padded()
    }

    /// Adds an attribute that consists of others.
    #[must_use]
    pub fn nested(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.0.extend([0, 0]);
        self.0.extend(kind.to_ne_bytes());
        let mut whole = inside(self);
        // None of ours comes near the bound.
        let len = u16::try_from(whole.0.len() - start).unwrap_or(u16::MAX).to_ne_bytes();
        whole.write(start, &len);
        whole.padded()
    }

    /// The same with further flags.
    #[must_use]
    pub fn flagged(mut self, flags: u16) -> Self {
        let before = self.0.get(6..).and_then(|bytes| bytes.first_chunk().copied());
        let all = u16::from_ne_bytes(before.unwrap_or_default()) | flags;
        self.write(6, &all.to_ne_bytes());
        self
    }

    /// Its bytes, under a number that the answer bears.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_ne_bytes();
        self.write(0, &len);
        self.write(8, &sequence.to_ne_bytes());
        self.0
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn padded(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// One message of what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Its kind.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The number of the request that it answers.
    pub sequence: u32,
    /// The port of whoever caused it.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Received<'a> {
    /// The error number of an answer; 0 where it succeeded.
    pub fn error(&self) -> Option<i32> {
        let number = self.payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
        number.filter(|_| self.kind == ERROR).map(i32::wrapping_neg)
    }

    /// The attributes behind a header of `header` bytes.
    pub fn attributes(&self, header: usize) -> Attributes<'a> {
        Attributes(self.payload.get(header..).unwrap_or_default())
    }
}

/// The messages of one datagram; what is cut off is none.
#[derive(Clone, Debug)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Received<'a>> {
        let field = |at: usize| self.0.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b));
        let len = usize::try_from(field(0)?).ok()?;
        let kind = u16::from_ne_bytes(*self.0.get(4..)?.first_chunk()?);
        let flags = u16::from_ne_bytes(*self.0.get(6..)?.first_chunk()?);
        let (sequence, port) = (field(8)?, field(12)?);
        let payload = self.0.get(HEADER..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Received { kind, flags, sequence, port, payload })
    }
}

/// Attributes, one after the other: kind and value.
#[derive(Clone, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first of a kind.
    pub fn value(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The same as a text, without the NUL at its end.
    pub fn text(self, kind: u16) -> Option<&'a str> {
        let value = self.value(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        std::str::from_utf8(value.get(..end)?).ok()
    }

    /// The attributes that the first of a kind consists of.
    #[must_use]
    pub fn inside(self, kind: u16) -> Self {
        Self(self.value(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let field = |at: usize| self.0.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b));
        let len = usize::from(field(0)?);
        // The two upper bits tell of its form.
        let kind = field(2)? & 0x3fff;
        let value = self.0.get(ATTRIBUTE..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_put_together_is_taken_apart() {
        let message = Message::new(16, CREATE | ACK, &[7; 16])
            .with(3, b"eth0\0")
            .nested(18, |inner| inner.with(1, b"veth").nested(2, |inner| inner.with(1, &[])));
        let bytes = message.finish(5);
        assert_eq!(bytes.len() % 4, 0);
        let all: Vec<_> = Messages(&bytes).collect();
        let [one] = all[..] else { panic!("{all:?}") };
        assert_eq!((one.kind, one.sequence, one.error()), (16, 5, None));
        assert_eq!(one.flags, REQUEST | CREATE | ACK);
        assert_eq!(one.payload[..16], [7; 16]);
        assert_eq!(one.attributes(16).text(3), Some("eth0"));
        let inner = one.attributes(16).inside(18);
        assert_eq!(inner.clone().text(1), Some("veth"));
        assert_eq!(inner.inside(2).collect::<Vec<_>>(), [(1, &[][..])]);
    }

    #[test]
    fn the_bytes_are_those_of_other_programs() {
        // `strace ip link del dev x`: a header, the interface's number, its name.
        let bytes = Message::new(17, ACK, &[0; 16]).with(3, b"x\0").finish(1);
        let len = 40_u32.to_ne_bytes();
        let head = [&len[..], &17_u16.to_ne_bytes(), &5_u16.to_ne_bytes(), &1_u32.to_ne_bytes()];
        let rest = [&[0; 20][..], &6_u16.to_ne_bytes(), &3_u16.to_ne_bytes(), b"x\0\0\0"];
        assert_eq!(bytes, [head.concat(), rest.concat()].concat());
    }

    #[test]
    fn an_answer_tells_its_error() {
        let bytes = Message::new(ERROR, 0, &(-17_i32).to_ne_bytes()).finish(9);
        assert_eq!(Messages(&bytes).next().unwrap().error(), Some(17));
    }

    proptest! {
        #[test]
        fn spoiled_bytes_end_the_reading(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in Messages(&bytes).take(100) {
                prop_assert!(message.attributes(4).take(100).count() < 100);
            }
        }
    }
}
