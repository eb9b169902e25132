//! The cable between a pod and its node: a pair of veth interfaces, with routes at both ends.
//!
//! ```text
//! pod     eth0            POD/32; 169.254.1.1 on the link, everything else through it
//!          |
//! node    mote-XXXXXXXX   169.254.1.1/32; POD/32 on the link
//! ```
//! No bridge and no range on a link: whoever wants a pod asks the node's table of routes. All pods
//! have the same gateway, which none of them can reach but through its own cable. IPv6 is the same
//! with `fe80::1`. The interface bears the pod's address in its name, so that no two pods have one.

use std::ffi::CString;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::Share;
use super::message::{CREATE, Message, REPLACE, Received};
use super::netlink::Netlink;
use super::range::Ranges;
use crate::sys::netns;

/// Before the names of all interfaces of ours.
pub const PREFIX: &str = "mote-";

/// What a pod calls its own end.
const INSIDE: &str = "eth0";

/// The interface that every machine has.
const LOCALHOST: &str = "lo";

/// The node, as every pod calls it.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
pub(super) const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

// rtnetlink(7); linux/rtnetlink.h, if_link.h, if_addr.h, veth.h.
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
pub(super) const NEWADDR: u16 = 20;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
/// Nobody else has it: it is there at once.
const NO_DAD: u8 = 2;
const UP: u32 = 1;
const AF_INET: u8 = 2;
const MAIN_TABLE: u8 = 254;
const LOCAL_TABLE: u8 = 255;
const STATIC: u8 = 4;
const UNICAST: u8 = 1;
const LOCAL: u8 = 2;
const UNREACHABLE: u8 = 7;
const AF_INET6: u8 = 10;
/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;
/// Bytes of `struct ifaddrmsg`.
pub(super) const IFADDR: usize = 8;
/// Times that something is listed anew because it changed meanwhile.
const LISTINGS: usize = 5;

/// Why a cable could not be laid.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct LinkError {
    /// What was being done to what.
    pub doing: String,
    /// The kernel's answer.
    #[source]
    pub source: io::Error,
}

impl LinkError {
    /// The kernel has no such interfaces.
    pub fn lacks_veth(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EOPNOTSUPP)
    }
}

pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(io::Error) -> LinkError {
    move |source| LinkError { doing: doing.into(), source }
}

/// The name of the node's end of the cable of the pod with these addresses; none without any.
pub fn name(addresses: &[IpAddr]) -> Option<String> {
    addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(format!("{PREFIX}{:08x}", address.to_bits())),
        IpAddr::V6(_) => None,
    })
}

/// The address in a name that we gave; none in any other name.
pub fn address_in(name: &str) -> Option<IpAddr> {
    let digits = name.strip_prefix(PREFIX)?;
    let ours = digits.len() == 8 && !digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let bits = u32::from_str_radix(digits, 16).ok().filter(|_| ours)?;
    Some(Ipv4Addr::from_bits(bits).into())
}

/// The namespace of the pod with this address, by the label of its cable; none of what is no pod's.
pub fn namespace_of(address: IpAddr) -> Option<String> {
    let name = name(&[address])?;
    let mut label = None;
    let message = Message::new(GETLINK, 0, &interface(0, 0)).with(IFLA_IFNAME, &text(&name));
    // An interface that is not there has none.
    let _ = open().ok()?.get(&message, |received| {
        let alias = received.attributes(IFINFO).text(IFLA_IFALIAS).map(str::to_owned);
        label = alias.filter(|_| received.kind == NEWLINK);
    });
    // As an object's key is written.
    label?.rsplit('/').nth(1).map(str::to_owned)
}

/// Lays the cable of a pod: `pod` is its network namespace, `label` what people are shown. What is left
/// of one that was begun is removed first.
pub fn lay(pod: BorrowedFd<'_>, label: &str, share: &Share) -> Result<(), LinkError> {
    let Some(name) = name(&share.addresses) else { return Ok(()) };
    let mut node = open()?;
    remove_with(&mut node, &name)?;
    add(&mut node, &name, pod, label)?;
    let laid = index_of(&mut node, &name)
        .and_then(|index| connect_node(&mut node, (&name, index), share))
        .and_then(|()| netns::inside(pod, Netlink::open).map_err(failed("enter the pod's network")))
        .and_then(|mut inside| connect_pod(&mut inside, &share.addresses));
    if laid.is_err() {
        // The next try begins anew.
        let _ = remove_with(&mut node, &name);
    }
    laid
}

