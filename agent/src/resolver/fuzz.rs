//! Packets of pods, and of whoever others are: see [`crate::fuzz`].

use std::net::{IpAddr, Ipv4Addr};

use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::name::Name;
use domain::base::{MessageBuilder, Serial, StaticCompressor, Ttl};
use domain::rdata::{A, Cname, Soa};
use tokio::time::Instant;

use super::answer::{Forward, Verdict, answer};
use super::cache::Cache;
use super::question::Question;
use super::reply::Reply;
use super::upstream::query;
use super::zone::{Endpoint, Port, Service, Zone};

/// The number that all samples bear.
const ID: u16 = 7;

/// Who asks.
pub(super) const ASKER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 188, 0, 1));

/// What others are asked for in [`reply`].
const ASKED: &str = "www.example.";

/// Answers a packet; whether it is one that somebody hears of.
pub fn question(packet: &[u8]) -> bool {
    let zone = zone();
    let verdicts = [false, true].map(|tcp| answer(packet, (&zone, &pods), (ASKER, tcp)));
    for verdict in &verdicts {
        if let Verdict::Forward(forward) = verdict {
            let asked = query(&forward.onward(), ID);
            assert!(asked.len() < 512 && forward.onward().key().len() < 300);
        }
    }
    verdicts.iter().any(|verdict| *verdict != Verdict::Silence)
}

/// Reads an answer of others, keeps it and passes it on; whether it is one.
pub fn reply(packet: &[u8]) -> bool {
    let Some(question) = asked() else { return false };
    let Ok(reply) = Reply::read(packet, ID, &question) else { return false };
    let (mut cache, now) = (Cache::default(), Instant::now());
    cache.keep(question.key(), reply.clone(), now);
    let aliases = Name::vec_from_str("a.default.svc.cluster.local.");
    for aliases in [Vec::new(), aliases.into_iter().collect()] {
        let forward = Forward { question: question.clone(), aliases };
        let relayed = reply.relay(&forward, 1);
        assert!(relayed.len() <= question.room && relayed.starts_with(&ID.to_be_bytes()));
    }
    true
}

fn asked() -> Option<Question> {
    Question::read(&packet(ASKED, Rtype::A), false).ok()
}

/// A question of somebody who understands EDNS.
fn packet(name: &str, rtype: Rtype) -> Vec<u8> {
    let Ok(name) = Name::vec_from_str(name) else { return Vec::new() };
    let (edns, room) = (Some(false), 512);
    let question = Question {
        id: ID,
        name,
        rtype,
        recursion: true,
        unchecked: false,
        authentic: false,
        edns,
        room,
    };
    query(&question, ID)
}

/// Questions that pods ask, by what they are.
pub fn questions() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("service", packet("web.default.svc.cluster.local.", Rtype::A)),
        ("short", packet("WEB.", Rtype::AAAA)),
        ("port", packet("_http._tcp.web.default.svc.cluster.local.", Rtype::SRV)),
        ("pod", packet("one.sub.default.svc.cluster.local.", Rtype::ANY)),
        ("alias", packet("out.default.svc.cluster.local.", Rtype::A)),
        ("address", packet("1.0.188.10.in-addr.arpa.", Rtype::PTR)),
        ("nothing", packet("no.default.svc.cluster.local.", Rtype::A)),
        ("elsewhere", packet(ASKED, Rtype::A)),
    ]
}

/// Answers of others, by what they are.
pub fn replies() -> Vec<(&'static str, Vec<u8>)> {
    let made = |rcode, fill: fn(&Name<Vec<u8>>) -> Records| {
        let name = Name::vec_from_str(ASKED).ok()?;
        let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new())).ok()?;
        builder.header_mut().set_id(ID);
        builder.header_mut().set_qr(true);
        builder.header_mut().set_rcode(rcode);
        let mut builder = builder.question();
        builder.push((&name, Rtype::A, Class::IN)).ok()?;
        let (aliases, addresses, nothing) = fill(&name);
        let mut builder = builder.answer();
        for (owner, target) in aliases {
            builder.push((owner, 60, Cname::new(target))).ok()?;
        }
        for (owner, address) in addresses {
            builder.push((owner, 60, A::from_octets(192, 0, 2, address))).ok()?;
        }
        let mut builder = builder.authority();
        if let Some(name) = nothing {
            let ttl = Ttl::from_secs(60);
            builder
                .push((&name, 60, Soa::new(&name, &name, Serial(1), ttl, ttl, ttl, ttl)))
                .ok()?;
        }
        Some(builder.finish().into_target())
    };
    let found = made(Rcode::NOERROR, |name| (Vec::new(), vec![(name.clone(), 1)], None));
    let behind = made(Rcode::NOERROR, |name| {
        let other = Name::vec_from_str("other.example.").unwrap_or_else(|_| Name::root_vec());
        (vec![(name.clone(), other.clone())], vec![(other.clone(), 1), (other, 2)], None)
    });
    let nothing = made(Rcode::NXDOMAIN, |name| (Vec::new(), Vec::new(), Some(name.clone())));
    let named = [("found", found), ("behind", behind), ("nothing", nothing)];
    named.into_iter().filter_map(|(name, packet)| Some((name, packet?))).collect()
}

/// Aliases, addresses, and for what there is nothing.
type Records =
    (Vec<(Name<Vec<u8>>, Name<Vec<u8>>)>, Vec<(Name<Vec<u8>>, u8)>, Option<Name<Vec<u8>>>);

/// The first pods of the node are in one namespace.
pub(super) fn pods(address: IpAddr) -> Option<String> {
    let known = (1..4).any(|last| address == IpAddr::from([10, 188, 0, last]));
    known.then(|| "default".to_owned())
}

/// One with something of everything.
pub(super) fn zone() -> Zone {
    let port = |number| Port { name: "http".into(), protocol: "tcp", number };
    let pod = |last: u8, hostname: Option<&str>| Endpoint {
        hostname: hostname.map(str::to_owned),
        addresses: vec![
            [10, 188, 0, last].into(),
            format!("fd00:188::{last}").parse().unwrap_or([0; 16].into()),
        ],
        ports: vec![port(8080)],
    };
    let mut zone = Zone::new("cluster.local");
    let addresses = vec![[10, 96, 0, 1].into(), [0xfd00_u16, 96, 0, 0, 0, 0, 0, 1].into()];
    zone.add_service("default", "web", Service::Cluster { addresses, ports: vec![port(80)] });
    let endpoints = vec![pod(1, Some("one")), pod(2, None)];
    zone.add_service("default", "sub", Service::Headless(endpoints));
    zone.add_service("default", "out", Service::External("www.example".into()));
    zone.add_service("default", "twice", Service::External("web.default.svc.cluster.local".into()));
    zone.add_service(
        "default",
        "round",
        Service::External("round.default.svc.cluster.local".into()),
    );
    zone
}
