//! [`Handlers`] of a real node.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::name::Uid;
use rustix::net::AddressFamily;
use tokio::net::TcpStream;

use super::dial::{DialError, PodSockets, dial};
use super::{Goal, Handlers, HookDone, HookError, Outcome, Target, exec, grpc, http, tcp};
use crate::pod::handler::{Handler, HttpGet, Port};
use crate::runtime::oci::OciRuntime;
use crate::runtime::{ContainerId, Runtime, RuntimeError};

/// Runs commands through the runtime, and asks servers in the networks of its pods.
#[derive(Debug)]
pub struct NodeHandlers<R> {
    runtime: Rc<R>,
}

impl<R: Runtime + PodSockets> NodeHandlers<R> {
    /// Handlers for the containers of `runtime`.
    pub const fn new(runtime: Rc<R>) -> Self {
        Self { runtime }
    }
}

/// The number of a port, or what the kubelet says where a container has none of that name.
fn number(port: &Port) -> Result<u16, String> {
    match port {
        Port::Number(number) => Ok(*number),
        Port::Unknown(name) => Err(format!("port {name} not found")),
    }
}

/// The same request, at the pod's address where it names none.
fn aimed<'a>(target: &Target, get: &'a HttpGet) -> Cow<'a, HttpGet> {
    match target.host(&get.host) {
        Cow::Borrowed(_) => Cow::Borrowed(get),
        Cow::Owned(host) => Cow::Owned(HttpGet { host, ..get.clone() }),
    }
}

impl<R: Runtime + PodSockets> Handlers for NodeHandlers<R> {
    async fn probe(&self, target: &Target, handler: &Handler, timeout: Duration) -> Outcome {
        let runtime = &*self.runtime;
        match handler {
            Handler::Exec(command) => exec::probe(runtime, target, command, timeout).await,
            Handler::Http(get) => match number(&get.port) {
                Ok(port) => http::probe(runtime, target, &aimed(target, get), port, timeout).await,
                Err(unknown) => Outcome::Errored(unknown),
            },
            Handler::Tcp { host, port } => match number(port) {
                Ok(port) => tcp::probe(runtime, target, (&target.host(host), port), timeout).await,
                Err(unknown) => Outcome::Errored(unknown),
            },
            Handler::Grpc { port, service } => {
                grpc::probe(runtime, target, *port, service, timeout).await
            }
            // No specification that was accepted has such a probe.
            Handler::Sleep(_) => Outcome::Errored("missing probe handler".to_owned()),
        }
    }

    async fn hook(&self, target: &Target, handler: &Handler) -> Result<HookDone, HookError> {
        let runtime = &*self.runtime;
        match handler {
            Handler::Exec(command) => {
                exec::hook(runtime, target, command).await.map(|()| HookDone::AsAsked)
            }
            Handler::Http(get) => {
                let port = number(&get.port).map_err(|cause| HookError::Http { cause })?;
                http::hook(runtime, target, &aimed(target, get), port).await
            }
            Handler::Sleep(span) => {
                tokio::time::sleep(*span).await;
                Ok(HookDone::AsAsked)
            }
            Handler::Tcp { .. } => Err(HookError::Invalid { handler: "tcpSocket" }),
            Handler::Grpc { .. } => Err(HookError::Invalid { handler: "grpc" }),
        }
    }

    async fn connect(&self, goal: Goal) -> Result<TcpStream, String> {
        connect(&*self.runtime, goal).await
    }
}

/// Connects as a kubelet's port-forward does: by IPv4, else by IPv6.
async fn connect<S: PodSockets>(sockets: &S, goal: Goal) -> Result<TcpStream, String> {
    let Goal { pod, host_network, port } = goal;
    // The network is the pod's, whichever container.
    let id = ContainerId { pod, name: String::new(), attempt: 0 };
    let target = Target { id, host_network, address: None };
    match dial(sockets, &target, "", port).await {
        Ok(stream) => Ok(stream),
        Err(first @ DialError::Connect { .. }) => {
            dial(sockets, &target, "::1", port).await.map_err(|_| first.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

impl PodSockets for OciRuntime {
    async fn pod_socket(&self, uid: &Uid, family: AddressFamily) -> Result<OwnedFd, RuntimeError> {
        Self::pod_socket(self, uid, family).await
    }
}
