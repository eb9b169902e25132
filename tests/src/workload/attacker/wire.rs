//! Raw sockets.

use std::env;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::kernel::{BIND, RECVFROM, SENDTO, SETSOCKOPT, SOCKET, call, name_of};

/// What the host says, and what this container says to itself; `WORD` is in nobody else's.
fn words() -> io::Result<[Vec<u8>; 2]> {
    let word = env::var("WORD").map_err(io::Error::other)?;
    Ok(["host", "self"].map(|who| format!("{who} {word}").into_bytes()))
}

/// Hears every packet of every interface there is, until there is a file `/enough`; then says
/// something to itself until it hears that, and ends.
pub fn sniff() -> io::Result<()> {
    const ALL: usize = 0x0300; // ETH_P_ALL, in network order
    let socket = call(SOCKET, &[17, 3, ALL])?;
    // A tenth of a second, then it looks for the file again.
    let patience = [0_u64, 100_000];
    call(SETSOCKOPT, &[socket, 1, 20, patience.as_ptr().addr(), 16])?;
    let interfaces = fs::read_to_string("/proc/net/dev")?;
    let names = interfaces.lines().skip(2).filter_map(|line| line.split(':').next());
    println!("interfaces {}", names.map(str::trim).collect::<Vec<_>>().join(","));
    // Each of the host's by its number, then all at once. The first is everybody's own.
    let reached = (2..64)
        .find(|number| call(BIND, &[socket, address_of(*number).as_ptr().addr(), 20]).is_ok());
    println!("bound {}", reached.map_or_else(|| "nothing".into(), |number| format!("{number}")));
    call(BIND, &[socket, address_of(0).as_ptr().addr(), 20])?;
    fs::write("/listening", "")?;
    let [host, own] = words()?;
    let mut packet = vec![0_u8; 65536];
    let (mut heard, mut asked) = (false, None::<Instant>);
    loop {
        let received = call(RECVFROM, &[socket, packet.as_mut_ptr().addr(), packet.len(), 0, 0, 0]);
        let packet = &packet[..received.unwrap_or(0)];
        let has = |word: &[u8]| packet.windows(word.len()).any(|part| part == word);
        heard |= has(&host);
        if has(&own) {
            println!("heard the host: {heard}");
            return Ok(());
        }
        // Where much is said, a word may be lost.
        let late = asked.is_none_or(|asked| asked.elapsed() > Duration::from_millis(100));
        if late && Path::new("/enough").exists() {
            asked = Some(Instant::now());
            UdpSocket::bind("127.0.0.1:0")?.send_to(&own, "127.0.0.1:9")?;
        }
    }
}

/// `sockaddr_ll`: the interface of a number.
fn address_of(interface: u32) -> [u8; 20] {
    let mut address = [0; 20];
    address[..2].copy_from_slice(&17_u16.to_ne_bytes());
    address[2..4].copy_from_slice(&0x0300_u16.to_ne_bytes());
    address[4..8].copy_from_slice(&interface.to_ne_bytes());
    address
}

/// Sends a datagram with a header that it made itself.
pub fn knock(address: &str) -> io::Result<()> {
    let target: std::net::SocketAddrV4 = address.parse().map_err(io::Error::other)?;
    let [word, _] = words()?;
    let udp = call(SOCKET, &[2, 3, 17])?;
    println!("socket done");
    let len = u16::try_from(8 + word.len()).expect("a short word");
    let mut datagram = Vec::new();
    datagram.extend(4000_u16.to_be_bytes());
    datagram.extend(target.port().to_be_bytes());
    datagram.extend(len.to_be_bytes());
    // No checksum.
    datagram.extend([0, 0]);
    datagram.extend(word);
    let mut to = [0_u8; 16];
    to[..2].copy_from_slice(&2_u16.to_ne_bytes());
    to[4..8].copy_from_slice(&target.ip().octets());
    let sent =
        call(SENDTO, &[udp, datagram.as_ptr().addr(), datagram.len(), 0, to.as_ptr().addr(), 16]);
    println!("sent {}", sent.map_or_else(|error| name_of(&error), |_| "done".into()));
    Ok(())
}
