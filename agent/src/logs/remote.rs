//! A log that an operator reads through the broker: text becomes frames, as far as they are
//! granted.
//!
//! ```text
//!   LogReader --> credit --> steward (a short queue) --> outbox --> broker --> operator
//!                   ^                                                            |
//!                   +------------------------ stream/{id}/in --------------------+
//! ```
//! Each arrow waits for the next: an operator that is slow, or a link that is, holds up the reading
//! of the file, and nothing grows.

use std::time::Duration;

use mote_protocol::extension::Extensions;
use mote_protocol::limits::{MAX_STREAM_DATA, STREAM_IDLE_S};
use mote_protocol::name::RequestId;
use mote_protocol::status::{Message, Reason};
use mote_protocol::stream::{StreamFrame, StreamPart, cost};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::LogReader;
use crate::log::Chain;

/// How long an operator may be silent.
const IDLE: Duration = Duration::from_secs(STREAM_IDLE_S);

/// What an operator has said on a stream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// What may be sent in all.
    pub credit: u64,
    /// How often it was heard.
    pub heard: u64,
    /// It wants no more.
    pub closed: bool,
}

impl Granted {
    /// Takes in a frame of the operator.
    pub fn hear(&mut self, part: &StreamPart) {
        self.heard = self.heard.wrapping_add(1);
        match part {
            StreamPart::Credit(credit) => self.credit = self.credit.max(*credit),
            StreamPart::End { .. } => self.closed = true,
            // There is nothing to say to a log.
            StreamPart::Data(_) => {}
        }
    }
}

/// A frame on its way to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Which stream.
    pub id: RequestId,
    /// The frame.
    pub frame: StreamFrame,
}

/// The sending end of a stream.
#[derive(Debug)]
pub struct Sender {
    id: RequestId,
    frames: mpsc::Sender<Outgoing>,
    granted: watch::Receiver<Granted>,
    heard: Instant,
    sent: u64,
    sequence: u64,
}

/// Why nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    Closed,
    Silent,
    /// The connection to the broker is gone, or the agent ends: nobody can be told.
    Lost,
}

impl Sender {
    /// A stream on which nothing was sent.
    pub fn new(
        id: RequestId,
        frames: mpsc::Sender<Outgoing>,
        granted: watch::Receiver<Granted>,
    ) -> Self {
        Self { id, frames, granted, heard: Instant::now(), sent: 0, sequence: 0 }
    }

    /// Sends a log to its end, or until nobody reads it.
    pub async fn serve(mut self, mut log: LogReader) {
        let (reason, message) = loop {
            let text = tokio::select! {
                biased;
                gone = self.gone() => break ending(gone),
                text = log.next() => text,
            };
            match text {
                Ok(Some(text)) => {
                    if let Err(gone) = self.send(&text).await {
                        break ending(gone);
                    }
                }
                Ok(None) => break ("Completed", String::new()),
                Err(error) => break ("Failed", Chain(&error).to_string()),
            }
        };
        let end = StreamPart::End { reason: Reason::new(reason), message: Message::new(&message) };
        // What is lost with the connection needs no end.
        let _ = self.put(end).await;
    }

    /// Waits until the operator is gone.
    async fn gone(&mut self) -> Gone {
        loop {
            let granted = *self.granted.borrow_and_update();
            if granted.closed {
                return Gone::Closed;
            }
            if let Err(gone) = self.listen().await {
                return gone;
            }
        }
    }

    /// Waits until the operator is heard. Cancel-safe.
    async fn listen(&mut self) -> Result<(), Gone> {
        tokio::select! {
            changed = self.granted.changed() => {
                self.heard = Instant::now();
                changed.map_err(|_| Gone::Lost)
            }
            () = sleep_until(self.heard + IDLE) => Err(Gone::Silent),
        }
    }

    async fn send(&mut self, text: &[u8]) -> Result<(), Gone> {
        for piece in text.chunks(MAX_STREAM_DATA) {
            let price = cost(piece.len());
            loop {
                let granted = *self.granted.borrow_and_update();
                if granted.closed {
                    return Err(Gone::Closed);
                }
                if granted.credit >= self.sent.saturating_add(price) {
                    break;
                }
                self.listen().await?;
            }
            self.sent += price;
            self.put(StreamPart::Data(piece.to_vec())).await?;
        }
        Ok(())
    }

    async fn put(&mut self, part: StreamPart) -> Result<(), Gone> {
        let (sequence, extensions) = (self.sequence, Extensions::default());
        self.sequence += 1;
        let frame = StreamFrame { sequence, part, extensions };
        let outgoing = Outgoing { id: self.id.clone(), frame };
        self.frames.send(outgoing).await.map_err(|_| Gone::Lost)
    }
}

fn ending(gone: Gone) -> (&'static str, String) {
    match gone {
        Gone::Closed | Gone::Lost => ("Closed", String::new()),
        Gone::Silent => {
            ("IdleTimeout", format!("nothing was heard from the reader for {STREAM_IDLE_S} s"))
        }
    }
}
