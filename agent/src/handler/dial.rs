//! Opens TCP connections to where handlers point: into a pod's network, or from the host's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream as Blocking};
use std::os::fd::OwnedFd;

use mote_protocol::name::Uid;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::Semaphore;

use super::Target;
use crate::log::Chain;
use crate::ports::in_turn;
use crate::runtime::RuntimeError;

/// Addresses tried per name.
const MAX_ADDRESSES: usize = 8;

/// Names looked up at one time: each takes a thread, and a resolver that does not answer keeps it
/// long after whoever asked has gone.
const MAX_LOOKUPS: usize = 4;

static LOOKUPS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// Where a pod is asked that has no address but its own loopback.
const POD: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Sockets in the networks of pods.
pub trait PodSockets {
    /// A stream socket in a pod's network, not connected, that does not block.
    fn pod_socket(
        &self,
        uid: &Uid,
        family: AddressFamily,
    ) -> impl Future<Output = Result<OwnedFd, RuntimeError>>;
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The name has no address.
    #[error("dial tcp: lookup {host}: {cause}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// Nobody answers there.
    #[error("dial tcp {address}: connect: {cause}")]
    Connect {
        /// The address that was tried last.
        address: SocketAddr,
        /// The kernel's answer.
        cause: String,
    },
    /// There is no way into the pod's network, which says nothing about who listens in it.
    #[error("{cause}")]
    Network {
        /// Why.
        cause: String,
    },
}

/// `host:port`, with an address of IPv6 in brackets and the pod's own where there is no host.
pub(super) fn authority(host: &str, port: u16) -> String {
    match host {
        "" => format!("{POD}:{port}"),
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

/// Connects to the first address of `host` that accepts, or to the pod itself where it is empty.
pub(super) async fn dial<S: PodSockets>(
    sockets: &S,
    target: &Target,
    host: &str,
    port: u16,
) -> Result<TcpStream, DialError> {
    if host.is_empty() {
        return connect(sockets, target, SocketAddr::new(POD, port)).await;
    }
    let unknown = |cause| DialError::Resolve { host: host.to_owned(), cause };
    let found = lookup(host, port).await.map_err(|error| unknown(error.to_string()))?;
    let mut last = unknown("no such host".to_owned());
    for address in found {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        match connect(sockets, target, address).await {
            Err(error @ DialError::Connect { .. }) => last = error,
            result => return result,
        }
    }
    Err(last)
}

async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    let found = in_turn(&LOOKUPS, async move { lookup_host((host, port)).await });
    Ok(found.await??.take(MAX_ADDRESSES).collect())
}

/// Where nobody listened the kernel may connect a socket with itself, if it chose the very port
/// that was asked for.
fn is_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(ours), Ok(theirs)) if ours == theirs)
}

/// A loopback is the pod's own, and so is no address at all; everything else is reached as the node
/// reaches it, because a pod's network may lead nowhere.
async fn connect<S: PodSockets>(
    sockets: &S,
    target: &Target,
    address: SocketAddr,
) -> Result<TcpStream, DialError> {
    let own = address.ip().is_loopback() || address.ip().is_unspecified();
    let inside = own && !target.host_network;
    let network = |cause| DialError::Network { cause };
    let socket = if inside {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = sockets.pod_socket(&target.id.pod, family).await;
        let socket = socket.map_err(|error| network(Chain(&error).to_string()))?;
        Ok(TcpSocket::from_std_stream(Blocking::from(socket)))
    } else if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.map_err(|error| network(error.to_string()))?;
    // The kubelet lets close wait a second for the other side (SO_LINGER). That would stop our
    // only thread, and a socket per period in TIME_WAIT hurts nobody.
    let connected = match socket.connect(address).await {
        Ok(stream) if is_itself(&stream) => Err(Errno::CONNREFUSED.into()),
        connected => connected,
    };
    connected.map_err(|error| DialError::Connect { address, cause: reason(&error) })
}

/// The kernel's answer in the words of the kubelet, which are neither glibc's nor musl's.
pub(super) fn reason(error: &io::Error) -> String {
    let known = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED) => "connection refused",
        Some(Errno::CONNRESET) => "connection reset by peer",
        Some(Errno::HOSTUNREACH) => "no route to host",
        Some(Errno::NETUNREACH) => "network is unreachable",
        Some(Errno::TIMEDOUT) => "connection timed out",
        Some(Errno::PIPE) => "broken pipe",
        _ => return error.to_string(),
    };
    known.to_owned()
}
