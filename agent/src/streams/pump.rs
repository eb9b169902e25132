//! Carries bytes between a peer and something on this node, in both directions.

use std::future::pending;
use std::io;
use std::time::Duration;

use mote_protocol::command::WindowSize;
use mote_protocol::stream::{Allowance, StreamPart};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::{BLOCK, Gone, Voice};

/// Bytes that a pipe can hold at most: `fs.pipe-max-size`. No more is read of what has ended.
const PIPE: usize = 1 << 20;

/// How the peer's data ended.
#[derive(Debug)]
pub(super) enum Taken {
    /// It said that no more follows, and all of it was written.
    All,
    /// It cannot be written.
    Failed(io::Error),
    /// It is gone.
    Gone(Gone),
}

/// Writes what the peer says, and grants it more for what was written.
pub(super) async fn take_in(
    said: &mut mpsc::Receiver<StreamPart>,
    mut to: impl AsyncWrite + Unpin,
    voice: &mut Voice,
    resize: impl Fn(WindowSize),
) -> Taken {
    let mut allowance = Allowance::new(0);
    let mut grant = allowance.used(0);
    loop {
        if let Some(credit) = grant.take()
            && let Err(gone) = voice.say(StreamPart::Credit(credit)).await
        {
            return Taken::Gone(gone);
        }
        match said.recv().await {
            Some(part @ StreamPart::Data(_)) => {
                let cost = part.cost();
                let StreamPart::Data(bytes) = part else { continue };
                if let Err(error) = to.write_all(&bytes).await {
                    return Taken::Failed(error);
                }
                grant = allowance.used(cost);
            }
            Some(StreamPart::Resize(size)) => resize(size),
            Some(StreamPart::Eof) => {
                return match to.shutdown().await {
                    Ok(()) => Taken::All,
                    Err(error) => Taken::Failed(error),
                };
            }
            // Nothing else is said to a stream that goes both ways.
            Some(_) => {}
            None => return Taken::Gone(Gone::Lost),
        }
    }
}

/// Takes what the peer says to who does not read, and grants it nothing for that.
pub(super) async fn pass_over(
    said: &mut mpsc::Receiver<StreamPart>,
    resize: impl Fn(WindowSize),
) -> Gone {
    while let Some(part) = said.recv().await {
        if let StreamPart::Resize(size) = part {
            resize(size);
        }
    }
    Gone::Lost
}

/// How long what has ended may keep its output open, before that is left alone: another process may
/// hold it.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) ended: watch::Receiver<bool>,
    pub(super) last_words: Duration,
}

impl Over {
    async fn wait(&mut self) {
        if self.ended.wait_for(|over| *over).await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Says what is read, to its end. A reader that fails has come to its end.
pub(super) async fn pour_out(
    mut from: impl AsyncRead + Unpin,
    wrap: fn(Vec<u8>) -> StreamPart,
    voice: &mut Voice,
    mut over: Option<Over>,
) -> Result<io::Result<()>, Gone> {
    let mut buffer = vec![0; BLOCK];
    // Where it has ended: until when something may come, and how much of it.
    let mut last = None;
    loop {
        let read = match (last, &mut over) {
            // What is there is read, also where the peer was slow to take what came before.
            (Some((until, _)), _) => match timeout_at(until, from.read(&mut buffer)).await {
                Ok(read) => read,
                Err(_) => return Ok(Ok(())),
            },
            (None, None) => from.read(&mut buffer).await,
            (None, Some(over)) => tokio::select! {
                biased;
                () = over.wait() => {
                    last = Some((Instant::now() + over.last_words, PIPE));
                    continue;
                }
                read = from.read(&mut buffer) => read,
            },
        };
        let len = match read {
            Ok(0) => return Ok(Ok(())),
            Ok(len) => len,
            Err(error) => return Ok(Err(error)),
        };
        voice.say(wrap(buffer.get(..len).unwrap_or_default().to_vec())).await?;
        match &mut last {
            Some((_, left)) if *left <= len => return Ok(Ok(())),
            Some((_, left)) => *left -= len,
            None => {}
        }
    }
}
