//! Sockets in the pods' networks, for whoever asks a pod something from the node.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mote_pause::wire::Namespace;
use mote_protocol::name::Uid;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::{OciRuntime, io_error};
use crate::runtime::RuntimeError;
use crate::sys;

impl OciRuntime {
    /// A stream socket in the pod's network, not yet connected, that does not block: what is
    /// connected through it talks to the pod's own loopback, whatever the node can reach.
    pub async fn pod_socket(
        &self,
        uid: &Uid,
        family: AddressFamily,
    ) -> Result<OwnedFd, RuntimeError> {
        let pod = self.pod(uid).await.ok_or(RuntimeError::NoSandbox { uid: *uid })?;
        let opened = pod.sandbox.open_namespace(Namespace::Net).and_then(|network| match network {
            Some(network) => sys::netns::inside(network.as_fd(), || stream(family)),
            None => stream(family),
        });
        opened.map_err(io_error(format!("open a socket in the network of pod {uid}")))
    }
}

fn stream(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}