/// Makes the node's end what it should be, where it is there: somebody may have changed it while no
/// agent ran.
pub fn mend(share: &Share) -> Result<(), LinkError> {
    let Some(name) = name(&share.addresses) else { return Ok(()) };
    let mut node = open()?;
    match index(&mut node, &name)? {
        Some(index) => connect_node(&mut node, (&name, index), share),
        None => Ok(()),
    }
}

/// Removes the cable of a pod; one that is not there is no error.
pub fn remove(addresses: &[IpAddr]) -> Result<(), LinkError> {
    let Some(name) = name(addresses) else { return Ok(()) };
    remove_with(&mut open()?, &name)
}

/// Removes an interface that is nobody's any more.
pub fn remove_named(name: &str) -> Result<(), LinkError> {
    remove_with(&mut open()?, name)
}

/// The names of all interfaces of ours.
pub fn all() -> Result<Vec<String>, LinkError> {
    let listed = list(&Message::new(GETLINK, 0, &interface(0, 0)), |received| {
        let name =
            received.attributes(IFINFO).text(IFLA_IFNAME).filter(|_| received.kind == NEWLINK);
        name.filter(|name| address_in(name).is_some()).map(str::to_owned)
    });
    listed.map_err(failed("list network interfaces"))
}

/// What was told of a kind of things, as they all were at one moment.
pub(super) fn list<T>(
    message: &Message,
    mut told: impl FnMut(&Received<'_>) -> Option<T>,
) -> io::Result<Vec<T>> {
    let mut tries = 0;
    loop {
        let (mut all, mut netlink) = (Vec::new(), Netlink::open()?);
        match netlink.list(message, |received| all.extend(told(received))) {
            Err(torn) if torn.kind() == ErrorKind::Interrupted && tries < LISTINGS => tries += 1,
            listed => return listed.map(|()| all),
        }
    }
}

fn open() -> Result<Netlink, LinkError> {
    Netlink::open().map_err(failed("open a netlink socket"))
}

/// The number of the interface of this name; none where there is no such.
fn index(netlink: &mut Netlink, name: &str) -> Result<Option<u32>, LinkError> {
    let mut found = None;
    let message = Message::new(GETLINK, 0, &interface(0, 0)).with(IFLA_IFNAME, &text(name));
    let told = netlink.get(&message, |received| {
        let index = received.payload.get(4..).and_then(|bytes| bytes.first_chunk());
        found = index.filter(|_| received.kind == NEWLINK).map(|index| u32::from_ne_bytes(*index));
    });
    match told {
        Err(gone) if gone.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        told => told.map(|()| found).map_err(failed(format!("find network interface `{name}`"))),
    }
}

/// The number of one that should be there.
fn index_of(netlink: &mut Netlink, name: &str) -> Result<u32, LinkError> {
    let gone = || io::Error::from_raw_os_error(libc::ENODEV);
    let doing = || format!("find network interface `{name}`");
    index(netlink, name)?.ok_or_else(gone).map_err(failed(doing()))
}

/// `struct ifinfomsg`; flags are set and never taken away.
fn interface(index: u32, flags: u32) -> Vec<u8> {
    // Family and type are of no interest.
    [0, index, flags, flags].map(u32::to_ne_bytes).concat()
}

fn text(text: &str) -> Vec<u8> {
    // Names that we make hold no NUL.
    CString::new(text).unwrap_or_default().into_bytes_with_nul()
}

fn add(node: &mut Netlink, name: &str, pod: BorrowedFd<'_>, label: &str) -> Result<(), LinkError> {
    let namespace = pod.as_raw_fd().cast_unsigned().to_ne_bytes();
    let peer = |mut message: Message| {
        message = message.raw(&interface(0, 0));
        message.with(IFLA_IFNAME, &text(INSIDE)).with(IFLA_NET_NS_FD, &namespace)
    };
    let pair = Message::new(NEWLINK, CREATE, &interface(0, 0))
        .with(IFLA_IFNAME, &text(name))
        .nested(IFLA_LINKINFO, |info| {
            let info = info.with(IFLA_INFO_KIND, b"veth");
            info.nested(IFLA_INFO_DATA, |data| data.nested(VETH_INFO_PEER, peer))
        });
    let doing = || format!("add network interface `{name}`");
    node.ask(&pair).map_err(failed(doing()))?;
    let labelled = Message::new(NEWLINK, 0, &interface(0, 0))
        .with(IFLA_IFNAME, &text(name))
        .with(IFLA_IFALIAS, label.as_bytes());
    // It is for people only.
    let _ = node.ask(&labelled);
    Ok(())
}

fn remove_with(node: &mut Netlink, name: &str) -> Result<(), LinkError> {
    let message = Message::new(DELLINK, 0, &interface(0, 0)).with(IFLA_IFNAME, &text(name));
    match node.ask(&message) {
        Err(gone) if gone.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        done => done.map_err(failed(format!("remove network interface `{name}`"))),
    }
}

fn connect_node(
    node: &mut Netlink,
    (name, index): (&str, u32),
    share: &Share,
) -> Result<(), LinkError> {
    let doing = || format!("set up network interface `{name}`");
    set_sysctls(name, share).map_err(failed(doing()))?;
    let mut configure = || {
        node.ask(&Message::new(NEWLINK, 0, &interface(index, UP)))?;
        for address in &share.addresses {
            let scope_prefix = if address.is_ipv4() { (SCOPE_LINK, 32) } else { (SCOPE_LINK, 64) };
            node.ask(&address_message(index, gateway(*address), scope_prefix))?;
            node.ask(&route(index, Some(*address), None))?;
        }
        Ok(())
    };
    configure().map_err(failed(doing()))
}

fn connect_pod(inside: &mut Netlink, addresses: &[IpAddr]) -> Result<(), LinkError> {
    let doing = || format!("set up `{INSIDE}` of the pod");
    let index = index_of(inside, INSIDE)?;
    let mut configure = || {
        inside.ask(&Message::new(NEWLINK, 0, &interface(index, UP)))?;
        for address in addresses {
            let prefix = if address.is_ipv4() { 32 } else { 128 };
            inside.ask(&address_message(index, *address, (SCOPE_UNIVERSE, prefix)))?;
            let gateway = gateway(*address);
            inside.ask(&route(index, Some(gateway), None))?;
            inside.ask(&route(index, None, Some(gateway)))?;
        }
        Ok(())
    };
    configure().map_err(failed(doing()))
}

/// The node, for a pod with this address.
fn gateway(pod: IpAddr) -> IpAddr {
    if pod.is_ipv4() { GATEWAY_V4.into() } else { GATEWAY_V6.into() }
}

fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

fn address_message(index: u32, address: IpAddr, (scope, prefix): (u8, u8)) -> Message {
    let (family, octets) = octets(address);
    let [a, b, c, d] = index.to_ne_bytes();
    let flags = if family == AF_INET6 { NO_DAD } else { 0 };
    // `struct ifaddrmsg`.
    let header = [family, prefix, flags, scope, a, b, c, d];
    Message::new(NEWADDR, REPLACE, &header).with(IFA_LOCAL, &octets).with(IFA_ADDRESS, &octets)
}

/// A route to one address on the link, or to everything through a gateway.
fn route(index: u32, to: Option<IpAddr>, through: Option<IpAddr>) -> Message {
    let (family, _) = octets(to.or(through).unwrap_or(GATEWAY_V4.into()));
    let len = match to {
        None => 0,
        Some(address) if address.is_ipv4() => 32,
        Some(_) => 128,
    };
    let scope = if through.is_some() { SCOPE_UNIVERSE } else { SCOPE_LINK };
    // `struct rtmsg`.
    let header = [family, len, 0, 0, MAIN_TABLE, STATIC, scope, UNICAST, 0, 0, 0, 0];
    let mut message = Message::new(NEWROUTE, REPLACE, &header).with(RTA_OIF, &index.to_ne_bytes());
    if let Some(to) = to {
        message = message.with(RTA_DST, &octets(to).1);
    }
    if let Some(through) = through {
        message = message.with(RTA_GATEWAY, &octets(through).1);
    }
    message
}

/// Gives the node a way to its services: where it has no other, it would not even ask. Rules for packets take over
/// from there. It asks as the first address of the range.
///
/// IPv6 has no way out through localhost: there all of the range is the node's, and what no rule leads elsewhere is
/// refused. It stays until the next boot: what the node began goes on, though the last service is gone.
pub fn lead_to_services(ranges: Ranges) -> Result<(), LinkError> {
    let mut node = open()?;
    let index = index_of(&mut node, LOCALHOST)?;
    for range in ranges.all() {
        let (first, v4) = (range.first(), range.first().is_ipv4());
        let prefix = if v4 { 32 } else { 128 };
        let (table, route_kind) = if v4 { (MAIN_TABLE, UNICAST) } else { (LOCAL_TABLE, LOCAL) };
        let (family, network) = octets(range.network());
        let header =
            [family, range.prefix(), 0, 0, table, STATIC, SCOPE_LINK, route_kind, 0, 0, 0, 0];
        let route = Message::new(NEWROUTE, REPLACE, &header)
            .with(RTA_DST, &network)
            .with(RTA_OIF, &index.to_ne_bytes())
            .with(RTA_PREFSRC, &octets(first).1);
        let mut lead = || {
            node.ask(&address_message(index, first, (SCOPE_UNIVERSE, prefix)))?;
            node.ask(&route)
        };
        lead().map_err(failed(format!("give the node a way to services, {range}")))?;
    }
    Ok(())
}

/// Keeps what is meant for pods on the node: what is for nobody does not leave by its way out, nor does what
/// a connection goes on to say to a pod that is gone. Or lets go of that again. Each pod's own route is nearer.
pub fn hold(ranges: Ranges, held: bool) -> Result<(), LinkError> {
    let mut node = open()?;
    for range in ranges.all() {
        let (family, network) = octets(range.network());
        let header =
            [family, range.prefix(), 0, 0, MAIN_TABLE, STATIC, SCOPE_UNIVERSE, UNREACHABLE];
        let header = [&header[..], &[0; 4]].concat();
        let (kind, flags) = if held { (NEWROUTE, REPLACE) } else { (DELROUTE, 0) };
        // Behind whatever others know of the same range.
        let route = Message::new(kind, flags, &header)
            .with(RTA_DST, &network)
            .with(RTA_PRIORITY, &u32::MAX.to_ne_bytes());
        match node.ask(&route) {
            Err(none) if !held && none.raw_os_error() == Some(libc::ESRCH) => {}
            // A kernel without IPv6 has none of its packets.
            Err(none) if !held && none.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            done => done.map_err(failed(format!("keep what is for {range} on the node")))?,
        }
    }
    Ok(())
}

/// Single addresses of IPv6 that something leads to.
pub fn routed() -> Result<Vec<IpAddr>, LinkError> {
    // `struct rtmsg`.
    let header = [AF_INET6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let listed = list(&Message::new(GETROUTE, 0, &header), |route| {
        let to = route.attributes(header.len()).value(RTA_DST)?;
        let single = route.kind == NEWROUTE && route.payload.get(1) == Some(&128);
        let to = <[u8; 16]>::try_from(to).ok().filter(|_| single)?;
        Some(IpAddr::from(to))
    });
    listed.map_err(failed("list routes"))
}

/// Lets the node's localhost be answered by a pod, which ports of the node lead to.
pub fn answer_localhost(address: IpAddr) -> io::Result<()> {
    match name(&[address]).filter(|_| address.is_ipv4()) {
        Some(name) => write_sysctl(&format!("ipv4/conf/{name}/route_localnet"), "1"),
        None => Ok(()),
    }
}

/// A pod is no router: it has raw sockets, and may say that it is one.
fn set_sysctls(name: &str, share: &Share) -> io::Result<()> {
    // Answers to the node's own localhost, which ports of the pod are asked at. A rule keeps the pod
    // from asking there itself.
    let localhost = if share.ports.is_empty() { "0" } else { "1" };
    write_sysctl(&format!("ipv4/conf/{name}/route_localnet"), localhost)?;
    let six = share.addresses.iter().any(IpAddr::is_ipv6);
    for (setting, value) in
        [("accept_ra", "0"), ("addr_gen_mode", "1"), ("disable_ipv6", if six { "0" } else { "1" })]
    {
        match write_sysctl(&format!("ipv6/conf/{name}/{setting}"), value) {
            // A kernel without IPv6.
            Err(none) if !six && none.kind() == ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// Writes a setting of this thread's network, where it is another.
pub(super) fn write_sysctl(setting: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/{setting}");
    if fs::read_to_string(&path)?.trim() == value {
        return Ok(());
    }
    fs::write(path, value)
}
