//! Whom the node asks, and whether that is of any use now. PURE.
//!
//! ```text
//! Answering --all of a question's tries failed--> Quiet --QUIET is over--> one question tries
//!     ^                                             ^                            |   |
//!     +---------------- somebody answered ----------|----------------------------+   |
//!                                                   +------- nobody did -------------+
//! ```
//! While it is quiet every question fails at once: programs of a pod that is offline shall not hang at each
//! name, and ask somebody else, or go on without.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use domain::base::MessageBuilder;
use domain::base::iana::Class;
use tokio::time::Instant;

use super::question::{MOST_BY_UDP, Question};
use crate::pod::contents::names::{MAX_NAMESERVERS, NodeFiles, Resolver};

/// Port of every server.
const PORT: u16 = 53;

/// How long nobody is asked after nobody answered.
const QUIET: Duration = Duration::from_secs(5);

/// Whom the node asks.
#[derive(Debug, Default)]
pub struct Upstream {
    servers: Vec<SocketAddr>,
    /// The one that answered last.
    best: usize,
    answered: Option<Instant>,
    failed: Option<Instant>,
    /// A question tries whether somebody answers again.
    trying: bool,
}

impl Upstream {
    /// Takes note of whom to ask from now on; whether that is somebody else.
    pub fn set(&mut self, servers: Vec<SocketAddr>) -> bool {
        let changed = self.servers != servers;
        if changed {
            *self = Self { servers, ..Self::default() };
        }
        changed
    }

    /// Whom to ask, the best first; nobody where there is nobody, or nobody answers.
    pub fn ask(&mut self, now: Instant) -> Option<Vec<SocketAddr>> {
        if self.servers.is_empty() {
            return None;
        }
        if let Some(failed) = self.failed {
            if self.trying || now.saturating_duration_since(failed) < QUIET {
                return None;
            }
            self.trying = true;
        }
        let (late, early) = self.servers.split_at_checked(self.best)?;
        Some(early.iter().chain(late).copied().collect())
    }

    /// Somebody answered; whether it is one who is still asked.
    pub fn answered(&mut self, server: SocketAddr, now: Instant) -> bool {
        let Some(best) = self.servers.iter().position(|other| *other == server) else {
            return false;
        };
        (self.best, self.answered) = (best, Some(now));
        (self.failed, self.trying) = (None, false);
        true
    }

    /// Nobody of these answered a question that was asked at a time.
    pub fn failed(&mut self, asked: &[SocketAddr], since: Instant, now: Instant) {
        let meanwhile = self.answered.is_some_and(|answered| answered >= since);
        if !meanwhile && asked.iter().all(|server| self.servers.contains(server)) {
            (self.failed, self.trying) = (Some(now), false);
        }
    }
}

/// The servers in the node's files, without those at addresses of our own: we would ask ourselves.
/// `interface` knows the numbers of network interfaces.
pub fn servers(
    node: &NodeFiles,
    own: &[IpAddr],
    interface: impl Fn(&str) -> Option<u32>,
) -> Vec<SocketAddr> {
    let read = |text: &str| {
        let resolver = Resolver::parse(text);
        let found = resolver.nameservers.iter().filter_map(|text| server(text, &interface));
        let mut found: Vec<_> = found.filter(|at| !own.contains(&at.ip().to_canonical())).collect();
        found.truncate(MAX_NAMESERVERS);
        found
    };
    let first = read(&node.resolver);
    if first.is_empty() { read(&node.beyond) } else { first }
}

fn server(text: &str, interface: impl Fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    let Some((address, zone)) = text.split_once('%') else {
        return Some(SocketAddr::new(text.parse().ok()?, PORT));
    };
    let number = zone.parse().ok().or_else(|| interface(zone))?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, number).into())
}

/// The question as others are asked, under a number.
pub fn query(question: &Question, id: u16) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    let header = builder.header_mut();
    header.set_id(id);
    header.set_rd(true);
    header.set_cd(question.unchecked);
    header.set_ad(question.authentic);
    let mut builder = builder.question();
    // A vector has no bound that one name would not keep.
    let _ = builder.push((&question.name, question.rtype, Class::IN));
    let mut builder = builder.additional();
    if let Some(dnssec) = question.edns {
        let _ = builder.opt(|opt| {
            opt.set_udp_payload_size(MOST_BY_UDP);
            opt.set_dnssec_ok(dnssec);
            Ok(())
        });
    }
    builder.finish()
}
