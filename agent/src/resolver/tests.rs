//! Packets in, packets out: with names of a node, and with what others answer.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, MessageBuilder, Name, StaticCompressor};
use domain::rdata::{A, AllRecordData};
use proptest::prelude::*;
use tokio::time::Instant;

use super::answer::{Forward, Verdict, answer};
use super::cache::Cache;
use super::desk::{Desk, Errand, Next};
use super::exchange::Outcome;
use super::fuzz::{self, ASKER, pods, zone};
use super::question::{Question, Refusal};
use super::reply::{Reject, Reply};
use super::upstream::{Upstream, query, servers};
use super::zone::{Endpoint, Service, Zone};
use crate::pod::contents::names::NodeFiles;

const ID: u16 = 0x1234;

fn packet(name: &str, rtype: Rtype, edns: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(ID);
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((Name::vec_from_str(name).unwrap(), rtype)).unwrap();
    let mut builder = builder.additional();
    if let Some(size) = edns {
        let sized = |opt: &mut domain::base::message_builder::OptBuilder<'_, _>| {
            opt.set_udp_payload_size(size);
            Ok(())
        };
        builder.opt(sized).unwrap();
    }
    builder.finish()
}

/// Code and records of an answer, in order of the alphabet.
fn shown(packet: &[u8]) -> String {
    let message = Message::from_slice(packet).unwrap();
    let mut text = message.header().rcode().to_string();
    let records = message.answer().unwrap().limit_to::<AllRecordData<_, _>>();
    let mut records: Vec<_> = records
        .map(|record| record.unwrap())
        .map(|record| format!("{} {} {}", record.owner(), record.rtype(), record.data()))
        .collect();
    records.sort();
    for record in records {
        write!(text, "; {record}").unwrap();
    }
    text
}

fn verdict(zone: &Zone, name: &str, rtype: Rtype) -> Verdict {
    answer(&packet(name, rtype, None), (zone, &pods), (ASKER, false))
}

fn answered(zone: &Zone, name: &str, rtype: Rtype) -> String {
    match verdict(zone, name, rtype) {
        Verdict::Answer(answer) => shown(&answer),
        other => format!("{other:?}"),
    }
}

