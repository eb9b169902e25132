//! Connections of programs here: one task reads, one writes, and what became of it is told.

use std::io;
use std::sync::Arc;

use mote_protocol::limits::MAX_STREAM_DATA;
use mote_protocol::stream::cost;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What happened to a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// Bytes were read; none at their end. The next are read when [`Connection::read_on`] says so.
    Read(Vec<u8>),
    /// What came, at this cost, was written.
    Written(u64),
    /// The program is gone.
    Gone,
}

/// A connection, as whoever passes its bytes on has it.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Arc<TcpStream>,
    on: mpsc::Sender<()>,
    /// Bounded by what the node was granted.
    to: mpsc::UnboundedSender<Vec<u8>>,
    tasks: [AbortHandle; 2],
}

impl Connection {
    /// Begins to read and write; events are told with the connection's number.
    pub(super) fn begin(
        socket: TcpStream,
        number: u64,
        events: &mpsc::Sender<(u64, Event)>,
    ) -> Self {
        // What somebody types should not wait for more.
        let _ = socket.set_nodelay(true);
        let socket = Arc::new(socket);
        let (on, go) = mpsc::channel(1);
        let (to, pieces) = mpsc::unbounded_channel();
        let told = Told { number, events: events.clone() };
        let reader = tokio::spawn(read(Arc::clone(&socket), go, told.clone()));
        let writer = tokio::spawn(write(Arc::clone(&socket), pieces, told));
        let tasks = [reader.abort_handle(), writer.abort_handle()];
        Self { socket, on, to, tasks }
    }

    /// What was read was passed on: more can be read.
    pub(super) fn read_on(&self) {
        // It reads already, or has ended.
        let _ = self.on.try_send(());
    }

    /// Writes bytes; none close this direction.
    pub(super) fn write(&self, bytes: Vec<u8>) {
        // Where it has ended, that is told.
        let _ = self.to.send(bytes);
    }

    /// Ends it so that nobody takes what came so far for all.
    pub(super) fn reset(&self) {
        // It is closed otherwise.
        let _ = self.socket.set_zero_linger();
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Where events of a connection go.
#[derive(Clone)]
struct Told {
    number: u64,
    events: mpsc::Sender<(u64, Event)>,
}

impl Told {
    async fn tell(&self, event: Event) -> Result<(), ()> {
        self.events.send((self.number, event)).await.map_err(drop)
    }
}

/// Reads until the end, or until nobody wants more.
async fn read(socket: Arc<TcpStream>, mut go: mpsc::Receiver<()>, told: Told) {
    let mut buffer = vec![0; MAX_STREAM_DATA];
    loop {
        let event = match one(&socket, Interest::READABLE, || socket.try_read(&mut buffer)).await {
            Ok(len) => Event::Read(buffer.get(..len).unwrap_or_default().to_vec()),
            Err(_) => Event::Gone,
        };
        let over = !matches!(&event, Event::Read(bytes) if !bytes.is_empty());
        if told.tell(event).await.is_err() || over || go.recv().await.is_none() {
            return;
        }
    }
}

/// Writes what comes, until nothing more does.
async fn write(socket: Arc<TcpStream>, mut pieces: mpsc::UnboundedReceiver<Vec<u8>>, told: Told) {
    while let Some(piece) = pieces.recv().await {
        if piece.is_empty() {
            let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Write);
            return;
        }
        let mut rest = piece.as_slice();
        while !rest.is_empty() {
            let written = one(&socket, Interest::WRITABLE, || socket.try_write(rest)).await;
            let Ok(len) = written else {
                let _ = told.tell(Event::Gone).await;
                return;
            };
            rest = rest.get(len..).unwrap_or_default();
        }
        if told.tell(Event::Written(cost(piece.len()))).await.is_err() {
            return;
        }
    }
}

/// Does something once the socket is ready for it.
async fn one(
    socket: &TcpStream,
    interest: Interest,
    mut act: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        socket.ready(interest).await?;
        match act() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}
