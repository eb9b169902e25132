//! Questions to the kernel over netlink, one at a time, each with its answer.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink,
    socket_with,
};

use super::message::{ACK, DONE, DUMP, ERROR, INTERRUPTED, Message, Messages, Received};

/// What the kernel puts into one datagram at most, where the reader has as much room.
const DATAGRAM: usize = 32 * 1024;

/// The kernel answers within the call that asks. Where it does not, nobody waits for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// What tells of changes in groups, as bits, without being asked: nobody waits at it.
pub fn hear(protocol: Option<Protocol>, groups: u32) -> io::Result<OwnedFd> {
    let socket = open(protocol, SocketFlags::NONBLOCK)?;
    net::bind(&socket, &netlink::SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

fn open(protocol: Option<Protocol>, flags: SocketFlags) -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | flags, protocol)?)
}

/// A conversation about one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens one for rtnetlink(7).
    pub fn open() -> io::Result<Self> {
        // `NETLINK_ROUTE` is 0, the protocol where none is named.
        Self::of(None)
    }

    /// Opens one for what filters packets, and for the flows that are tracked.
    pub fn open_for_filters() -> io::Result<Self> {
        Self::of(Some(netlink::NETFILTER))
    }

    fn of(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = open(protocol, SocketFlags::empty())?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Has something done.
    pub fn ask(&mut self, message: &Message) -> io::Result<()> {
        self.converse(message, ACK, |_| ())
    }

    /// Has one thing told.
    pub fn get(&mut self, message: &Message, told: impl FnMut(&Received<'_>)) -> io::Result<()> {
        self.converse(message, ACK, told)
    }

    /// Has everything of a kind told. [`Interrupted`](io::ErrorKind::Interrupted) says that some of it
    /// changed meanwhile: what was told may lack things that were there all the time.
    pub fn list(&mut self, message: &Message, told: impl FnMut(&Received<'_>)) -> io::Result<()> {
        self.converse(message, DUMP, told)
    }

    fn converse(
        &mut self,
        message: &Message,
        flags: u16,
        mut told: impl FnMut(&Received<'_>),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.clone().flagged(flags).finish(self.sequence);
        net::send(&self.socket, &bytes, SendFlags::empty())?;
        let mut buffer = vec![0; DATAGRAM];
        let mut torn = false;
        loop {
            let (_, len) = match net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => continue,
                received => received?,
            };
            let datagram = buffer.get(..len).unwrap_or_default();
            for received in Messages(datagram).filter(|one| one.sequence == self.sequence) {
                torn |= flags == DUMP && received.flags & INTERRUPTED != 0;
                match (received.kind, received.error()) {
                    (DONE, _) if torn => return Err(io::ErrorKind::Interrupted.into()),
                    (ERROR, Some(0)) | (DONE, _) => return Ok(()),
                    (ERROR, Some(number)) => return Err(io::Error::from_raw_os_error(number)),
                    _ => told(&received),
                }
            }
        }
    }
}
