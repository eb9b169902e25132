//! Networks of a test's own: a machine to be alone on, other machines beside it, and who talks to whom.
//!
//! A thread that [`OwnNetwork::enter`]s one is there with everything that it starts from then on: broker,
//! agent, operator. So whole nodes have addresses, routes and rules, and no two tests meet.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{Process, command};

/// How long a connection may take that should be there at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one may take that must not come.
const IMPATIENCE: Duration = Duration::from_millis(700);

/// A network that nobody else is in.
#[derive(Debug)]
pub struct OwnNetwork {
    /// It lasts as long as this sleeps.
    holder: Process,
}

impl OwnNetwork {
    /// Makes one, with nothing but localhost.
    pub fn new() -> Result<Self> {
        let mut sleeper = command("unshare");
        sleeper.args(["--net", "--", "sh", "-c", "echo there; exec sleep 1000000"]);
        let holder = Process::spawn("network", &mut sleeper)?;
        holder.wait_for_line("there")?;
        let network = Self { holder };
        network.run("ip", &["link", "set", "lo", "up"])?;
        Ok(network)
    }

    /// Makes one and goes there, with this thread.
    pub fn enter() -> Result<Self> {
        let network = Self::new()?;
        move_into_link_name_space(network.open()?.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(network)
    }

    /// Another one, with a cable to this: `ours` and `theirs` are addresses of both ends, as `ip` takes
    /// them. It knows nobody but this end.
    pub fn neighbour(&self, name: &str, ends: &[(&str, &str)]) -> Result<Self> {
        let other = Self::new()?;
        let pid = other.holder.pid().as_raw_nonzero().to_string();
        let peer = ["type", "veth", "peer", "name", "up0", "netns", &pid];
        self.run("ip", &[&["link", "add", name][..], &peer].concat())?;
        for (network, name, place) in [(self, name, 0), (&other, "up0", 1)] {
            network.run("ip", &["link", "set", name, "up"])?;
            for (ours, theirs) in ends {
                let address = if place == 0 { ours } else { theirs };
                let nodad = address.contains(':').then_some("nodad");
                let words = ["address", "add", address, "dev", name].into_iter().chain(nodad);
                network.run("ip", &words.collect::<Vec<_>>())?;
            }
        }
        Ok(other)
    }

    /// Runs a program there, and gives what it printed.
    pub fn run(&self, program: &str, words: &[&str]) -> Result<String> {
        let target = format!("--target={}", self.holder.pid().as_raw_nonzero());
        let mut command = Command::new("nsenter");
        let output = command.args([&target, "--net", "--", program]).args(words).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {}: {error}", words.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// It, as a place to talk from.
    pub fn open(&self) -> Result<File> {
        network_of(self.holder.pid())
    }
}

/// The network of a process.
pub fn network_of(process: Pid) -> Result<File> {
    let path = format!("/proc/{}/ns/net", process.as_raw_nonzero());
    File::open(&path).with_context(|| format!("open {path}"))
}

/// Does something as if from within a network.
pub fn inside<T: Send>(network: &File, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            // The thread ends there: nobody else of this process moves.
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            act()
        });
        there.join().map_err(|_| anyhow!("the thread panicked"))?
    })
}

/// Tells everybody who connects, by TCP or UDP, over IPv4 or IPv6, who that is.
#[derive(Debug)]
pub struct Mirror {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Mirror {
    /// Begins, on a port of a network.
    pub fn start(network: &File, port: u16) -> Result<Self> {
        let all = (Ipv6Addr::UNSPECIFIED, port);
        let (tcp, udp) = inside(network, || Ok((TcpListener::bind(all)?, UdpSocket::bind(all)?)))?;
        let (listener, socket) = (tcp.try_clone()?, udp.try_clone()?);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                if let Ok(peer) = stream.peer_addr() {
                    // Whoever hangs up does not want to know.
                    let _ = stream.write_all(peer.ip().to_canonical().to_string().as_bytes());
                }
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
                if len == 0 {
                    return;
                }
                let _ = socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer);
            }
        });
        Ok(Self { tcp, udp })
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // Both threads end, and with them what holds the network.
        let _ = rustix::net::shutdown(&self.tcp, rustix::net::Shutdown::Both);
        let _ = rustix::net::shutdown(&self.udp, rustix::net::Shutdown::Both);
    }
}

