//! What others answered: checked, and made an answer to who asked here. PURE.

use std::time::Duration;

use domain::base::Message;
use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::message::RecordSection;
use domain::base::name::ParsedName;
use domain::base::record::ParsedRecord;
use domain::rdata::{A, Aaaa, Cname, Soa};

use super::answer::{Forward, push_aliases};
use super::question::{Question, Sections};

/// Bytes of a header.
const HEADER: usize = 12;

/// Bytes behind a record's data that its time to live begins before: itself, and the length.
const TTL_BEFORE_DATA: usize = 6;

/// Longest time that an answer is kept, whatever it says.
const LONGEST: u32 = 3600;

/// The same for one that says that nothing is there: who just plugged something in does not wait long.
const LONGEST_NOTHING: u32 = 300;

/// Why what came is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// It answers something else: somebody guesses, or it is late. The right one may still come.
    Other,
    /// Whoever was asked answers so that nobody can read it.
    Unreadable,
}

/// An answer of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Without what is additional: that is for whoever asked us least of all, and EDNS concerns the two
    /// who talk.
    packet: Vec<u8>,
    /// What became of the question.
    rcode: Rcode,
    /// There is more than fits.
    cut: bool,
    lasts: u32,
}

impl Reply {
    /// Reads what came where `asked` was asked under a number.
    pub fn read(packet: &[u8], id: u16, asked: &Question) -> Result<Self, Reject> {
        let message = Message::from_slice(packet).map_err(|_| Reject::Other)?;
        let header = message.header();
        if !header.qr() || header.id() != id || header.opcode() != Opcode::QUERY {
            return Err(Reject::Other);
        }
        if header.rcode() != Rcode::NOERROR && message.header_counts().qdcount() == 0 {
            return Err(Reject::Unreadable);
        }
        let question = message.sole_question().map_err(|_| Reject::Other)?;
        let (name, len) = (asked.name.as_octets(), asked.name.as_octets().len());
        let written = packet.get(HEADER..HEADER + len).ok_or(Reject::Other)?;
        let same = written.eq_ignore_ascii_case(name)
            && question.qtype() == asked.rtype
            && question.qclass() == Class::IN;
        if !same {
            return Err(Reject::Other);
        }
        let cut = header.tc();
        let (end, lasts) =
            if cut { (HEADER + len + 4, 0) } else { measure(message).ok_or(Reject::Unreadable)? };
        let mut packet = packet.get(..end).ok_or(Reject::Unreadable)?.to_vec();
        let counts = if cut { 6 } else { 10 };
        packet.get_mut(counts..HEADER).ok_or(Reject::Unreadable)?.fill(0);
        Ok(Self { packet, rcode: header.rcode(), cut, lasts })
    }

    /// What became of the question.
    pub fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Whether there is more than fits: TCP has the whole.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.packet.len()
    }

    /// How long it may be kept.
    pub fn lasts(&self) -> Duration {
        Duration::from_secs(self.lasts.into())
    }

    /// The answer to who asked, so many seconds after it came.
    pub fn relay(&self, asked: &Forward, age: u32) -> Vec<u8> {
        let Forward { question, aliases } = asked;
        if self.cut {
            return question.cut();
        }
        if !aliases.is_empty() {
            return self.relay_behind(asked, age);
        }
        let mut packet = self.packet.clone();
        if adjust(&mut packet, question, age).is_none() {
            return question.fail(Rcode::SERVFAIL);
        }
        // Only who speaks of EDNS hears of it: the same record as in answers of our own.
        let plain = question.fail(Rcode::NOERROR);
        if question.edns.is_some()
            && let Some(edns) = plain.get(HEADER + question.name.as_octets().len() + 4..)
        {
            packet.extend(edns);
            if let Some(additional) = packet.get_mut(11) {
                *additional = 1;
            }
        }
        if packet.len() > question.room { question.cut() } else { packet }
    }

    /// The same for a name that leads to the one which others were asked for.
    fn relay_behind(&self, asked: &Forward, age: u32) -> Vec<u8> {
        let Forward { question, aliases } = asked;
        question.answer(self.rcode, false, |sections| {
            push_aliases(sections, question, aliases)?;
            let message = Message::from_slice(&self.packet).ok()?;
            for record in message.answer().ok()? {
                push_again(sections, &record.ok()?, age)?;
            }
            Some(())
        })
    }
}

