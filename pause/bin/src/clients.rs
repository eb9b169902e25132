//! The agents that are connected: one, or for a moment an old and a new one.

use core::mem::MaybeUninit;

use mote_pause::wire::{MAX_FDS, Reply};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags,
    SocketFlags, sockopt,
};
use rustix::process::geteuid;

use crate::launch::Received;
use crate::sys::Waiting;

/// Connections at one time.
pub(crate) const MAX_CLIENTS: usize = 4;

/// The connections, oldest first.
pub(crate) struct Clients([Option<OwnedFd>; MAX_CLIENTS]);

/// A message that has arrived.
pub(crate) struct Message {
    /// How many bytes of the buffer it is.
    pub(crate) len: usize,
    /// What came with it.
    pub(crate) received: Received,
    /// Whether all of it, and all that came with it, is there.
    pub(crate) whole: bool,
}

impl Clients {
    /// `first` is the connection pause was born with, if it is one.
    pub(crate) fn new(first: Option<OwnedFd>) -> Self {
        let mut clients = Self([const { None }; MAX_CLIENTS]);
        if let Some(first) = first {
            clients.add(first);
        }
        clients
    }

    /// What to wait for, in the order in which the other functions number clients.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Waiting> {
        self.0.iter().map(|client| client.as_ref().map_or(Waiting::NOTHING, Waiting::readable))
    }

    /// Accepts a connection. Only the agent's user and root may talk to us, whatever the modes of
    /// the directories above the socket are.
    pub(crate) fn accept(&mut self, listener: impl AsFd) -> Result<(), Errno> {
        let client = net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let peer = sockopt::socket_peercred(&client)?;
        if peer.uid.is_root() || peer.uid == geteuid() {
            self.add(client);
        }
        Ok(())
    }

    /// The newest agent is the right one: it takes the place of the oldest if there is none free.
    fn add(&mut self, client: OwnedFd) {
        let free = self.0.iter().position(Option::is_none).unwrap_or_else(|| {
            self.0.rotate_left(1);
            MAX_CLIENTS - 1
        });
        if let Some(place) = self.0.get_mut(free) {
            *place = Some(client);
        }
    }

    /// Takes the next message of a client; nothing if there is none or the client has gone.
    pub(crate) fn receive(&mut self, client: usize, buffer: &mut [u8]) -> Option<Message> {
        // Larger than any request's, so that one too many is seen rather than dropped silently;
        // the kernel closes what does not fit.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let socket = self.0.get(client)?.as_ref()?;
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(Errno::AGAIN | Errno::INTR) => None,
            Ok(message) if message.bytes > 0 => {
                let mut received = [const { None }; MAX_FDS];
                let cut = message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
                let whole = collect(&mut control, &mut received) && !cut;
                Some(Message { len: message.bytes, received, whole })
            }
            _ => {
                self.drop(client);
                None
            }
        }
    }

    /// Answers a client. One that does not read its answers is dropped: it can come back and ask
    /// for the list.
    pub(crate) fn send(&mut self, client: usize, id: u16, reply: &Reply) {
        let mut buffer = [0; Reply::MAX_SIZE];
        let Ok(len) = reply.encode(id, &mut buffer) else { return };
        let Some(Some(socket)) = self.0.get(client) else { return };
        let message = buffer.get(..len).unwrap_or_default();
        if net::send(socket, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_err() {
            self.drop(client);
        }
    }

    /// Tells everybody.
    pub(crate) fn tell(&mut self, news: &Reply) {
        for client in 0..MAX_CLIENTS {
            self.send(client, 0, news);
        }
    }

    fn drop(&mut self, client: usize) {
        if let Some(place) = self.0.get_mut(client) {
            *place = None;
        }
    }
}

/// Takes what came with a message; false if that was more than any request has.
fn collect(control: &mut RecvAncillaryBuffer<'_>, received: &mut Received) -> bool {
    let mut places = received.iter_mut();
    let mut all = true;
    for message in control.drain() {
        let RecvAncillaryMessage::ScmRights(fds) = message else { continue };
        for fd in fds {
            match places.next() {
                Some(place) => *place = Some(fd),
                None => all = false,
            }
        }
    }
    all
}
