//! Carries bytes between a peer and something on this node, in both directions.

use std::future::pending;
use std::io;
use std::time::Duration;

use mote_protocol::command::WindowSize;
use mote_protocol::limits::STREAM_WINDOW;
use mote_protocol::stream::StreamPart;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{BLOCK, Gone, Voice};

/// What the peer may send: granted anew where a quarter of a window is used up. For each part it would
/// double the messages; where more is used up, a sender on a slow line has come to a halt by then.
#[derive(Debug, Default)]
struct Allowance {
    granted: u64,
    used: u64,
}

impl Allowance {
    /// So much was used up; gives what is granted now, where that is more.
    fn used(&mut self, cost: u64) -> Option<u64> {
        self.used = self.used.saturating_add(cost);
        let open = self.granted.saturating_sub(self.used);
        if open > STREAM_WINDOW / 4 * 3 {
            return None;
        }
        self.granted = self.used + STREAM_WINDOW;
        Some(self.granted)
    }
}

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
    let mut allowance = Allowance::default();
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
    loop {
        let read = match &mut over {
            None => from.read(&mut buffer).await,
            Some(over) => tokio::select! {
                biased;
                read = from.read(&mut buffer) => read,
                () = over.wait() => match timeout(over.last_words, from.read(&mut buffer)).await {
                    Ok(read) => read,
                    Err(_) => return Ok(Ok(())),
                },
            },
        };
        let len = match read {
            Ok(0) => return Ok(Ok(())),
            Ok(len) => len,
            Err(error) => return Ok(Err(error)),
        };
        voice.say(wrap(buffer.get(..len).unwrap_or_default().to_vec())).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_window_is_always_open() {
        let mut allowance = Allowance::default();
        let mut granted = allowance.used(0).expect("a window");
        assert_eq!(granted, STREAM_WINDOW);
        let (mut used, mut grants) = (0, 0);
        for _ in 0..1000 {
            used += 1000;
            if let Some(more) = allowance.used(1000) {
                (granted, grants) = (more, grants + 1);
            }
            assert!((STREAM_WINDOW / 4 * 3..=STREAM_WINDOW).contains(&(granted - used)));
        }
        assert!(grants < 80, "{grants}");
    }
}