/// Puts a record in that leads to an address, or is one; others are not what was asked for.
fn push_again(sections: &mut Sections, record: &ParsedRecord<'_, [u8]>, age: u32) -> Option<()> {
    let ttl = record.ttl().as_secs().saturating_sub(age);
    let owner = record.owner();
    let answer = &mut sections.answer;
    if let Ok(Some(found)) = record.to_record::<A>() {
        return answer.push((owner, ttl, found.data())).ok();
    }
    if let Ok(Some(found)) = record.to_record::<Aaaa>() {
        return answer.push((owner, ttl, found.data())).ok();
    }
    if let Ok(Some(found)) = record.to_record::<Cname<ParsedName<_>>>() {
        return answer.push((owner, ttl, found.data())).ok();
    }
    Some(())
}

/// Where the sections that count end, and for how many seconds they hold; none where they cannot be read.
fn measure(message: &Message<[u8]>) -> Option<(usize, u32)> {
    let mut answers = message.answer().ok()?;
    let (mut least, mut count) = (u32::MAX, 0_u32);
    for record in answers.by_ref() {
        least = least.min(seconds(&record.ok()?));
        count += 1;
    }
    let mut authority = answers.next_section().ok()??;
    let mut nothing = None;
    for record in authority.by_ref() {
        let record = record.ok()?;
        if let Ok(Some(soa)) = record.to_record::<Soa<ParsedName<_>>>() {
            nothing = Some(seconds(&record).min(soa.data().minimum().as_secs()));
        }
    }
    let lasts = match (message.header().rcode(), count) {
        // With a record of authority, the names lead to one that has nothing.
        (Rcode::NOERROR, 1..) => least.min(nothing.unwrap_or(u32::MAX)).min(LONGEST),
        (Rcode::NOERROR | Rcode::NXDOMAIN, _) => {
            nothing.map_or(0, |nothing| nothing.min(least).min(LONGEST_NOTHING))
        }
        _ => 0,
    };
    Some((authority.pos(), lasts))
}

/// A time to live with the upper bit is none (RFC 2181).
fn seconds(record: &ParsedRecord<'_, [u8]>) -> u32 {
    let seconds = record.ttl().as_secs();
    if seconds > u32::MAX / 2 { 0 } else { seconds }
}

/// Makes it an answer to that question: number, flags, the name as it was written, and times.
fn adjust(packet: &mut [u8], question: &Question, age: u32) -> Option<()> {
    let ends = {
        let message = Message::from_slice(packet).ok()?;
        let mut ends = Vec::new();
        let mut section: Option<RecordSection<'_, [u8]>> = Some(message.answer().ok()?);
        while let Some(mut records) = section {
            while let Some(record) = records.next() {
                let record = record.ok()?;
                ends.push((records.pos() - usize::from(record.rdlen()), seconds(&record)));
            }
            section = records.next_section().ok()?;
        }
        ends
    };
    for (data, ttl) in ends {
        let left = ttl.saturating_sub(age).to_be_bytes();
        packet.get_mut(data.checked_sub(TTL_BEFORE_DATA)?..data - 2)?.copy_from_slice(&left);
    }
    let name = question.name.as_octets();
    packet.get_mut(HEADER..HEADER + name.len())?.copy_from_slice(name);
    packet.get_mut(..2)?.copy_from_slice(&question.id.to_be_bytes());
    let flags = packet.get_mut(2..4)?;
    // QR, RD as asked; neither AA nor TC.
    flags[0] = 0x80 | u8::from(question.recursion);
    // RA, AD for those who know what it means, CD as asked, and the code.
    let authentic = if question.authentic || question.edns == Some(true) { 0x20 } else { 0 };
    flags[1] = 0x80 | (flags[1] & authentic) | u8::from(question.unchecked) << 4 | (flags[1] & 0xf);
    Some(())
}
