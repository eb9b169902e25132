//! Datagrams with the interface that they came by, and sockets that another process kept for us.

use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libc::{c_int, c_void, socklen_t};

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of it, of which those that found room are in the buffer.
    pub len: usize,
    /// Who says that it sent it.
    pub from: SocketAddrV4,
    /// The number of the interface that it came by; 0 where nobody can say.
    pub interface: u32,
}

/// Lets a socket be bound to an address that the node does not have, yet.
pub fn allow_any_address(socket: BorrowedFd<'_>) -> io::Result<()> {
    switch_on(socket, libc::IP_FREEBIND)
}

/// Lets [`receive`] tell the interface.
pub fn tell_interface(socket: BorrowedFd<'_>) -> io::Result<()> {
    switch_on(socket, libc::IP_PKTINFO)
}

fn switch_on(socket: BorrowedFd<'_>, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    let len = size::<c_int>();
    // SAFETY: the value is an int that lives through the call, and its length is given.
    let done = unsafe {
        let value = (&raw const on).cast::<c_void>();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, option, value, len)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The size of a type, as calls about sockets want it.
fn size<T>() -> socklen_t {
    size_of::<T>().try_into().expect("types here have a few bytes")
}

/// Room for the one thing that is told, as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Receives a datagram of IPv4 (recvmsg(2), ip(7)), and does not wait for one.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: both are structures of numbers and pointers, for which zeros are a value.
    let (mut from, mut message) =
        unsafe { (std::mem::zeroed::<libc::sockaddr_in>(), std::mem::zeroed::<libc::msghdr>()) };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size::<libc::sockaddr_in>();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: every pointer is to something that lives through the call, with its length beside it.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    if c_int::from(from.sin_family) != libc::AF_INET {
        return Err(io::Error::other("a datagram of another family"));
    }
    let address = Ipv4Addr::from_bits(u32::from_be(from.sin_addr.s_addr));
    let from = SocketAddrV4::new(address, u16::from_be(from.sin_port));
    Ok(Received { len, from, interface: interface(&message) })
}

fn interface(message: &libc::msghdr) -> u32 {
    // SAFETY: the kernel filled the message in, whose control buffer is aligned and still there; the macro
    // gives null, or a header within it.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, and so within the buffer.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if (level, kind) == (libc::IPPROTO_IP, libc::IP_PKTINFO) {
            // SAFETY: the kernel puts an `in_pktinfo` behind such a header; it need not be aligned.
            let told = unsafe {
                libc::CMSG_DATA(header).cast::<libc::in_pktinfo>().read_unaligned().ipi_ifindex
            };
            return u32::try_from(told).unwrap_or_default();
        }
        // SAFETY: as for the first.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    0
}

/// What systemd kept for this process, by name (`sd_listen_fds_with_names(3)`). To be called once: what
/// it gives is closed when it is dropped.
pub fn inherited() -> Vec<(String, OwnedFd)> {
    let Ok(kept) = sd_notify::listen_fds_with_names() else { return Vec::new() };
    // SAFETY: the environment says, for this very process, that these are open and its own; nobody else
    // of it takes them.
    kept.map(|(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd as _;

    #[test]
    fn a_datagram_tells_where_it_came_from() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        tell_interface(socket.as_fd()).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 3];
        let received = receive(socket.as_fd(), &mut buffer).unwrap();
        assert_eq!(std::net::SocketAddr::V4(received.from), sender.local_addr().unwrap());
        // Its whole length is told; localhost is the first interface of every network.
        assert_eq!((received.len, received.interface, &buffer), (5, 1, b"hel"));
        let none = receive(socket.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn nobody_kept_anything_for_a_test() {
        assert!(inherited().is_empty());
    }
}
