//! Forgets flows of UDP that the kernel tracks to where a port of the node led before.
//!
//! Rules are asked for the first packet of a flow only. A connection of TCP ends with its pod; a flow of
//! UDP goes on for as long as somebody sends, to a pod that is no more, or to nobody: whoever sent before
//! the pod was there would never reach it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Share;
use super::message::{Attributes, Message, Received};
use super::netlink::Netlink;
use super::port::Transport;
use super::service::Served;

// nfnetlink_conntrack.h.
const SUBSYSTEM: u16 = 1 << 8;
const NEW: u16 = SUBSYSTEM;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const UDP: u8 = 17;
/// Somebody answered.
const SEEN_REPLY: u32 = 1 << 1;
/// An attribute that consists of others.
const NESTED: u16 = 1 << 15;
/// Bytes of `struct nfgenmsg`.
const HEADER: usize = 4;

/// Flows that are looked at; a node that tracks more has other sorrows.
const MOST: usize = 4096;

/// Ports whose flows of UDP lead elsewhere now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// As they are asked for.
    ports: BTreeSet<u16>,
    /// Addresses at which they are asked for. What asks others for the same port is none of ours.
    at: Vec<IpAddr>,
    /// Who answered them, and does not any more.
    addresses: Vec<IpAddr>,
}

