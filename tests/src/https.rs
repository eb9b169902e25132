//! A server in a pod's network that probes and hooks ask over HTTPS: as if a container of it served.
//!
//! Its certificate is for somebody else and signed by nobody, since neither probes nor hooks look.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use rustix::net::{Shutdown, shutdown};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP over TLS.
    Https,
    /// HTTP, also to those that begin with TLS.
    Http,
}

/// A server that answers every request with the status that it was given last.
#[derive(Debug)]
pub struct PodServer {
    listener: Arc<TcpListener>,
    status: Arc<AtomicU16>,
    thread: Option<JoinHandle<()>>,
}

impl PodServer {
    /// Listens on a port in the network of `process`, and answers with 200.
    pub fn start(process: Pid, port: u16, speaks: Speaks) -> Result<Self> {
        let network = File::open(format!("/proc/{}/ns/net", process.as_raw_nonzero()))?;
        let bound = thread::spawn(move || {
            // The thread ends there: nobody else of this process moves.
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).context("listen in the pod's network")
        });
        let listener = Arc::new(bound.join().map_err(|_| anyhow!("the thread panicked"))??);
        let status = Arc::new(AtomicU16::new(200));
        let config = Arc::new(config()?);
        let (socket, answers) = (Arc::clone(&listener), Arc::clone(&status));
        let thread = thread::spawn(move || {
            for stream in socket.incoming() {
                // Shut down: nobody is served any more.
                let Ok(stream) = stream else { return };
                // Whoever hangs up early has made up its mind.
                let _ = match speaks {
                    Speaks::Https => ServerConnection::new(Arc::clone(&config))
                        .map_err(anyhow::Error::from)
                        .and_then(|tls| answer(StreamOwned::new(tls, stream), &answers)),
                    Speaks::Http => answer(stream, &answers),
                };
            }
        });
        Ok(Self { listener, status, thread: Some(thread) })
    }

    /// Answers with this from now on.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

impl Drop for PodServer {
    fn drop(&mut self) {
        let _ = shutdown(&*self.listener, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn config() -> Result<ServerConfig> {
    let other = rcgen::generate_simple_self_signed(["somebody-else".to_owned()])?;
    let key = PrivateKeyDer::try_from(other.signing_key.serialize_der())
        .map_err(|error| anyhow!("a key: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config?.with_no_client_auth().with_single_cert(vec![other.cert.der().clone()], key)?)
}

/// Answers one request. What is no HTTP is told so in HTTP, as servers do.
fn answer(mut stream: impl Read + Write, status: &AtomicU16) -> Result<()> {
    let mut head = [0; 4096];
    let len = stream.read(&mut head)?;
    let is_http = head.get(..len).is_some_and(|head| head.starts_with(b"GET "));
    let status = if is_http { status.load(Ordering::SeqCst) } else { 400 };
    write!(stream, "HTTP/1.1 {status} so\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(stream.flush()?)
}
