//! What somebody asks: one question of a packet (RFC 1035, with EDNS of RFC 6891). PURE.

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::name::{Name, ToLabelIter as _, ToName as _};
use domain::base::opt::OptRecord;
use domain::base::{Message, MessageBuilder, StaticCompressor};

/// Bytes of an answer by UDP that every path takes (`dnsflagday.net/2020`), whatever else was asked for.
pub const MOST_BY_UDP: u16 = 1232;

/// Bytes of one for who says nothing of EDNS.
const PLAIN: u16 = 512;

/// Bytes of an answer by TCP, at most.
pub const MOST_BY_TCP: usize = u16::MAX as usize;

/// Bytes of our own record of EDNS in an answer.
const EDNS: usize = 11;

/// What an answer is built into.
pub(super) type Target = StaticCompressor<Vec<u8>>;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which of the asker's questions it is.
    pub id: u16,
    /// The name, as the asker wrote it.
    pub name: Name<Vec<u8>>,
    /// What is asked for.
    pub rtype: Rtype,
    /// The asker wants others to be asked (RD).
    pub recursion: bool,
    /// The asker checks signatures itself (CD).
    pub unchecked: bool,
    /// The asker understands AD.
    pub authentic: bool,
    /// The asker understands EDNS; and wants signatures, where that is true (DO).
    pub edns: Option<bool>,
    /// Bytes that the asker takes.
    pub room: usize,
}

/// What makes answers to two questions the same.
pub type Key = Vec<u8>;

/// Why a packet is no question that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is none at all, and gets no answer: neither do answers.
    Silence,
    /// It gets this answer.
    Answer(Vec<u8>),
}

impl Question {
    /// Reads what came, by TCP or UDP.
    pub fn read(packet: &[u8], tcp: bool) -> Result<Self, Refusal> {
        let message = Message::from_slice(packet).map_err(|_| Refusal::Silence)?;
        let header = message.header();
        if header.qr() {
            return Err(Refusal::Silence);
        }
        let refuse = |rcode| Refusal::Answer(bare(message, rcode));
        if header.opcode() != Opcode::QUERY {
            return Err(refuse(Rcode::NOTIMP));
        }
        let malformed = |_| refuse(Rcode::FORMERR);
        let asked = message.sole_question().map_err(malformed)?;
        // What is not there is no EDNS; what cannot be read is.
        let additional = message.additional().map_err(malformed)?;
        let edns = if additional.count() == 0 { None } else { Some(message.opt()) };
        let opt = match edns {
            Some(None) if message.header_counts().arcount() > 0 && !readable(message) => {
                return Err(refuse(Rcode::FORMERR));
            }
            opt => opt.flatten(),
        };
        let size = opt.as_ref().map_or(PLAIN, OptRecord::udp_payload_size);
        let room = size.clamp(PLAIN, MOST_BY_UDP).into();
        let question = Self {
            id: header.id(),
            name: asked.qname().to_vec(),
            rtype: asked.qtype(),
            recursion: header.rd(),
            unchecked: header.cd(),
            authentic: header.ad(),
            edns: opt.as_ref().map(OptRecord::dnssec_ok),
            room: if tcp { MOST_BY_TCP } else { room },
        };
        if opt.is_some_and(|opt| opt.version() > 0) {
            return Err(Refusal::Answer(question.bad_version()));
        }
        let transfers = [Rtype::AXFR, Rtype::IXFR].contains(&question.rtype);
        if transfers || asked.qclass() != Class::IN {
            return Err(Refusal::Answer(question.fail(Rcode::REFUSED)));
        }
        Ok(question)
    }

    /// Whom to ask of everything: what every server answers.
    pub fn of_root() -> Self {
        Self {
            id: 0,
            name: Name::root_vec(),
            rtype: Rtype::NS,
            recursion: true,
            unchecked: false,
            authentic: false,
            edns: None,
            room: PLAIN.into(),
        }
    }