impl Changed {
    /// A port of the node begins or ceases to lead to a pod.
    pub(super) fn of_pod(pod: &Share) -> Self {
        let udp = pod.ports.iter().filter(|map| map.host.transport == Transport::Udp);
        let ports = udp.map(|map| map.host.port).collect();
        Self { ports, at: Vec::new(), addresses: pod.addresses.clone() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// The node is asked for them at these addresses.
    pub(super) fn asked_at(&mut self, own: &[IpAddr]) {
        self.at.extend_from_slice(own);
    }

    /// Services lead to others.
    pub(super) fn of_services(before: &[Served], now: &[Served]) -> Self {
        let mut changed = Self::default();
        let others = |these: &[Served], those: &[Served]| -> Vec<Served> {
            let udp = these.iter().filter(|one| one.transport == Transport::Udp);
            udp.filter(|one| !those.contains(one)).cloned().collect()
        };
        for one in others(before, now).iter().chain(&others(now, before)) {
            changed.at.extend_from_slice(&one.addresses);
            changed.ports.extend([one.port, one.node_port].into_iter().filter(|port| *port != 0));
        }
        for one in others(before, now) {
            let same = |other: &&Served| {
                (&other.name, other.transport, other.port) == (&one.name, one.transport, one.port)
            };
            let left = now.iter().find(same).map(|other| other.endpoints.as_slice());
            let left = left.unwrap_or_default();
            let gone = one.endpoints.iter().filter(|endpoint| !left.contains(endpoint));
            changed.addresses.extend(gone.map(|(address, _)| *address));
        }
        changed
    }
}

/// Forgets the flows to ports: those that lead to who was there, and those that lead to nobody.
pub(super) fn forget(changed: &Changed) -> io::Result<()> {
    let mut netlink = Netlink::open_for_filters()?;
    let mut stale = Vec::new();
    netlink.list(&Message::new(GET, 0, &[0; HEADER]), |flow| {
        if flow.kind == NEW && stale.len() < MOST && is_stale(flow, changed) {
            stale.extend(deletion(flow));
        }
    })?;
    for flow in stale {
        // One that has ended by itself is gone.
        let _ = netlink.ask(&flow);
    }
    Ok(())
}

fn is_stale(flow: &Received<'_>, changed: &Changed) -> bool {
    let Changed { ports, at, addresses } = changed;
    let attributes = || flow.attributes(HEADER);
    let asked = attributes().inside(CTA_TUPLE_ORIG).inside(CTA_TUPLE_PROTO);
    let udp = asked.clone().value(CTA_PROTO_NUM) == Some(&[UDP]);
    let port = asked.value(CTA_PROTO_DST_PORT).and_then(|value| value.first_chunk());
    if !udp || !port.is_some_and(|port| ports.contains(&u16::from_be_bytes(*port))) {
        return false;
    }
    let status = attributes().value(CTA_STATUS).and_then(|value| value.first_chunk());
    let answered = status.is_some_and(|status| u32::from_be_bytes(*status) & SEEN_REPLY != 0);
    let answers = attributes().inside(CTA_TUPLE_REPLY).inside(CTA_TUPLE_IP);
    let from = address(&answers, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
    let asked = attributes().inside(CTA_TUPLE_ORIG).inside(CTA_TUPLE_IP);
    let asked = address(&asked, CTA_IP_V4_DST, CTA_IP_V6_DST);
    let here = asked.is_some_and(|asked| asked.is_loopback() || at.contains(&asked));
    from.is_some_and(|from| addresses.contains(&from)) || !answered && here
}

fn address(of: &Attributes<'_>, four: u16, six: u16) -> Option<IpAddr> {
    let v4 = of.clone().value(four).and_then(|value| value.first_chunk::<4>());
    let v6 = || of.clone().value(six).and_then(|value| value.first_chunk::<16>());
    v4.map(|bytes| Ipv4Addr::from(*bytes).into())
        .or_else(|| v6().map(|bytes| Ipv6Addr::from(*bytes).into()))
}

/// That very flow, and none that begins meanwhile.
fn deletion(flow: &Received<'_>) -> Option<Message> {
    let attributes = || flow.attributes(HEADER);
    let tuple = attributes().value(CTA_TUPLE_ORIG)?;
    let message = Message::new(DELETE, 0, flow.payload.get(..HEADER)?);
    Some(message.with(CTA_TUPLE_ORIG | NESTED, tuple).with(CTA_ID, attributes().value(CTA_ID)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::message::Messages;
    use crate::network::port::{HostPort, PortMap};

    fn flow(protocol: u8, (at, port): ([u8; 4], u16), answered: bool, to: [u8; 4]) -> Vec<u8> {
        let tuple = |message: Message, source: [u8; 4], to: [u8; 4]| {
            let ip = |ip: Message| ip.with(CTA_IP_V4_SRC, &source).with(CTA_IP_V4_DST, &to);
            message.nested(CTA_TUPLE_IP | NESTED, ip).nested(CTA_TUPLE_PROTO | NESTED, |proto| {
                proto.with(CTA_PROTO_NUM, &[protocol]).with(CTA_PROTO_DST_PORT, &port.to_be_bytes())
            })
        };
        let status = if answered { SEEN_REPLY } else { 0 };
        Message::new(NEW, 0, &[2, 0, 0, 0])
            .nested(CTA_TUPLE_ORIG | NESTED, |message| tuple(message, [192, 0, 2, 2], at))
            .nested(CTA_TUPLE_REPLY | NESTED, |message| tuple(message, to, [192, 0, 2, 2]))
            .with(CTA_STATUS, &status.to_be_bytes())
            .with(CTA_ID, &[1, 2, 3, 4])
            .finish(1)
    }

    fn tuple<'a>(flow: &Received<'a>) -> Vec<(u16, &'a [u8])> {
        flow.attributes(HEADER).inside(CTA_TUPLE_ORIG).collect()
    }

    #[test]
    fn flows_to_the_pod_and_to_nobody_are_stale() {
        let pod = [10, 188, 0, 1];
        let host = HostPort { address: None, port: 53, transport: Transport::Udp };
        let share =
            Share { addresses: vec![IpAddr::from(pod)], ports: vec![PortMap { host, port: 53 }] };
        let other = [192, 0, 2, 1];
        let node = [192, 0, 2, 9];
        let mut changed = Changed::of_pod(&share);
        changed.asked_at(&[IpAddr::from(node)]);
        let table = [
            (flow(UDP, (node, 53), true, pod), true),
            (flow(UDP, (node, 53), false, node), true),
            (flow(UDP, ([127, 0, 0, 1], 53), false, [127, 0, 0, 1]), true),
            (flow(UDP, (node, 53), true, other), false),
            // A question to somebody else that is not answered yet.
            (flow(UDP, (other, 53), false, other), false),
            (flow(UDP, (node, 54), false, pod), false),
            (flow(6, (node, 53), false, pod), false),
        ];
        for (bytes, expected) in table {
            let flow = Messages(&bytes).next().unwrap();
            assert_eq!(is_stale(&flow, &changed), expected);
            let deleted = deletion(&flow).unwrap().finish(2);
            let deleted = Messages(&deleted).next().unwrap();
            assert_eq!(tuple(&deleted), tuple(&flow));
        }
    }
}
