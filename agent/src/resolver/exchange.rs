//! Asks others one question: each in turn, by datagrams from a port that the kernel draws, under a number
//! that we do; the rest by TCP.
//!
//! Who did not answer in time may still do so while the next is asked: lines of boards are slow.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use domain::base::iana::Rcode;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection;
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
    /// Somebody is there, whose answer to this could not be had, or not all of it.
    Partly(SocketAddr),
    /// Nobody did.
    Failed,
}

/// Asks; `whole` where the answer must not be cut.
pub(super) async fn ask(servers: &[SocketAddr], question: &Question, whole: bool) -> Outcome {
    let (mut outcome, mut alive) = (pin!(tries(servers, question, whole)), pin!(alive(servers)));
    let mut there = None;
    let mut looked = false;
    loop {
        tokio::select! {
            outcome = &mut outcome => return match (outcome, there) {
                (Outcome::Failed, Some(server)) => Outcome::Partly(server),
                (outcome, _) => outcome,
            },
            found = &mut alive, if !looked => (there, looked) = (found, true),
        }
    }
}

/// Somebody who answers what every server can, once the first had its time: that nobody answers one question
/// does not mean that nobody is there.
async fn alive(servers: &[SocketAddr]) -> Option<SocketAddr> {
    sleep(TRY).await;
    let root = Question::of_root();
    let mut asked = Vec::new();
    for server in servers {
        asked.extend(send(*server, &root).await);
    }
    receive(&mut asked, &root).await.map(|(_, server)| server)
}

async fn tries(servers: &[SocketAddr], question: &Question, whole: bool) -> Outcome {
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
    connection::write(&mut stream, &query).await?;
    let packet = connection::read(&mut stream, LONGEST).await?;
    Reply::read(&packet, id, question).map_err(|_| io::Error::other("an answer to something else"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::base::Name;

    /// A server that answers what it is asked of the root, where it `lives`, and nothing else.
    async fn server(lives: bool) -> SocketAddr {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut packet = [0; 512];
            loop {
                let (len, from) = socket.recv_from(&mut packet).await.unwrap();
                // Behind the header: the root is a label of no bytes.
                if lives && packet[12] == 0 {
                    packet[2] |= 0x80;
                    socket.send_to(&packet[..len], from).await.unwrap();
                }
            }
        });
        address
    }

    #[tokio::test(start_paused = true)]
    async fn one_name_that_nobody_answers_does_not_mean_that_nobody_is_there() {
        let name = Name::vec_from_str("nobody.knows").unwrap();
        let question = Question { name, ..Question::of_root() };
        let (dead, living) = (server(false).await, server(true).await);
        let begin = Instant::now();
        let outcome = ask(&[dead, living], &question, false).await;
        assert!(matches!(outcome, Outcome::Partly(server) if server == living));
        assert_eq!(begin.elapsed(), 2 * TRY, "it takes no longer for that");
        assert!(matches!(ask(&[dead], &question, false).await, Outcome::Failed));
    }
}
