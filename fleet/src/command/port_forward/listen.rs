//! Listens for programs here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{anyhow, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::cli::{Listen, PortPair};
use crate::output::console::Console;

/// A program has connected.
pub(super) struct Connected {
    /// The ports it is for.
    pub(super) ports: PortPair,
    pub(super) socket: TcpStream,
}

/// Listens on all ports of all addresses, and says so. Nobody is accepted while the one before waits.
pub(super) async fn listen(
    addresses: &[Listen],
    ports: &[PortPair],
    console: &mut Console,
) -> anyhow::Result<mpsc::Receiver<Connected>> {
    let (tell, connected) = mpsc::channel(1);
    for pair in ports {
        let mut pair = *pair;
        for address in addresses {
            for listener in bind(*address, &mut pair).await? {
                let at = listener.local_addr()?;
                console.line(format_args!("Forwarding from {at} -> {}", pair.remote))?;
                tokio::spawn(accept(listener, pair, tell.clone()));
            }
        }
    }
    Ok(connected)
}

/// Both loopbacks have the same port; one of them is enough.
async fn bind(address: Listen, pair: &mut PortPair) -> anyhow::Result<Vec<TcpListener>> {
    let addresses: &[IpAddr] = match &address {
        Listen::Address(address) => &[*address],
        Listen::Localhost => &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
    };
    let mut listeners = Vec::new();
    let mut failed: Option<io::Error> = None;
    for address in addresses {
        match TcpListener::bind(SocketAddr::new(*address, pair.local)).await {
            Ok(listener) => {
                pair.local = listener.local_addr()?.port();
                listeners.push(listener);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) if listeners.is_empty() => {
            Err(anyhow!(error).context(format!("unable to listen on port {}", pair.local)))
        }
        None if listeners.is_empty() => bail!("no address to listen on"),
        _ => Ok(listeners),
    }
}

async fn accept(listener: TcpListener, ports: PortPair, tell: mpsc::Sender<Connected>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                if tell.send(Connected { ports, socket }).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, or the program is gone again: the next may be accepted.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}
