//! Where questions come in, and who may ask there.
//!
//! | door | address | who asks | told by |
//! |---|---|---|---|
//! | pods | `169.254.1.1`, the gateway of every pod | pods of this node | the interface, which bears the pod's address in its name |
//! | node | `127.254.1.1` | the node's own programs, pods in its network | that they come from localhost |
//!
//! Port 53 of these leads to ours by a rule of the network's table: it may be another's on all addresses of
//! the node, a `hostPort` of a pod among them, and is nobody's business here. The sockets outlive the agent
//! where systemd keeps them, so that a question which comes between two agents waits for the second.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::sockopt;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use crate::network::link;
use crate::network::rules::Doors;
use crate::sys::datagram;

/// Where the node's own programs ask.
pub const NODE: Ipv4Addr = Ipv4Addr::new(127, 254, 1, 1);

/// Where pods ask.
pub const PODS: Ipv4Addr = link::GATEWAY_V4;

/// Port of the sockets themselves: below those that the kernel gives away, and nobody's by custom.
const PORT: u16 = 15353;

/// Bytes of datagrams that wait to be taken, as the kernel counts half of them: some 1300 small ones.
const QUEUED: usize = 512 * 1024;

/// Connections that wait to be taken.
const BACKLOG: i32 = 16;

/// Of which door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Pods,
    Node,
}

/// One door.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) side: Side,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Both doors.
#[derive(Debug)]
pub struct Open {
    pub(super) pods: Door,
    pub(super) node: Door,
}

impl Side {
    const ALL: [Self; 2] = [Self::Pods, Self::Node];

    fn address(self) -> Ipv4Addr {
        match self {
            Self::Pods => PODS,
            Self::Node => NODE,
        }
    }

    /// Who asks, as it is counted: programs of the node may take any of its loopback's addresses, and are
    /// one.
    pub(super) fn asker(self, from: IpAddr) -> IpAddr {
        match self {
            Self::Pods => from,
            Self::Node => NODE.into(),
        }
    }

    /// What systemd keeps the sockets as.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Pods => ["resolver-pods-udp", "resolver-pods-tcp"],
            Self::Node => ["resolver-node-udp", "resolver-node-tcp"],
        }
    }

    /// Whether who sent a datagram by an interface may ask here.
    pub(super) fn admits(self, socket: BorrowedFd<'_>, from: Ipv4Addr, interface: u32) -> bool {
        match self {
            // What a pod sends with another's address the network's rules have dropped.
            Self::Pods => {
                let name = netdevice::index_to_name_inlined(socket, interface);
                name.is_ok_and(|name| link::address_in(name.as_str()) == Some(from.into()))
            }
            Self::Node => from.is_loopback(),
        }
    }

    /// The same of who connected: nobody can with an address that answers do not reach.
    pub(super) fn admits_peer(self, socket: BorrowedFd<'_>, from: IpAddr) -> bool {
        match self {
            Self::Pods => link::name(&[from])
                .is_some_and(|name| netdevice::name_to_index(socket, &name).is_ok()),
            Self::Node => from.is_loopback(),
        }
    }
}

impl Open {
    /// Opens what is not among those that were kept, and has all of them kept.
    pub fn new(kept: Vec<(String, OwnedFd)>) -> io::Result<Self> {
        let mut kept = kept;
        let mut door = |side: Side| {
            let [udp, tcp] = side.names();
            let mut take = |name: &str, kind| {
                let place = kept.iter().position(|(other, _)| other == name)?;
                let (_, socket) = kept.swap_remove(place);
                is_ours(&socket, side, kind).then_some(socket)
            };
            let (old_udp, old_tcp) = (take(udp, SocketType::DGRAM), take(tcp, SocketType::STREAM));
            let udp_socket = old_udp.map_or_else(|| fresh(udp, side, SocketType::DGRAM), Ok)?;
            let tcp_socket = old_tcp.map_or_else(|| fresh(tcp, side, SocketType::STREAM), Ok)?;
            // Memory that the kernel takes while packets are there. Where it must not be, it is less.
            let _ = sockopt::set_socket_recv_buffer_size_force(&udp_socket, QUEUED);
            Ok::<_, io::Error>(Door { side, udp: udp_socket.into(), tcp: tcp_socket.into() })
        };
        let [pods, node] = Side::ALL.map(&mut door);
        Ok(Self { pods: pods?, node: node? })
    }

    /// Which ports the network's table must lead to.
    pub fn doors(&self) -> io::Result<Doors> {
        let ports = |door: &Door| {
            Ok::<_, io::Error>((door.udp.local_addr()?.port(), door.tcp.local_addr()?.port()))
        };
        let at = |door: &Door| {
            let (udp, tcp) = ports(door)?;
            Ok::<_, io::Error>((door.side.address(), udp, tcp))
        };
        Ok(Doors { pods: at(&self.pods)?, node: at(&self.node)? })
    }
}

/// Whether a socket that was kept is what its name says.
fn is_ours(socket: &OwnedFd, side: Side, kind: SocketType) -> bool {
    let at = net::getsockname(socket).ok().and_then(|at| SocketAddr::try_from(at).ok());
    let right = |at: SocketAddr| at.ip() == IpAddr::from(side.address()) && at.port() != 0;
    at.is_some_and(right) && sockopt::socket_type(socket) == Ok(kind)
}

fn fresh(name: &str, side: Side, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = open(side, kind, PORT).or_else(|error| match error.kind() {
        io::ErrorKind::AddrInUse => open(side, kind, 0),
        _ => Err(error),
    })?;
    keep(name, &socket);
    Ok(socket)
}

fn open(side: Side, kind: SocketType, port: u16) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    // The address of the gateway is there as long as there are pods.
    datagram::allow_any_address(socket.as_fd())?;
    if kind == SocketType::DGRAM {
        datagram::tell_interface(socket.as_fd())?;
    } else {
        // Connections of the agent before this one may not have ended.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &SocketAddrV4::new(side.address(), port))?;
    if kind == SocketType::STREAM {
        net::listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

/// Has systemd keep a socket until the next agent comes; what was kept by that name is let go.
fn keep(name: &str, socket: &OwnedFd) {
    use sd_notify::NotifyState::{FdName, FdStore};
    forget(name);
    // Without systemd there is nobody to keep it: then whoever asks between two agents asks again.
    let _ = sd_notify::notify_with_fds(&[FdStore, FdName(name)], &[socket.as_fd()]);
}

fn forget(name: &str) {
    use sd_notify::NotifyState::{FdName, FdStoreRemove};
    let _ = sd_notify::notify(&[FdStoreRemove, FdName(name)]);
}

/// Lets go of what was kept for a resolver that is none any more.
pub fn let_go(kept: Vec<(String, OwnedFd)>) {
    for (name, socket) in kept {
        forget(&name);
        drop(socket);
    }
}
