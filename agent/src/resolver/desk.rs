//! What is being asked of others, and who waits for it. It decides; where answers go it is told.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use domain::base::iana::Rcode;
use tokio::time::Instant;

use super::answer::{Forward, Verdict, answer};
use super::cache::Cache;
use super::exchange::Outcome;
use super::question::{Key, Question};
use super::upstream::Upstream;
use super::zone::Zone;
use crate::services::Table;

/// Questions that are under way to others.
const MOST_FLIGHTS: usize = 64;

/// Who waits for these, at most.
const MOST_WAITING: usize = 256;

/// The same of one pod: it does not take the others' room.
const MOST_OF_ONE: usize = 24;

/// What tells questions that are under way apart: what is asked, and whether all of the answer is wanted.
pub(super) type Flight = (Key, bool);

/// Somebody who waits, with the way back to him.
struct Waiting<B> {
    forward: Forward,
    asker: IpAddr,
    back: B,
}

/// A question that others are to be asked.
pub(super) struct Errand {
    pub(super) flight: Flight,
    pub(super) question: Question,
    pub(super) servers: Vec<SocketAddr>,
    pub(super) since: Instant,
}

/// What becomes of a packet now.
pub(super) enum Next<B> {
    /// Nothing, or not yet.
    Wait,
    /// It is answered.
    Answer(B, Vec<u8>),
    /// Others are asked; whoever asked waits.
    Ask(Errand),
}

/// The books.
pub(super) struct Desk<B> {
    zone: Zone,
    /// Namespaces of pods.
    pods: fn(IpAddr) -> Option<String>,
    cache: Cache,
    upstream: Upstream,
    flights: BTreeMap<Flight, Vec<Waiting<B>>>,
}

impl<B> Desk<B> {
    pub(super) fn new(zone: Zone, pods: fn(IpAddr) -> Option<String>) -> Self {
        let (cache, upstream) = Default::default();
        Self { zone, pods, cache, upstream, flights: BTreeMap::new() }
    }

    /// Takes note of the node's services.
    pub(super) fn set_table(&mut self, table: &Table) {
        self.zone = Zone::of(self.zone.domain(), table);
    }

    /// Takes note of whom to ask.
    pub(super) fn set_servers(&mut self, servers: Vec<SocketAddr>) {
        if self.upstream.set(servers) {
            self.cache.clear();
        }
    }

    /// Takes a packet of somebody who may ask.
    pub(super) fn take(
        &mut self,
        packet: &[u8],
        (asker, tcp): (IpAddr, bool),
        back: B,
        now: Instant,
    ) -> Next<B> {
        match answer(packet, (&self.zone, &self.pods), (asker, tcp)) {
            Verdict::Silence => Next::Wait,
            Verdict::Answer(answer) => Next::Answer(back, answer),
            Verdict::Forward(forward) => {
                self.forward(Waiting { forward: *forward, asker, back }, tcp, now)
            }
        }
    }

    fn forward(&mut self, waiting: Waiting<B>, tcp: bool, now: Instant) -> Next<B> {
        let question = waiting.forward.onward();
        let key = question.key();
        if let Some((reply, age)) = self.cache.find(&key, now) {
            return Next::Answer(waiting.back, reply.relay(&waiting.forward, age));
        }
        let fail = |waiting: Waiting<B>| {
            let answer = waiting.forward.question.fail(Rcode::SERVFAIL);
            Next::Answer(waiting.back, answer)
        };
        let all = || self.flights.values().flatten();
        let own = all().filter(|other| other.asker == waiting.asker).count();
        if all().count() >= MOST_WAITING || own >= MOST_OF_ONE {
            return fail(waiting);
        }
        let flight = (key, tcp);
        if let Some(others) = self.flights.get_mut(&flight) {
            others.push(waiting);
            return Next::Wait;
        }
        if self.flights.len() >= MOST_FLIGHTS {
            return fail(waiting);
        }
        let Some(servers) = self.upstream.ask(now) else { return fail(waiting) };
        self.flights.insert(flight.clone(), vec![waiting]);
        Next::Ask(Errand { flight, question, servers, since: now })
    }

    /// What came of an errand: whoever waited for it, with an answer each.
    pub(super) fn landed(
        &mut self,
        errand: &Errand,
        outcome: Outcome,
        now: Instant,
    ) -> impl Iterator<Item = (B, Vec<u8>)> + use<B> {
        let waiting = self.flights.remove(&errand.flight).unwrap_or_default();
        let reply = match outcome {
            Outcome::Answered(reply, server) => {
                if self.upstream.answered(server, now) {
                    self.cache.keep(errand.flight.0.clone(), reply.clone(), now);
                }
                Some(reply)
            }
            Outcome::Partly(server) => {
                self.upstream.answered(server, now);
                None
            }
            Outcome::Failed => {
                self.upstream.failed(&errand.servers, errand.since, now);
                None
            }
        };
        waiting.into_iter().map(move |Waiting { forward, back, .. }| {
            let answer = match &reply {
                Some(reply) => reply.relay(&forward, 0),
                None => forward.question.fail(Rcode::SERVFAIL),
            };
            (back, answer)
        })
    }
}
