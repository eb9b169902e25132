//! The pods' networks, as they are reached from the node.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use mote_agent::runtime::{Runtime, RuntimeError};
use rustix::net::AddressFamily;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use crate::node::Node;

fn socket(opened: OwnedFd) -> TcpSocket {
    TcpSocket::from_std_stream(opened.into())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn a_socket_of_a_pod_reaches_the_pods_own_loopback() {
    let node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    let server = node.script("server", "exec httpd -f -p 127.0.0.1:8080 -h /etc");
    node.runtime.start(&server).await.expect("start");
    node.exec("server", "until wget -qO- http://127.0.0.1:8080/passwd; do :; done").await;
    let opened = node.runtime.pod_socket(&node.uid, AddressFamily::INET).await.expect("a socket");
    let mut stream = socket(opened).connect(local(8080)).await.expect("the pod listens");
    stream.write_all(b"GET /passwd HTTP/1.0\r\n\r\n").await.expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("web:x:33"), "{answer}");
    drop(stream);
    // The node's loopback is another one.
    let listener = TcpListener::bind(local(0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let opened = node.runtime.pod_socket(&node.uid, AddressFamily::INET).await.expect("a socket");
    socket(opened).connect(local(port)).await.expect_err("nobody listens there in the pod");
    node.runtime.pod_socket(&node.uid, AddressFamily::INET6).await.expect("the other family");
    node.finish().await;
}

#[tokio::test]
async fn a_socket_of_a_pod_with_the_hosts_network_is_the_hosts() {
    let node = Node::new();
    let missing = node.runtime.pod_socket(&node.uid, AddressFamily::INET).await;
    assert!(matches!(missing, Err(RuntimeError::NoSandbox { .. })));
    let mut sandbox = node.sandbox();
    sandbox.host.network = true;
    node.runtime.create_sandbox(&sandbox).await.expect("sandbox");
    let listener = TcpListener::bind(local(0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let opened = node.runtime.pod_socket(&node.uid, AddressFamily::INET).await.expect("a socket");
    socket(opened).connect(local(port)).await.expect("the host listens");
    node.finish().await;
}