/// Tells everybody who connects its own name and who that is, and then says again what it hears.
#[derive(Debug)]
pub struct Speaker {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Speaker {
    /// Begins, on a port of a network.
    pub fn start(network: &File, port: u16, name: &str) -> Result<Self> {
        let all = (Ipv6Addr::UNSPECIFIED, port);
        let (tcp, udp) = inside(network, || Ok((TcpListener::bind(all)?, UdpSocket::bind(all)?)))?;
        let (listener, socket) = (tcp.try_clone()?, udp.try_clone()?);
        let name = name.to_owned();
        let greeting = move |peer: SocketAddr| format!("{name} {}\n", peer.ip().to_canonical());
        let greet = greeting.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let Ok(peer) = stream.peer_addr() else { continue };
                if stream.write_all(greet(peer).as_bytes()).is_ok() {
                    thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
                }
            }
        });
        thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
                if len == 0 {
                    return;
                }
                let _ = socket.send_to(greeting(peer).as_bytes(), peer);
            }
        });
        Ok(Self { tcp, udp })
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.tcp, rustix::net::Shutdown::Both);
        let _ = rustix::net::shutdown(&self.udp, rustix::net::Shutdown::Both);
    }
}

/// A connection to a [`Speaker`].
#[derive(Debug)]
pub struct Conversation {
    /// Who answered.
    pub name: String,
    /// Whom they see.
    pub peer: IpAddr,
    stream: TcpStream,
}

impl Conversation {
    /// Connects from a network.
    pub fn begin(network: &File, speaker: impl Into<SocketAddr>) -> Result<Self> {
        let speaker = speaker.into();
        let begin = || {
            let mut stream = TcpStream::connect_timeout(&speaker, IMPATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut text = Vec::new();
            while !text.ends_with(b"\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                text.extend(byte);
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            let (name, peer) = text.trim().split_once(' ').context("a name and an address")?;
            Ok(Self { name: name.to_owned(), peer: peer.parse()?, stream })
        };
        inside(network, begin).with_context(|| format!("connect to {speaker}"))
    }

    /// It still goes on.
    pub fn goes_on(&mut self) -> Result<()> {
        self.stream.write_all(b"?")?;
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        ensure!(byte == *b"?", "{byte:?}");
        Ok(())
    }
}

/// Whoever is asked says no at once.
pub fn refused(network: &File, at: impl Into<SocketAddr>) -> Result<()> {
    let at = at.into();
    let answer = inside(network, || Ok(TcpStream::connect_timeout(&at, PATIENCE)))?;
    match answer {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        answer => Err(anyhow!("{at}: {answer:?}")),
    }
}

/// The name of the [`Speaker`] that answers a datagram, which is sent again as long as nobody does.
pub fn name_by_datagram(network: &File, speaker: impl Into<SocketAddr>) -> Result<String> {
    let text = answer_by_datagram(network, speaker.into())?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// Whom a mirror sees where somebody connects to it from a network.
pub fn seen(network: &File, mirror: impl Into<SocketAddr>) -> Result<IpAddr> {
    let mirror = mirror.into();
    inside(network, || look(mirror, PATIENCE)).with_context(|| format!("connect to {mirror}"))
}

/// Nobody answers there.
pub fn unreachable(network: &File, mirror: impl Into<SocketAddr>) -> Result<()> {
    let mirror = mirror.into();
    let answer = inside(network, || Ok(look(mirror, IMPATIENCE)))?;
    ensure!(answer.is_err(), "{mirror} answers: {answer:?}");
    Ok(())
}

fn look(mirror: SocketAddr, patience: Duration) -> Result<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&mirror, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.parse().with_context(|| format!("`{text}` is no address"))
}

/// The same by a datagram, which is sent again as long as nobody answers.
pub fn seen_by_datagram(network: &File, mirror: impl Into<SocketAddr>) -> Result<IpAddr> {
    let text = answer_by_datagram(network, mirror.into())?;
    text.parse().with_context(|| format!("`{text}` is no address"))
}

fn answer_by_datagram(network: &File, mirror: SocketAddr) -> Result<String> {
    inside(network, || {
        let local: SocketAddr =
            if mirror.is_ipv4() { ([0; 4], 0).into() } else { ([0_u8; 16], 0).into() };
        let socket = UdpSocket::bind(local)?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        let mut buffer = [0; 64];
        for _ in 0..40 {
            socket.send_to(b"?", mirror)?;
            if let Ok((len, _)) = socket.recv_from(&mut buffer) {
                return Ok(String::from_utf8_lossy(&buffer[..len]).into_owned());
            }
        }
        Err(anyhow!("no answer"))
    })
    .with_context(|| format!("ask {mirror} by UDP"))
}
