//! A bad line to a server: it cuts connections, it is slow, it is out for a while, or it is an HTTP
//! proxy that opens tunnels.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::wait::{Deadline, Watched, let_pass};

/// Bytes that a line holds.
const HELD: usize = 32 * 1024;

/// What is wrong with the line.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// It ends each connection after a random number of bytes below this, and the ends differ by
    /// this seed.
    Cuts {
        /// Most bytes of one connection.
        below: u64,
        /// Where the random numbers begin.
        seed: u64,
    },
    /// It brings this many bytes a second.
    Slow(u64),
    /// It is a proxy: whatever `CONNECT` asks for, it leads to the server.
    Tunnels,
    /// Nothing, until somebody cuts it.
    Good,
}

/// A line to one server.
#[derive(Debug)]
pub struct Link {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    brought: Arc<Watched<u64>>,
    connections: Arc<AtomicU64>,
    down: Arc<AtomicBool>,
    held: Arc<Watched<bool>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// A line to the server at `target` (`host:port`).
    pub fn to(target: &str, manner: Manner) -> Result<Self> {
        let target = target.parse::<SocketAddr>().context("an address")?;
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
        let address = listener.local_addr()?;
        let brought = Arc::new(Watched::new(0));
        let (connections, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (socket, bytes) = (Arc::clone(&listener), Arc::clone(&brought));
        let (count, is_down) = (Arc::clone(&connections), Arc::clone(&down));
        let (held, open) = (Arc::new(Watched::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (is_held, clients) = (Arc::clone(&held), Arc::clone(&open));
        let thread = thread::spawn(move || {
            for client in socket.incoming() {
                // Shut down: nobody is served any more.
                let Ok(client) = client else { return };
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (brought, held) = (Arc::clone(&bytes), Arc::clone(&is_held));
                let line = Line { manner, number, brought, held };
                if let (Ok(copy), Ok(mut clients)) = (client.try_clone(), clients.lock()) {
                    clients.push(copy);
                }
                if !is_down.load(Ordering::SeqCst) {
                    thread::spawn(move || line.carry(&client, target));
                }
            }
        });
        let thread = Some(thread);
        Ok(Self { listener, address, brought, connections, down, held, open, thread })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Bytes that it brought from the server so far.
    pub fn brought(&self) -> u64 {
        *self.brought.lock()
    }

    /// Waits until it has brought this many.
    pub fn wait_for(&self, bytes: u64) -> Result<()> {
        wait_for(&self.brought, bytes)
    }

    /// The same for a thread of its own.
    pub fn waiter(&self, bytes: u64) -> impl FnOnce() -> Result<()> + Send + 'static {
        let brought = Arc::clone(&self.brought);
        move || wait_for(&brought, bytes)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// From now on nobody gets through.
    pub fn fail(&self) {
        self.down.store(true, Ordering::SeqCst);
    }

    /// From now on it is as before.
    pub fn mend(&self) {
        self.down.store(false, Ordering::SeqCst);
    }

    /// Ends the connections that there are, and from now on nobody gets through.
    pub fn cut(&self) {
        self.fail();
        for client in self.open.lock().expect("no panic while it is held").drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// From now on nothing is carried, or again: as on a line that is out for a while.
    pub fn hold(&self, held: bool) {
        self.held.update(|is_held| *is_held = held);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn wait_for(brought: &Watched<u64>, bytes: u64) -> Result<()> {
    let what = format!("{bytes} bytes over the line");
    brought.wait(Deadline::patient(), what, |brought| (*brought >= bytes).then_some(()))
}

fn wait_while_held(held: &Watched<bool>) -> Result<()> {
    held.wait(Deadline::patient(), "a line that carries again", |held| (!held).then_some(()))
}

/// One connection.
struct Line {
    manner: Manner,
    number: u64,
    brought: Arc<Watched<u64>>,
    held: Arc<Watched<bool>>,
}

impl Line {
    /// Carries bytes both ways until one side ends.
    fn carry(&self, client: &TcpStream, target: SocketAddr) {
        // Whoever hangs up has its reasons.
        let _ = self.try_to_carry(client, target);
        let _ = client.shutdown(Shutdown::Both);
    }

    fn try_to_carry(&self, client: &TcpStream, target: SocketAddr) -> Result<()> {
        if matches!(self.manner, Manner::Tunnels) {
            open_tunnel(client)?;
        }
        // What waits in the kernel is lost with a connection, and real lines hold little.
        set_socket_send_buffer_size(client, HELD)?;
        let server = TcpStream::connect(target)?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        let held = Arc::clone(&self.held);
        let forth = thread::spawn(move || {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = from.read(&mut buffer)
                && wait_while_held(&held).is_ok()
                && to.write_all(buffer.get(..count).unwrap_or_default()).is_ok()
            {}
            let _ = to.shutdown(Shutdown::Both);
        });
        let result = self.bring(&server, client);
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
        let _ = forth.join();
        result
    }

    /// From the server to the client, as well as the line does it.
    fn bring(&self, mut server: &TcpStream, mut client: &TcpStream) -> Result<()> {
        let mut left = match self.manner {
            Manner::Cuts { below, seed } => random(seed.wrapping_add(self.number)) % below + 1,
            _ => u64::MAX,
        };
        let piece = if let Manner::Slow(rate) = self.manner { rate / 20 } else { 16 * 1024 };
        let mut buffer = vec![0; usize::try_from(piece.max(1))?];
        let (begun, mut carried) = (Instant::now(), 0);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let buffer = buffer.get_mut(..wanted).context("within the buffer")?;
            let count = server.read(buffer)?;
            if count == 0 {
                break;
            }
            wait_while_held(&self.held)?;
            client.write_all(buffer.get(..count).context("within the buffer")?)?;
            left -= count as u64;
            carried += count as u64;
            self.brought.update(|brought| *brought += count as u64);
            if let Manner::Slow(rate) = self.manner {
                let due = Duration::from_millis(carried * 1000 / rate);
                let_pass(due.saturating_sub(begun.elapsed()));
            }
        }
        Ok(())
    }
}

/// Reads what a proxy is asked, and agrees.
fn open_tunnel(client: &TcpStream) -> Result<()> {
    let mut reader = BufReader::with_capacity(1, client);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    anyhow::ensure!(line.starts_with("CONNECT "), "{line}");
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut client = client;
    Ok(client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?)
}

/// One step of `SplitMix64`.
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