fn forward(name: &str) -> Forward {
    match verdict(&zone(), name, Rtype::A) {
        Verdict::Forward(forward) => *forward,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn names_of_the_node_are_answered() {
    let zone = zone();
    let web = "web.default.svc.cluster.local";
    let sub = "sub.default.svc.cluster.local";
    let table = [
        (web, Rtype::A, format!("NOERROR; {web} A 10.96.0.1")),
        (web, Rtype::AAAA, format!("NOERROR; {web} AAAA fd00:60::1")),
        (web, Rtype::MX, "NOERROR".into()),
        (
            "WEB.Default.svc.Cluster.LOCAL",
            Rtype::A,
            "NOERROR; WEB.Default.svc.Cluster.LOCAL A 10.96.0.1".into(),
        ),
        ("web", Rtype::A, "NOERROR; web A 10.96.0.1".into()),
        ("web.default", Rtype::A, "NOERROR; web.default A 10.96.0.1".into()),
        ("web.default.svc", Rtype::A, "NOERROR; web.default.svc A 10.96.0.1".into()),
        (sub, Rtype::A, format!("NOERROR; {sub} A 10.188.0.1; {sub} A 10.188.0.2")),
        ("one.sub.default.svc.cluster.local", Rtype::A, format!("NOERROR; one.{sub} A 10.188.0.1")),
        (
            "10-188-0-2.sub.default.svc.cluster.local",
            Rtype::A,
            format!("NOERROR; 10-188-0-2.{sub} A 10.188.0.2"),
        ),
        ("two.sub.default.svc.cluster.local", Rtype::A, "NXDOMAIN".into()),
        (
            "_http._tcp.web.default.svc.cluster.local",
            Rtype::SRV,
            format!("NOERROR; _http._tcp.{web} SRV 0 100 80 {web}"),
        ),
        ("_http._udp.web.default.svc.cluster.local", Rtype::SRV, "NXDOMAIN".into()),
        ("_tcp.web.default.svc.cluster.local", Rtype::SRV, "NOERROR".into()),
        (
            "_http._tcp.sub.default.svc.cluster.local",
            Rtype::SRV,
            format!(
                "NOERROR; _http._tcp.{sub} SRV 0 100 8080 10-188-0-2.{sub}; _http._tcp.{sub} SRV 0 100 8080 one.{sub}"
            ),
        ),
        (
            "10-188-0-3.default.pod.cluster.local",
            Rtype::A,
            "NOERROR; 10-188-0-3.default.pod.cluster.local A 10.188.0.3".into(),
        ),
        ("10-188-0-9.default.pod.cluster.local", Rtype::A, "NXDOMAIN".into()),
        ("10-188-0-3.other.pod.cluster.local", Rtype::A, "NXDOMAIN".into()),
        ("no.default.svc.cluster.local", Rtype::A, "NXDOMAIN".into()),
        ("www.example.default.svc.cluster.local", Rtype::A, "NXDOMAIN".into()),
        ("default.svc.cluster.local", Rtype::A, "NOERROR".into()),
        ("other.svc.cluster.local", Rtype::A, "NXDOMAIN".into()),
        // What a search for "web" asks for as well.
        ("web.svc.cluster.local", Rtype::A, "NOERROR".into()),
        ("web.cluster.local", Rtype::A, "NOERROR".into()),
        ("no.cluster.local", Rtype::A, "NXDOMAIN".into()),
        ("a.web.cluster.local", Rtype::A, "NXDOMAIN".into()),
        (
            "1.0.96.10.in-addr.arpa",
            Rtype::PTR,
            format!("NOERROR; 1.0.96.10.in-addr.arpa PTR {web}."),
        ),
        (
            "1.0.188.10.in-addr.arpa",
            Rtype::PTR,
            format!("NOERROR; 1.0.188.10.in-addr.arpa PTR one.{sub}."),
        ),
        ("3.0.188.10.in-addr.arpa", Rtype::PTR, "NXDOMAIN".into()),
        (
            "out.default.svc.cluster.local",
            Rtype::MX,
            "NOERROR; out.default.svc.cluster.local CNAME www.example.".into(),
        ),
        ("twice", Rtype::A, format!("NOERROR; twice CNAME {web}.; {web} A 10.96.0.1")),
        ("round", Rtype::A, "SERVFAIL".into()),
    ];
    for (name, rtype, expected) in table {
        assert_eq!(answered(&zone, name, rtype), expected, "{name} {rtype}");
    }
    let six = format!("1{}.0.6.0.0.0.0.d.f.ip6.arpa", ".0".repeat(23));
    assert!(answered(&zone, &six, Rtype::PTR).ends_with(&format!("PTR {web}.")), "{six}");
}

#[test]
fn everything_else_is_asked_of_others() {
    for name in [
        "www.example",
        "nobody",
        "web.other",
        "no.default.svc",
        "1.2.0.192.in-addr.arpa",
        "xcluster.local",
    ] {
        assert_eq!(forward(name).aliases, Vec::<Name<Vec<u8>>>::new(), "{name}");
    }
    let out = forward("out.default.svc.cluster.local");
    assert_eq!(out.onward().text(), "www.example");
    // Short names are those of who asks.
    let asked_by_another = |name: &str| {
        answer(&packet(name, Rtype::A, None), (&zone(), &pods), ([10, 188, 0, 9].into(), false))
    };
    let elsewhere = asked_by_another("web");
    assert!(matches!(elsewhere, Verdict::Forward(_)), "{elsewhere:?}");
    // It is no pod: one in the node's network may search for what is in any namespace.
    for (name, expected) in [("web.cluster.local", "NOERROR"), ("no.cluster.local", "NXDOMAIN")] {
        let Verdict::Answer(nothing) = asked_by_another(name) else { panic!() };
        assert_eq!(shown(&nothing), expected, "{name}");
    }
    // What no host is called is no name of ours, whatever is written in it.
    let dotted = Name::vec_from_str("web\\.default.svc.cluster.local").unwrap();
    let mut builder = MessageBuilder::new_vec().question();
    builder.push((dotted, Rtype::A)).unwrap();
    let Verdict::Answer(nothing) = answer(&builder.finish(), (&zone(), &pods), (ASKER, false))
    else {
        panic!()
    };
    assert_eq!(shown(&nothing), "NXDOMAIN");
}

#[test]
fn what_is_not_there_may_be_forgotten_soon() {
    let Verdict::Answer(nothing) = verdict(&zone(), "no.default.svc.cluster.local", Rtype::A)
    else {
        panic!()
    };
    let message = Message::from_slice(&nothing).unwrap();
    assert!(message.header().aa() && message.header().ra());
    let authority = message.authority().unwrap().limit_to::<AllRecordData<_, _>>();
    let authority: Vec<_> = authority.map(|record| record.unwrap().to_string()).collect();
    assert!(
        authority.len() == 1 && authority[0].starts_with("cluster.local. 5 IN SOA"),
        "{authority:?}"
    );
    assert!(authority[0].ends_with(" 5"), "{authority:?}");
}

#[test]
fn packets_that_are_no_questions_are_refused_or_nothing() {
    let good = packet("web", Rtype::A, Some(1232));
    let changed = |place: usize, value: u8| {
        let mut packet = good.clone();
        packet[place] = value;
        Question::read(&packet, false)
    };
    let code = |read| match read {
        Err(Refusal::Answer(answer)) => {
            let message = Message::from_octets(answer).unwrap();
            assert!(message.header().qr() && message.header().id() == ID);
            message.opt_rcode().to_string()
        }
        other => format!("{other:?}"),
    };
    assert_eq!(changed(2, 0x80), Err(Refusal::Silence), "an answer");
    assert_eq!(Question::read(&good[..11], false), Err(Refusal::Silence));
    assert_eq!(code(changed(2, 0x20)), "NOTIMP");
    assert_eq!(code(changed(5, 2)), "FORMERR", "two questions");
    assert_eq!(code(changed(12, 0xc0)), "FORMERR", "a name that points to itself");
    assert_eq!(code(Question::read(&good[..good.len() - 1], false)), "FORMERR");
    assert_eq!(code(changed(20, 3)), "REFUSED", "another class");
    assert_eq!(code(changed(18, 252)), "REFUSED", "a whole zone");
    assert_eq!(code(changed(good.len() - 5, 1)), "BADVERS");
    let read = Question::read(&good, false).unwrap();
    assert_eq!((read.id, read.room, read.edns), (ID, 1232, Some(false)));
}

#[test]
fn what_does_not_fit_is_cut() {
    let mut zone = Zone::new("cluster.local");
    let pod = |number: u8| Endpoint {
        addresses: vec![[10, 188, 0, number].into()],
        ..Endpoint::default()
    };
    zone.add_service("default", "many", Service::Headless((0..60).map(pod).collect()));
    let name = "many.default.svc.cluster.local";
    let table = [
        (None, false, true),
        (Some(600), false, true),
        (Some(4096), false, false),
        (None, true, false),
    ];
    for (edns, tcp, cut) in table {
        let Verdict::Answer(answer) =
            answer(&packet(name, Rtype::A, edns), (&zone, &pods), (ASKER, tcp))
        else {
            panic!()
        };
        let message = Message::from_slice(&answer).unwrap();
        let count = message.header_counts().ancount();
        assert_eq!(
            (message.header().tc(), count),
            (cut, if cut { 0 } else { 60 }),
            "{edns:?} {tcp}"
        );
        assert_eq!(message.opt().is_some(), edns.is_some());
        assert!(tcp || answer.len() <= 1232);
    }
}

/// What somebody else says to a question under a number, with these times to live.
fn others_say(question: &Question, id: u16, addresses: &[(u8, u32)]) -> Vec<u8> {
    let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new())).unwrap();
    builder.header_mut().set_id(id);
    builder.header_mut().set_qr(true);
    let mut builder = builder.question();
    builder.push((&question.name, question.rtype)).unwrap();
    let mut builder = builder.answer();
    for (last, ttl) in addresses {
        builder.push((&question.name, *ttl, A::from_octets(192, 0, 2, *last))).unwrap();
    }
    builder.finish().into_target()
}

