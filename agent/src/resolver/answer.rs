//! Decides what becomes of a packet: it is answered here, or somebody else is asked. PURE.

use std::net::IpAddr;

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message_builder::{AuthorityBuilder, PushError};
use domain::base::name::Name;
use domain::base::record::ComposeRecord;
use domain::base::{Serial, Ttl};
use domain::rdata::{A, Aaaa, Cname, Ptr, Soa, Srv};

use super::question::{Question, Refusal, Sections, Target};
use super::zone::{Data, Found, Pods, Zone};

/// Seconds that what is said here may be remembered: pods come and go. As `CoreDNS` has it.
const TTL: u32 = 5;

/// Names that lead to others, one after the other: who goes round in circles has an end.
const MOST_ALIASES: usize = 8;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody is told anything.
    Silence,
    /// This is sent back.
    Answer(Vec<u8>),
    /// Others are asked.
    Forward(Box<Forward>),
}

/// A question for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// As the asker wants it answered.
    pub question: Question,
    /// Names that lead from the asker's name to the one that others are asked for: services that are
    /// another name.
    pub aliases: Vec<Name<Vec<u8>>>,
}

impl Forward {
    /// As others are asked.
    pub fn onward(&self) -> Question {
        match self.aliases.last() {
            // Signatures are none of ours to pass on for a name that we gave.
            Some(name) => Question { name: name.clone(), edns: None, ..self.question.clone() },
            None => self.question.clone(),
        }
    }
}

/// What becomes of a packet from an address, by TCP or UDP.
pub fn answer(
    packet: &[u8],
    (zone, pods): (&Zone, Pods<'_>),
    (asker, tcp): (IpAddr, bool),
) -> Verdict {
    let question = match Question::read(packet, tcp) {
        Ok(question) => question,
        Err(Refusal::Silence) => return Verdict::Silence,
        Err(Refusal::Answer(answer)) => return Verdict::Answer(answer),
    };
    let mut name = question.text();
    let mut aliases = Vec::new();
    loop {
        match zone.find(&name, asker, pods) {
            Found::Elsewhere => return elsewhere(question, aliases),
            Found::Nothing => return Verdict::Answer(nothing(&question, zone, &aliases)),
            Found::Here(data) => return Verdict::Answer(here(&question, zone, &aliases, &data)),
            Found::Alias(other) => {
                let Ok(other_name) = Name::vec_from_str(&format!("{other}.")) else {
                    return Verdict::Answer(question.fail(Rcode::SERVFAIL));
                };
                aliases.push(other_name);
                if aliases.len() > MOST_ALIASES {
                    return Verdict::Answer(question.fail(Rcode::SERVFAIL));
                }
                name = other;
            }
        }
    }
}

/// Others are asked, where that helps.
fn elsewhere(question: Question, aliases: Vec<Name<Vec<u8>>>) -> Verdict {
    let addresses = [Rtype::A, Rtype::AAAA].contains(&question.rtype);
    if !aliases.is_empty() && !addresses {
        // Whoever asks for something else follows the name.
        let name_alone = question
            .answer(Rcode::NOERROR, true, |sections| push_aliases(sections, &question, &aliases));
        return Verdict::Answer(name_alone);
    }
    Verdict::Forward(Box::new(Forward { question, aliases }))
}

fn nothing(question: &Question, zone: &Zone, aliases: &[Name<Vec<u8>>]) -> Vec<u8> {
    question.answer(Rcode::NXDOMAIN, true, |sections| {
        push_aliases(sections, question, aliases)?;
        sections.authority = Authority::of(zone);
        Some(())
    })
}

fn here(question: &Question, zone: &Zone, aliases: &[Name<Vec<u8>>], data: &[Data]) -> Vec<u8> {
    question.answer(Rcode::NOERROR, true, |sections| {
        push_aliases(sections, question, aliases)?;
        let owner = aliases.last().unwrap_or(&question.name);
        // Whoever takes the first only does not always take the same.
        let start = usize::from(question.id) % data.len().max(1);
        let (late, early) = data.split_at_checked(start).unwrap_or((data, &[]));
        let mut any = false;
        for data in early.iter().chain(late) {
            any |= push(sections, owner, question.rtype, data)?;
        }
        if question.rtype == Rtype::SOA && question.text() == zone.domain() {
            let authority = Authority::of(zone)?;
            sections.answer.push(authority.record()).ok()?;
            any = true;
        }
        if !any {
            sections.authority = Authority::of(zone);
        }
        Some(())
    })
}

/// Puts one record in, if it is of the type that is asked for; none where it does not fit.
fn push(sections: &mut Sections, owner: &Name<Vec<u8>>, asked: Rtype, data: &Data) -> Option<bool> {
    let is = |rtype: Rtype| asked == rtype || asked == Rtype::ANY;
    let answer = &mut sections.answer;
    match data {
        Data::Address(IpAddr::V4(address)) if is(Rtype::A) => {
            answer.push((owner, TTL, A::new(*address))).ok()?;
        }
        Data::Address(IpAddr::V6(address)) if is(Rtype::AAAA) => {
            answer.push((owner, TTL, Aaaa::new(*address))).ok()?;
        }
        Data::Port(number, at) if is(Rtype::SRV) => {
            let at = Name::vec_from_str(&format!("{at}.")).ok()?;
            // Weights are those that CoreDNS gives where there is nothing to choose by.
            answer.push((owner, TTL, Srv::new(0, 100, *number, at))).ok()?;
        }
        Data::Pointer(name) if is(Rtype::PTR) => {
            let name = Name::vec_from_str(&format!("{name}.")).ok()?;
            answer.push((owner, TTL, Ptr::new(name))).ok()?;
        }
        _ => return Some(false),
    }
    Some(true)
}

/// Puts in how one name leads to the next.
pub(super) fn push_aliases(
    sections: &mut Sections,
    question: &Question,
    aliases: &[Name<Vec<u8>>],
) -> Option<()> {
    let mut owner = &question.name;
    for alias in aliases {
        sections.answer.push((owner, TTL, Cname::new(alias))).ok()?;
        owner = alias;
    }
    Some(())
}

/// What says for how long nothing is there (RFC 2308).
pub(super) struct Authority {
    domain: Name<Vec<u8>>,
    server: Name<Vec<u8>>,
    person: Name<Vec<u8>>,
}

impl Authority {
    fn of(zone: &Zone) -> Option<Self> {
        let name = |before: &str| Name::vec_from_str(&format!("{before}{}.", zone.domain())).ok();
        Some(Self { domain: name("")?, server: name("ns.dns.")?, person: name("hostmaster.")? })
    }

    fn record(&self) -> impl ComposeRecord {
        let secs = Ttl::from_secs;
        // Nobody copies it: numbers and times but the last mean nothing.
        let (refresh, retry, expire) = (secs(7200), secs(1800), secs(86_400));
        let data =
            Soa::new(&self.server, &self.person, Serial(1), refresh, retry, expire, secs(TTL));
        (&self.domain, Class::IN, secs(TTL), data)
    }

    pub(super) fn push(&self, builder: &mut AuthorityBuilder<Target>) -> Result<(), PushError> {
        builder.push(self.record())
    }
}
