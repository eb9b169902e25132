//! Who is at the other end of a stream, as the task that serves it sees them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::limits::STREAM_IDLE_S;
use mote_protocol::name::RequestId;
use mote_protocol::status::{Message, Reason};
use mote_protocol::stream::{Broken, StreamPart};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// How long a peer may be silent.
const IDLE: Duration = Duration::from_secs(STREAM_IDLE_S);

/// What a peer has said on a stream so far, beside its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// What may be sent in all.
    pub credit: u64,
    /// It wants no more.
    pub closed: bool,
    /// It cannot be understood any more.
    pub broken: Option<Broken>,
}

impl Granted {
    /// Takes in a frame of the peer.
    pub fn hear(&mut self, part: &StreamPart) {
        match part {
            StreamPart::Credit(credit) => self.credit = self.credit.max(*credit),
            StreamPart::End { .. } => self.closed = true,
            _ => {}
        }
    }

    fn gone(&self) -> Option<Gone> {
        let broken = self.broken.map(Gone::Broken);
        broken.or_else(|| self.closed.then_some(Gone::Closed))
    }
}

/// A part on its way to a peer; it is counted on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Which stream.
    pub id: RequestId,
    /// What it carries.
    pub part: StreamPart,
}

/// Why nobody is at the other end any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It said so.
    Closed,
    /// It was not heard for [`STREAM_IDLE_S`].
    Silent,
    /// Something of what it said is missing, or it said more than it may.
    Broken(Broken),
    /// The connection to the broker is gone, or the agent ends: nobody can be told.
    Lost,
}

/// A peer that says something, too.
#[derive(Debug)]
pub struct Peer {
    /// What it is told.
    pub voice: Voice,
    /// Its data, where that ends, and the size of its terminal.
    pub said: mpsc::Receiver<StreamPart>,
}

/// The way to a peer. Its copies share one credit.
#[derive(Clone, Debug)]
pub struct Voice {
    id: RequestId,
    parts: mpsc::Sender<Outgoing>,
    granted: watch::Receiver<Granted>,
    sent: Rc<Cell<u64>>,
}

impl Voice {
    /// To somebody who was told nothing so far.
    pub fn new(
        id: RequestId,
        parts: mpsc::Sender<Outgoing>,
        granted: watch::Receiver<Granted>,
    ) -> Self {
        Self { id, parts, granted, sent: Rc::default() }
    }

    /// Says something, as soon as it may be.
    pub async fn say(&mut self, part: StreamPart) -> Result<(), Gone> {
        let price = part.cost();
        if price > 0 {
            self.wait_for_credit(price).await?;
        }
        self.put(part).await
    }

    async fn wait_for_credit(&mut self, price: u64) -> Result<(), Gone> {
        loop {
            let granted = *self.granted.borrow_and_update();
            if let Some(gone) = granted.gone() {
                return Err(gone);
            }
            let sent = self.sent.get().saturating_add(price);
            if granted.credit >= sent {
                self.sent.set(sent);
                return Ok(());
            }
            self.granted.changed().await.map_err(|_| Gone::Lost)?;
        }
    }

    /// Says that nothing follows. What is lost with the connection needs no end.
    pub async fn end(&self, (reason, message): (&str, String)) {
        let (reason, message) = (Reason::new(reason), Message::new(&message));
        let _ = self.put(StreamPart::End { reason, message }).await;
    }

    /// Waits until the peer is gone. Silence counts from the call.
    pub async fn gone(&mut self) -> Gone {
        let mut heard = Instant::now();
        loop {
            if let Some(gone) = self.granted.borrow_and_update().gone() {
                return gone;
            }
            tokio::select! {
                changed = self.granted.changed() => match changed {
                    Ok(()) => heard = Instant::now(),
                    Err(_) => return Gone::Lost,
                },
                () = sleep_until(heard + IDLE) => return Gone::Silent,
            }
        }
    }

    async fn put(&self, part: StreamPart) -> Result<(), Gone> {
        let outgoing = Outgoing { id: self.id.clone(), part };
        self.parts.send(outgoing).await.map_err(|_| Gone::Lost)
    }
}

/// How a stream ends whose peer is gone: a reason, and why for a person.
pub fn ending(gone: Gone) -> (&'static str, String) {
    match gone {
        Gone::Closed | Gone::Lost => ("Closed", String::new()),
        Gone::Silent => {
            ("IdleTimeout", format!("nothing was heard from the reader for {STREAM_IDLE_S} s"))
        }
        Gone::Broken(broken) => ("Failed", broken.to_string()),
    }
}