#[test]
fn answers_of_others_are_passed_on_as_they_were_asked_for() {
    let asked = forward("www.example").question;
    let reply = Reply::read(&others_say(&asked, 9, &[(1, 60), (2, 90)]), 9, &asked).unwrap();
    assert_eq!(reply.lasts(), Duration::from_mins(1));
    let other = forward("WWW.Example");
    let relayed = reply.relay(&other, 20);
    assert_eq!(shown(&relayed), "NOERROR; WWW.Example A 192.0.2.1; WWW.Example A 192.0.2.2");
    let message = Message::from_slice(&relayed).unwrap();
    let header = message.header();
    assert!(header.id() == ID && header.ra() && header.rd() && !header.aa());
    let left: Vec<_> =
        message.answer().unwrap().map(|record| record.unwrap().ttl().as_secs()).collect();
    assert_eq!(left, [40, 70]);
    // Behind a name of the node's.
    let out = forward("out.default.svc.cluster.local");
    let behind = reply.relay(&out, 0);
    let whole = "out.default.svc.cluster.local CNAME www.example.; www.example A 192.0.2.1; www.example A 192.0.2.2";
    assert_eq!(shown(&behind), format!("NOERROR; {whole}"));
    // With EDNS only for those who speak of it.
    let edns =
        Forward { question: Question { edns: Some(true), ..other.question }, aliases: vec![] };
    let relayed = reply.relay(&edns, 0);
    assert!(Message::from_slice(&relayed).unwrap().opt().is_some_and(|opt| opt.dnssec_ok()));
}

