//! The task that answers: it waits for packets, and does nothing until one comes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::netdevice;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::connection::{self, Asked, LONGEST};
use super::desk::{Desk, Errand, Next};
use super::door::{NODE, Open, PODS, Side};
use super::exchange::{Outcome, ask};
use super::turns::Turns;
use super::upstream::servers;
use super::zone::Zone;
use crate::network::link;
use crate::node::readings::NameFiles;
use crate::services::Table;
use crate::sys::datagram;

/// Connections at the same time, and of one pod.
const MOST_CONNECTIONS: usize = 16;
const MOST_OF_ONE: usize = 4;

/// Datagrams that are taken in before one is answered, from each door.
const AT_ONCE: usize = 64;

/// How long the node's files about names are taken for what they were. They are looked at when somebody
/// asks for what they tell of, as C libraries do.
const FRESH: Duration = Duration::from_secs(1);

/// How long an agent that has just come waits until it knows who is ready.
const UNSETTLED: Duration = Duration::from_secs(10);

/// Pause after the kernel refused what should not fail.
const PAUSE: Duration = Duration::from_secs(1);

/// A way back to who asked.
enum Back {
    Datagram(Side, SocketAddrV4),
    Connection(oneshot::Sender<Vec<u8>>),
}

/// One door, in the async runtime.
struct Door {
    side: Side,
    udp: UdpSocket,
    tcp: TcpListener,
}

/// A question that came as a datagram.
struct Datagram {
    side: Side,
    from: SocketAddrV4,
    interface: u32,
    packet: Vec<u8>,
}

/// What came through a door.
enum Came {
    /// Datagrams.
    Questions,
    Connection(TcpStream, IpAddr),
    /// Somebody who may not ask, or a failure that was slept over.
    Nothing,
}

impl Door {
    fn new(door: super::door::Door) -> io::Result<Self> {
        let super::door::Door { side, udp, tcp } = door;
        // Those that systemd kept are what whoever made them made them.
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
        Ok(Self { side, udp, tcp })
    }

    /// Cancel-safe.
    async fn next(&self) -> Came {
        let came = tokio::select! {
            came = self.udp.readable() => came.map(|()| Came::Questions),
            came = self.connection() => came,
        };
        match came {
            Ok(came) => came,
            Err(error) => {
                debug!(%error, "take a question");
                sleep(PAUSE).await;
                Came::Nothing
            }
        }
    }

    /// Takes in the datagrams that came, for as many as there is time at once.
    fn take_in(&self, turns: &mut Turns<Datagram>) -> io::Result<()> {
        let mut buffer = [0; LONGEST];
        for _ in 0..AT_ONCE {
            let receive = || datagram::receive(self.udp.as_fd(), &mut buffer);
            let received = match self.udp.try_io(Interest::READABLE, receive) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                received => received?,
            };
            let (side, from, interface) = (self.side, received.from, received.interface);
            // One that is longer is none.
            if let Some(packet) = buffer.get(..received.len) {
                let question = Datagram { side, from, interface, packet: packet.to_vec() };
                turns.add(side.asker((*from.ip()).into()), question);
            }
        }
        Ok(())
    }

    async fn connection(&self) -> io::Result<Came> {
        let (stream, peer) = self.tcp.accept().await?;
        let admitted = self.side.admits_peer(self.udp.as_fd(), peer.ip());
        let asker = self.side.asker(peer.ip());
        Ok(if admitted { Came::Connection(stream, asker) } else { Came::Nothing })
    }
}

/// The resolver of this node's pods.
pub struct Resolver {
    pods: Door,
    node: Door,
    desk: Desk<Back>,
    tables: watch::Receiver<Arc<Table>>,
    files: NameFiles,
    looked: Option<(Instant, Vec<Stamp>)>,
    errands: JoinSet<(Errand, Outcome)>,
    connections: JoinSet<IpAddr>,
    counts: BTreeMap<IpAddr, usize>,
    turns: Turns<Datagram>,
}

impl Resolver {
    /// Behind open doors, with the services of each moment, whose names end in a domain; `files` tell whom the
    /// node asks.
    pub fn new(
        open: Open,
        tables: watch::Receiver<Arc<Table>>,
        (domain, files): (String, NameFiles),
    ) -> io::Result<Self> {
        let desk = Desk::new(Zone::new(&domain), link::namespace_of);
        Ok(Self {
            pods: Door::new(open.pods)?,
            node: Door::new(open.node)?,
            desk,
            tables,
            files,
            looked: None,
            errands: JoinSet::new(),
            connections: JoinSet::new(),
            counts: BTreeMap::new(),
            turns: Turns::default(),
        })
    }

