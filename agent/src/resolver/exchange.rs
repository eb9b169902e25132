//! Asks others one question: each in turn, by datagrams from a port that the kernel draws, under a number
//! that we do; the rest by TCP.
//!
//! Who did not answer in time may still do so while the next is asked: lines of boards are slow.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use domain::base::iana::Rcode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::question::Question;
use super::reply::{Reject, Reply};
use super::upstream::query;
use crate::ports::{KernelRandom, Random as _};

/// How long one is waited for before the next is asked. All of it is less than the five seconds after which
/// C libraries ask again.
const TRY: Duration = Duration::from_millis(1500);

/// Times that somebody is asked, with one server or two.
const TRIES: usize = 2;

/// How long an answer by TCP may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Longest answer by TCP that is passed on. Lists of names are not longer, and as many as are under way
/// have room.
const LONGEST: usize = 16 * 1024;

/// Room for a datagram: some send more than they were told.
const DATAGRAM: usize = 4096;

/// Packets that answer something else before a server is not listened to any more.
const MOST_OTHERS: u32 = 32;

/// One server that was asked.
struct Asked {
    server: SocketAddr,
    socket: UdpSocket,
    id: u16,
    others: u32,
}

/// What came of it.
pub(super) enum Outcome {
    /// Somebody answered; who that was.
    Answered(Reply, SocketAddr),
    /// Somebody did, whose whole answer could not be had.
    Partly(SocketAddr),
    /// Nobody did.
    Failed,
}

/// Asks; `whole` where the answer must not be cut.
pub(super) async fn ask(servers: &[SocketAddr], question: &Question, whole: bool) -> Outcome {
    let mut asked: Vec<Asked> = Vec::new();
    let mut poor = None;
    for server in servers.iter().cycle().take(servers.len().max(TRIES)) {
        // Without a route there is no waiting.
        if let Ok(one) = send(*server, question).await {
            asked.push(one);
        }
        let end = Instant::now() + TRY;
        while let Ok(Some((reply, from))) = timeout_at(end, receive(&mut asked, question)).await {
            if reply.is_cut() && whole {
                return match timeout(PATIENCE, by_tcp(from, question)).await {
                    Ok(Ok(whole)) => Outcome::Answered(whole, from),
                    _ => Outcome::Partly(from),
                };
            }
            if helps(reply.rcode()) {
                return Outcome::Answered(reply, from);
            }
            poor = Some((reply, from));
            if asked.is_empty() {
                break;
            }
        }
    }
    poor.map_or(Outcome::Failed, |(reply, from)| Outcome::Answered(reply, from))
}

/// Whether another server would not say anything better.
fn helps(rcode: Rcode) -> bool {
    rcode == Rcode::NOERROR || rcode == Rcode::NXDOMAIN
}

async fn send(server: SocketAddr, question: &Question) -> io::Result<Asked> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From here on the kernel hears nobody else.
    socket.connect(server).await?;
    let id = draw();
    socket.send(&query(question, id)).await?;
    Ok(Asked { server, socket, id, others: 0 })
}

fn draw() -> u16 {
    let [a, b, ..] = KernelRandom.next().to_ne_bytes();
    u16::from_ne_bytes([a, b])
}

/// The next answer of any of these; none once there is nobody left to wait for.
async fn receive(asked: &mut Vec<Asked>, question: &Question) -> Option<(Reply, SocketAddr)> {
    while !asked.is_empty() {
        let place = readable(asked).await;
        let mut buffer = vec![0; DATAGRAM];
        let one = &mut asked[place];
        let server = one.server;
        let read = match one.socket.try_recv(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // Nobody is there, says who is.
            Err(_) => Err(Reject::Unreadable),
            Ok(len) => Reply::read(&buffer[..len], one.id, question),
        };
        match read {
            Err(Reject::Other) if one.others < MOST_OTHERS => one.others += 1,
            Err(_) => drop(asked.swap_remove(place)),
            Ok(reply) => {
                asked.swap_remove(place);
                return Some((reply, server));
            }
        }
    }
    None
}

async fn readable(asked: &[Asked]) -> usize {
    poll_fn(|context| {
        let ready = |one: &Asked| one.socket.poll_recv_ready(context).is_ready();
        asked.iter().position(ready).map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

async fn by_tcp(server: SocketAddr, question: &Question) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let id = draw();
    let query = query(question, id);
    let len = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes()[..], &query].concat()).await?;
    let len = usize::from(stream.read_u16().await?);
    if len > LONGEST {
        return Err(io::Error::other("an answer that is too long"));
    }
    let mut packet = vec![0; len];
    stream.read_exact(&mut packet).await?;
    Reply::read(&packet, id, question).map_err(|_| io::Error::other("an answer to something else"))
}