#[test]
fn answers_to_something_else_are_none() {
    let asked = forward("www.example").question;
    let good = others_say(&asked, 9, &[(1, 60)]);
    let other = forward("www.exampla").question;
    assert_eq!(Reply::read(&good, 8, &asked), Err(Reject::Other));
    assert_eq!(Reply::read(&others_say(&other, 9, &[]), 9, &asked), Err(Reject::Other));
    assert_eq!(Reply::read(&query(&asked, 9), 9, &asked), Err(Reject::Other), "a question");
    let typed = Question { rtype: Rtype::AAAA, ..asked.clone() };
    assert_eq!(Reply::read(&good, 9, &typed), Err(Reject::Other));
    assert_eq!(Reply::read(&good[..good.len() - 1], 9, &asked), Err(Reject::Unreadable));
    let mut cut = good.clone();
    cut[2] |= 2;
    let cut = Reply::read(&cut[..cut.len() - 1], 9, &asked).unwrap();
    assert!(cut.is_cut() && cut.lasts().is_zero());
}

#[test]
fn that_nothing_is_there_is_kept_for_as_long_as_is_said() {
    let asked = forward("www.example").question;
    let packet = fuzz::replies().into_iter().find(|(name, _)| *name == "nothing").unwrap().1;
    assert_eq!(Reply::read(&packet, 7, &asked).unwrap().lasts(), Duration::from_mins(1));
    // Nobody says for how long.
    let bare = Reply::read(&others_say(&asked, 7, &[]), 7, &asked).unwrap();
    assert_eq!(bare.lasts(), Duration::ZERO);
}