    /// Answers for as long as the agent runs.
    pub async fn run(mut self) {
        // Who asks meanwhile waits: that a pod is not known to be ready yet does not mean that it is not.
        let _ = timeout(UNSETTLED, self.tables.wait_for(|table| table.settled)).await;
        self.tables.mark_changed();
        let (to_desk, mut from_connections) = mpsc::channel::<Asked>(MOST_CONNECTIONS);
        loop {
            for door in [&self.pods, &self.node] {
                if let Err(error) = door.take_in(&mut self.turns) {
                    debug!(%error, "take questions in");
                    sleep(PAUSE).await;
                }
            }
            // One at a time: all else that the agent does has its turn, too, however much comes.
            if self.answer_next() {
                yield_now().await;
            }
            let more = !self.turns.is_empty();
            tokio::select! {
                () = yield_now(), if more => {}
                came = self.pods.next() => self.came(came, &to_desk),
                came = self.node.next() => self.came(came, &to_desk),
                Some(Asked { packet, asker, answer }) = from_connections.recv() => {
                    self.take(&packet, asker, Back::Connection(answer));
                }
                Some(Ok((errand, outcome))) = self.errands.join_next() => {
                    for (back, answer) in self.desk.landed(&errand, outcome, Instant::now()) {
                        send(&self.pods, &self.node, back, answer);
                    }
                }
                Some(Ok(asker)) = self.connections.join_next() => self.ended(asker),
            }
        }
    }

    /// Whether somebody asked something.
    fn answer_next(&mut self) -> bool {
        let Some(Datagram { side, from, interface, packet }) = self.turns.next() else {
            return false;
        };
        let door = if side == Side::Pods { &self.pods } else { &self.node };
        if side.admits(door.udp.as_fd(), *from.ip(), interface) {
            let asker = side.asker((*from.ip()).into());
            self.take(&packet, asker, Back::Datagram(side, from));
        }
        true
    }

    fn came(&mut self, came: Came, desk: &mpsc::Sender<Asked>) {
        match came {
            // They are taken in before anything else.
            Came::Questions | Came::Nothing => {}
            Came::Connection(stream, asker) => {
                let count = self.counts.get(&asker).copied().unwrap_or_default();
                // One too many is closed at once.
                if self.connections.len() < MOST_CONNECTIONS && count < MOST_OF_ONE {
                    self.counts.insert(asker, count + 1);
                    let desk = desk.clone();
                    self.connections.spawn_local(async move {
                        connection::serve(stream, asker, desk).await;
                        asker
                    });
                }
            }
        }
    }

    fn ended(&mut self, asker: IpAddr) {
        if let Some(count) = self.counts.get_mut(&asker) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&asker);
            }
        }
    }

    fn take(&mut self, packet: &[u8], asker: IpAddr, back: Back) {
        let now = Instant::now();
        self.look(now);
        if self.tables.has_changed().unwrap_or(false) {
            self.desk.set_table(&self.tables.borrow_and_update());
        }
        let tcp = matches!(back, Back::Connection(_));
        match self.desk.take(packet, (asker, tcp), back, now) {
            Next::Wait => {}
            Next::Answer(back, answer) => send(&self.pods, &self.node, back, answer),
            Next::Ask(errand) => {
                self.errands.spawn_local(async move {
                    let outcome = ask(&errand.servers, &errand.question, errand.flight.1).await;
                    (errand, outcome)
                });
            }
        }
    }

    /// Reads whom to ask, where the files that tell it are others than before.
    fn look(&mut self, now: Instant) {
        let known = match &self.looked {
            Some((at, _)) if now.saturating_duration_since(*at) < FRESH => return,
            Some((_, stamps)) => Some(stamps),
            None => None,
        };
        let stamps: Vec<Stamp> = self.files.paths().map(Stamp::of).into();
        if known != Some(&stamps) {
            let own = [IpAddr::from(PODS), IpAddr::from(NODE)];
            let interface = |name: &str| netdevice::name_to_index(&self.pods.udp, name).ok();
            let servers = servers(&self.files.read(), &own, interface);
            debug!(?servers, "names are asked for here");
            self.desk.set_servers(servers);
        }
        self.looked = Some((now, stamps));
    }
}

/// Who asked hears it, if there is room: whoever waits asks again.
fn send(pods: &Door, node: &Door, back: Back, answer: Vec<u8>) {
    match back {
        Back::Datagram(side, to) => {
            let door = if side == Side::Pods { pods } else { node };
            if let Err(error) = door.udp.try_send_to(&answer, to.into()) {
                debug!(%error, "answer a question");
            }
        }
        Back::Connection(answered) => drop(answered.send(answer)),
    }
}

/// What tells one content of a file from another.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stamp(Option<(u64, u64, i64, i64, u64)>);

impl Stamp {
    fn of(path: &Path) -> Self {
        let of = |file: fs::Metadata| {
            (file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len())
        };
        Self(fs::metadata(path).ok().map(of))
    }
}