    /// The name in lower case, without the dot at its end. What no host is called is a `?` there.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for label in self.name.iter_labels().filter(|label| !label.is_root()) {
            if !text.is_empty() {
                text.push('.');
            }
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
            let shown = |byte: &u8| if plain(byte) { char::from(*byte) } else { '?' };
            text.extend(label.as_slice().iter().map(shown).map(|c| c.to_ascii_lowercase()));
        }
        text
    }

    /// What is the same for whoever gets the same answer.
    pub fn key(&self) -> Key {
        let mut key = self.name.as_octets().to_ascii_lowercase();
        key.extend(self.rtype.to_int().to_be_bytes());
        key.push(u8::from(self.edns == Some(true)) | u8::from(self.unchecked) << 1);
        key
    }

    /// An answer without records.
    pub fn fail(&self, rcode: Rcode) -> Vec<u8> {
        self.answer(rcode, false, |_| Some(()))
    }

    /// The answer that there is more than the asker takes: it asks again by TCP.
    pub fn cut(&self) -> Vec<u8> {
        let mut answer = self.fail(Rcode::NOERROR);
        if let Some(flags) = answer.get_mut(2) {
            *flags |= 2;
        }
        answer
    }

    /// An answer with the records that somebody puts in; cut, where they do not fit.
    pub(super) fn answer(
        &self,
        rcode: Rcode,
        own: bool,
        fill: impl FnOnce(&mut Sections) -> Option<()>,
    ) -> Vec<u8> {
        let Some(mut sections) = Sections::new(self, rcode, own) else { return Vec::new() };
        match fill(&mut sections) {
            Some(()) => sections.finish(self),
            None => self.cut(),
        }
    }

    fn bad_version(&self) -> Vec<u8> {
        let mut answer = self.fail(Rcode::NOERROR);
        // The upper bits of 16, BADVERS, lie in the record of EDNS, which ends the answer: type, size, and
        // then these.
        let place = answer.len().saturating_sub(EDNS) + 5;
        if let Some(upper) = answer.get_mut(place) {
            *upper = 1;
        }
        answer
    }
}

/// Whether the records at the end can be read.
fn readable(message: &Message<[u8]>) -> bool {
    message.additional().is_ok_and(|mut records| records.all(|record| record.is_ok()))
}

/// An answer without even the question.
fn bare(message: &Message<[u8]>, rcode: Rcode) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    let asked = message.header();
    let header = builder.header_mut();
    header.set_id(asked.id());
    header.set_qr(true);
    header.set_opcode(asked.opcode());
    header.set_rd(asked.rd());
    header.set_rcode(rcode);
    builder.finish()
}

/// An answer that is being put together.
pub(super) struct Sections {
    /// The answer itself.
    pub(super) answer: domain::base::message_builder::AnswerBuilder<Target>,
    /// The record that says how long nothing is there.
    pub(super) authority: Option<super::answer::Authority>,
}

impl Sections {
    fn new(question: &Question, rcode: Rcode, own: bool) -> Option<Self> {
        let target = StaticCompressor::new(Vec::with_capacity(128));
        let mut builder = MessageBuilder::from_target(target).ok()?;
        let edns = if question.edns.is_some() { EDNS } else { 0 };
        builder.set_push_limit(question.room.saturating_sub(edns));
        let header = builder.header_mut();
        header.set_id(question.id);
        header.set_qr(true);
        header.set_aa(own);
        header.set_rd(question.recursion);
        header.set_ra(true);
        header.set_cd(question.unchecked);
        header.set_rcode(rcode);
        let mut builder = builder.question();
        builder.push((&question.name, question.rtype, Class::IN)).ok()?;
        Some(Self { answer: builder.answer(), authority: None })
    }

    fn finish(self, question: &Question) -> Vec<u8> {
        let mut builder = self.answer.authority();
        if let Some(authority) = self.authority {
            // Who does not hear it forgets at once that nothing is there.
            let _ = authority.push(&mut builder);
        }
        let mut builder = builder.additional();
        builder.clear_push_limit();
        if let Some(dnssec) = question.edns {
            // It has room: that was kept for it.
            let _ = builder.opt(|opt| {
                opt.set_udp_payload_size(MOST_BY_UDP);
                opt.set_dnssec_ok(dnssec);
                Ok(())
            });
        }
        builder.finish().into_target()
    }
}