#[test]
fn what_was_not_asked_for_longest_goes_first() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let keep = |cache: &mut Cache, number: u32| {
        let asked = forward(&format!("n{number}.example")).question;
        let reply = Reply::read(&others_say(&asked, 9, &[(1, 60)]), 9, &asked).unwrap();
        cache.keep(asked.key(), reply, now);
        asked.key()
    };
    let first = keep(&mut cache, 0);
    let second = keep(&mut cache, 1);
    for number in 2..257 {
        keep(&mut cache, number);
        assert!(cache.find(&first, now).is_some());
    }
    assert!(cache.find(&second, now).is_none());
    assert_eq!(cache.find(&first, now + Duration::from_secs(59)).unwrap().1, 59);
    assert!(cache.find(&first, now + Duration::from_mins(1)).is_none());
}

const SERVERS: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 53),
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 53),
];

#[test]
fn nobody_is_asked_for_a_while_after_nobody_answered() {
    let (mut upstream, start) = (Upstream::default(), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(upstream.ask(start), None, "there is nobody");
    assert!(upstream.set(SERVERS.to_vec()) && !upstream.set(SERVERS.to_vec()));
    assert_eq!(upstream.ask(start), Some(SERVERS.to_vec()));
    // One that is slow says nothing while others answer.
    assert!(upstream.answered(SERVERS[1], at(1)));
    upstream.failed(&SERVERS, start, at(3));
    assert_eq!(upstream.ask(at(3)), Some(vec![SERVERS[1], SERVERS[0]]), "the best first");
    upstream.failed(&SERVERS, at(3), at(6));
    assert_eq!(upstream.ask(at(10)), None);
    assert!(upstream.ask(at(11)).is_some(), "one tries");
    assert_eq!(upstream.ask(at(12)), None, "one only");
    upstream.failed(&SERVERS, at(11), at(14));
    assert_eq!(upstream.ask(at(18)), None);
    assert!(upstream.ask(at(19)).is_some());
    assert!(upstream.answered(SERVERS[0], at(20)) && upstream.ask(at(20)).is_some());
    upstream.failed(&SERVERS, at(21), at(22));
    // Another network: at once.
    assert!(upstream.set(vec![SERVERS[0]]) && upstream.ask(at(22)).is_some());
    assert!(!upstream.answered(SERVERS[1], at(22)), "nobody's any more");
}

#[test]
fn the_nodes_files_say_whom_to_ask_but_not_ourselves() {
    let own = [IpAddr::from([127, 254, 1, 1])];
    let read = |resolver: &str, beyond: &str| {
        let node =
            NodeFiles { resolver: resolver.into(), beyond: beyond.into(), ..NodeFiles::default() };
        let found = servers(&node, &own, |name| (name == "eth0").then_some(3));
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let several =
        "nameserver 127.254.1.1\nnameserver 192.0.2.1\nnameserver fe80::2%eth0\nnameserver x\n";
    assert_eq!(read(several, ""), ["192.0.2.1:53", "[fe80::2%3]:53"]);
    assert_eq!(read("nameserver 127.254.1.1", "nameserver ::1"), ["[::1]:53"]);
    assert!(read("nameserver fe80::2%eth9", "").is_empty());
}

fn desk() -> Desk<u32> {
    let mut desk = Desk::new(zone(), pods);
    desk.set_servers(SERVERS.to_vec());
    desk
}

/// Somebody's question; none if he waits.
fn take(
    desk: &mut Desk<u32>,
    name: &str,
    (asker, back): (u8, u32),
    now: Instant,
) -> Option<Result<String, Errand>> {
    let asker = IpAddr::from([10, 188, 0, asker]);
    match desk.take(&packet(name, Rtype::A, None), (asker, false), back, now) {
        Next::Wait => None,
        Next::Answer(_, answer) => Some(Ok(shown(&answer))),
        Next::Ask(errand) => Some(Err(errand)),
    }
}

#[test]
fn one_question_of_several_is_asked_once_and_kept() {
    let (mut desk, now) = (desk(), Instant::now());
    let Some(Err(errand)) = take(&mut desk, "www.example", (1, 1), now) else { panic!() };
    assert!(take(&mut desk, "WWW.example", (2, 2), now).is_none());
    let reply =
        Reply::read(&others_say(&errand.question, 9, &[(1, 60)]), 9, &errand.question).unwrap();
    let answers: Vec<_> = desk.landed(&errand, Outcome::Answered(reply, SERVERS[0]), now).collect();
    let answers: Vec<_> = answers.iter().map(|(back, answer)| (*back, shown(answer))).collect();
    let of = |name: &str| format!("NOERROR; {name} A 192.0.2.1");
    assert_eq!(answers, [(1, of("www.example")), (2, of("WWW.example"))]);
    assert_eq!(take(&mut desk, "www.EXAMPLE", (3, 3), now).unwrap().ok(), Some(of("www.EXAMPLE")));
    // Another network knows other names.
    desk.set_servers(vec![SERVERS[1]]);
    assert!(take(&mut desk, "www.example", (3, 3), now).unwrap().is_err());
}

#[test]
fn a_pod_that_floods_it_takes_no_room_of_others() {
    let (mut desk, now) = (desk(), Instant::now());
    let mut asked = 0;
    for number in 0..1000 {
        match take(&mut desk, &format!("n{number}.example"), (1, number), now) {
            Some(Err(_)) => asked += 1,
            failed => assert_eq!(failed.unwrap().ok().as_deref(), Some("SERVFAIL")),
        }
    }
    assert_eq!(asked, 24);
    assert!(take(&mut desk, "www.example", (2, 0), now).unwrap().is_err(), "others are asked for");
    assert_eq!(
        take(&mut desk, "web", (1, 0), now).unwrap().ok().as_deref(),
        Some("NOERROR; web A 10.96.0.1")
    );
}

#[test]
fn while_nobody_answers_questions_fail_at_once_and_names_of_the_node_do_not() {
    let (mut desk, now) = (desk(), Instant::now());
    let Some(Err(errand)) = take(&mut desk, "www.example", (1, 1), now) else { panic!() };
    let answers: Vec<_> = desk.landed(&errand, Outcome::Failed, now).collect();
    assert!(answers.len() == 1 && shown(&answers[0].1) == "SERVFAIL");
    assert_eq!(
        take(&mut desk, "ftp.example", (1, 1), now).unwrap().ok().as_deref(),
        Some("SERVFAIL")
    );
    assert!(
        take(&mut desk, "web", (1, 1), now).unwrap().is_ok_and(|text| text.starts_with("NOERROR"))
    );
    let later = now + Duration::from_secs(5);
    assert!(take(&mut desk, "ftp.example", (1, 1), later).unwrap().is_err());
}

proptest! {
    #[test]
    fn any_packet_is_answered_or_not_but_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..60) {
        fuzz::question(&bytes);
        fuzz::reply(&bytes);
        for (_, good) in fuzz::questions().into_iter().chain(fuzz::replies()) {
            let spoiled = [&good[..cut.min(good.len())], &bytes[..]].concat();
            fuzz::question(&spoiled);
            fuzz::reply(&spoiled);
        }
    }

    #[test]
    fn whoever_asks_recognises_the_answer(name in "[a-z]{1,9}(\\.[a-z]{1,9}){0,4}", id: u16, tcp: bool) {
        let mut asked = packet(&format!("{name}.svc.cluster.local"), Rtype::A, Some(512));
        asked[..2].copy_from_slice(&id.to_be_bytes());
        let Verdict::Answer(answer) = answer(&asked, (&zone(), &pods), (ASKER, tcp)) else { panic!("it is ours") };
        let (asked, answer) = (Message::from_slice(&asked).unwrap(), Message::from_slice(&answer).unwrap());
        prop_assert!(answer.is_answer(asked));
        prop_assert_ne!(answer.header().rcode(), Rcode::SERVFAIL);
    }
}
