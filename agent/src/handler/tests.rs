//! Servers for the tests of handlers, and a pod whose network is the test's own.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use mote_protocol::name::Uid;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::runtime::RuntimeError;

/// Counts sockets that were asked for; with no network there are none.
#[derive(Default)]
pub(super) struct Pod {
    pub sockets: Cell<u32>,
    pub is_gone: bool,
}

impl PodSockets for Pod {
    async fn pod_socket(&self, uid: &Uid, family: AddressFamily) -> Result<OwnedFd, RuntimeError> {
        if self.is_gone {
            return Err(RuntimeError::NoSandbox { uid: *uid });
        }
        self.sockets.set(self.sockets.get() + 1);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(socket_with(family, SocketType::STREAM, flags, None).unwrap())
    }
}

pub(super) fn target() -> Target {
    let id = ContainerId { pod: Uid::from_random([1; 16]), name: "app".into(), attempt: 0 };
    Target { id, host_network: false, address: None }
}

pub(super) async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port on which nobody listens: bound once, and closed.
pub(super) async fn closed_port() -> u16 {
    listen().await.1
}

/// Reads the head of a request.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Answers one request and closes; gives the request's head.
pub(super) async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> String {
    let head = read_head(&mut stream).await;
    // The client may have heard enough before the end.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
    head
}

/// Answers one request after the other with these texts; gives the heads of the requests.
pub(super) async fn serve(listener: &TcpListener, texts: &[String]) -> Vec<String> {
    let mut heads = Vec::new();
    for text in texts {
        let (stream, _) = listener.accept().await.unwrap();
        heads.push(answer(stream, text).await);
    }
    heads
}

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn whoever_accepts_a_connection_is_well() {
    let (pod, target, (_listener, port)) = (Pod::default(), target(), listen().await);
    let probe = |host| tcp::probe(&pod, &target, (host, port), LIMIT);
    assert_eq!(probe("").await, Outcome::Success);
    assert_eq!(pod.sockets.get(), 1);
    // A loopback is the pod's whatever it is called.
    assert_eq!(probe("127.0.0.1").await, Outcome::Success);
    assert_eq!(probe("localhost").await, Outcome::Success);
    assert!(pod.sockets.get() >= 3);
}

#[tokio::test]
async fn the_pods_own_addresses_have_many_forms() {
    let (pod, target, (_listener, port)) = (Pod::default(), target(), listen().await);
    for host in ["0.0.0.0", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
        let outcome = tcp::probe(&pod, &target, (host, port), LIMIT).await;
        assert_eq!((outcome, pod.sockets.take()), (Outcome::Success, 1), "{host}");
    }
    let outcome = tcp::probe(&pod, &target, ("::", closed_port().await), LIMIT).await;
    assert!(matches!(outcome, Outcome::Failure(_)), "{outcome:?}");
    assert_eq!(pod.sockets.get(), 1);
}

/// A pod whose sockets have the port already that they are to reach.
struct Mirror(u16);

impl PodSockets for Mirror {
    async fn pod_socket(&self, _: &Uid, family: AddressFamily) -> Result<OwnedFd, RuntimeError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None).unwrap();
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, self.0));
        rustix::net::bind(&socket, &own).unwrap();
        Ok(socket)
    }
}

#[tokio::test]
async fn a_socket_that_reaches_itself_has_reached_nobody() {
    let port = closed_port().await;
    let outcome = tcp::probe(&Mirror(port), &target(), ("", port), LIMIT).await;
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(outcome, Outcome::Failure(refused));
}

#[tokio::test]
async fn a_pod_in_the_hosts_network_is_asked_there() {
    let (pod, (_listener, port)) = (Pod::default(), listen().await);
    let target = Target { host_network: true, ..target() };
    let outcome = tcp::probe(&pod, &target, ("", port), LIMIT).await;
    assert_eq!((outcome, pod.sockets.get()), (Outcome::Success, 0));
}

#[tokio::test]
async fn why_nobody_accepts_is_told_in_the_kubelets_words() {
    let (pod, target, port) = (Pod::default(), target(), closed_port().await);
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    let outcome = tcp::probe(&pod, &target, ("", port), LIMIT).await;
    assert_eq!(outcome, Outcome::Failure(refused));
    let outcome = tcp::probe(&pod, &target, ("nonesuch.invalid", port), LIMIT).await;
    let Outcome::Failure(text) = outcome else { panic!("{outcome:?}") };
    assert!(text.starts_with("dial tcp: lookup nonesuch.invalid: "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_too_long_is_a_failure() {
    /// A pod whose sockets take forever.
    struct Slow;
    impl PodSockets for Slow {
        async fn pod_socket(&self, _: &Uid, _: AddressFamily) -> Result<OwnedFd, RuntimeError> {
            std::future::pending().await
        }
    }
    let outcome = tcp::probe(&Slow, &target(), ("::1", 80), LIMIT).await;
    assert_eq!(outcome, Outcome::Failure("dial tcp [::1]:80: i/o timeout".into()));
}

#[tokio::test]
async fn without_a_way_into_the_pod_nothing_is_known() {
    let pod = Pod { is_gone: true, ..Pod::default() };
    let text = "pod 01010101-0101-4101-8101-010101010101 has no sandbox";
    let outcome = tcp::probe(&pod, &target(), ("", 80), LIMIT).await;
    assert_eq!(outcome, Outcome::Errored(text.into()));
}
