//! The node's own addresses, listed when some of them came or went, and not for each pod.
//!
//! Every cable has one or two at the node's end. Who lists them all whenever a pod comes does the more for
//! each the more there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, recv};

use super::link::{
    GATEWAY_V4, GATEWAY_V6, IFA_ADDRESS, IFA_LOCAL, IFADDR, LinkError, NEWADDR, failed, list,
};
use super::message::{Message, Messages, Received};
use super::netlink;

// rtnetlink(7); linux/rtnetlink.h.
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
/// `RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const CHANGES: u32 = 0x10 | 0x100;

/// The node's own addresses, as they were when they were listed.
#[derive(Debug)]
pub(super) struct OwnAddresses {
    /// Tells what happened to them since. Nobody waits for it: it is looked at when they are needed.
    changes: OwnedFd,
    all: Vec<IpAddr>,
}

impl OwnAddresses {
    /// Lists them.
    pub(super) fn list() -> Result<Self, LinkError> {
        // First, so that nothing happens unheard.
        let changes = netlink::hear(None, CHANGES).map_err(failed("hear of addresses"))?;
        let all = list(&Message::new(GETADDR, 0, &[0; IFADDR]), |received| {
            address(received).filter(|_| received.kind == NEWADDR)
        });
        Ok(Self { changes, all: all.map_err(failed("list addresses"))? })
    }

    /// All of them, but for some of those that pods know the node by.
    pub(super) fn all(&self) -> &[IpAddr] {
        &self.all
    }

    /// Whether none of the node's came or went since they were listed; those at its ends of cables do so
    /// with each pod, and are none of anybody's.
    pub(super) fn are_current(&self) -> bool {
        let mut buffer = [0; 8192];
        loop {
            match recv(&self.changes, &mut buffer[..], RecvFlags::DONTWAIT) {
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(rustix::io::Errno::INTR) => {}
                // It was more than had room, or nobody tells any more.
                Err(_) => return false,
                Ok((_, len)) => {
                    let mut told = Messages(buffer.get(..len).unwrap_or_default());
                    if told.any(|received| concerns_the_node(&received)) {
                        return false;
                    }
                }
            }
        }
    }
}

fn address(received: &Received<'_>) -> Option<IpAddr> {
    let attributes = || received.attributes(IFADDR);
    // On a link between two, the other's address is the one that always stands there.
    let own = attributes().value(IFA_LOCAL).or_else(|| attributes().value(IFA_ADDRESS))?;
    let four = || Some(Ipv4Addr::from(<[u8; 4]>::try_from(own).ok()?).into());
    let six = || Some(Ipv6Addr::from(<[u8; 16]>::try_from(own).ok()?).into());
    four().or_else(six)
}

fn concerns_the_node(received: &Received<'_>) -> bool {
    let of_cables = [GATEWAY_V4.into(), GATEWAY_V6.into()];
    let of_cable = address(received).is_some_and(|address| of_cables.contains(&address));
    [NEWADDR, DELADDR].contains(&received.kind) && !of_cable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: u16, address: IpAddr) -> bool {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let bytes = Message::new(kind, 0, &[0; IFADDR]).with(IFA_ADDRESS, &octets).finish(0);
        Messages(&bytes).any(|received| concerns_the_node(&received))
    }

    #[test]
    fn cables_of_pods_change_nothing() {
        for kind in [NEWADDR, DELADDR] {
            assert!(!told(kind, [169, 254, 1, 1].into()) && !told(kind, GATEWAY_V6.into()));
            assert!(told(kind, [169, 254, 1, 2].into()) && told(kind, Ipv6Addr::LOCALHOST.into()));
        }
        // Of interfaces nothing is asked here.
        assert!(!told(16, [192, 0, 2, 1].into()));
    }

    #[test]
    fn what_nobody_changed_is_current() {
        let own = OwnAddresses::list().expect("the kernel tells");
        assert!(own.all().contains(&Ipv4Addr::LOCALHOST.into()), "{:?}", own.all());
    }
}
