//! A connection into a pod, for somebody who connects elsewhere.
//!
//! ```text
//!   dial ---> both directions, each to its end ---> End(Completed)
//!     |              |
//!     |              +-- an error, or the peer is gone ---> reset: nobody takes what came for all of it
//!     +-- refused ---> End(Failed)
//! ```

use std::io;
use std::time::Duration;

use mote_protocol::stream::StreamPart;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::pump::{Taken, pour_out, take_in};
use super::{Gone, Peer, ending};
use crate::handler::{Goal, Handlers};

/// Time for a connection. The pod's own loopback answers at once, unless its backlog is full.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a connection did not come to its end.
enum Broken {
    Gone(Gone),
    Failed(io::Error),
}

impl Broken {
    fn ending(self) -> (&'static str, String) {
        match self {
            Self::Gone(gone) => ending(gone),
            Self::Failed(error) => ("Failed", error.to_string()),
        }
    }
}

/// Connects, and serves the connection to its end, or until the peer is gone.
pub async fn serve<H: Handlers>(handlers: &H, goal: Goal, mut peer: Peer) {
    let mut listening = peer.voice.clone();
    let connected = tokio::select! {
        biased;
        gone = listening.gone() => return peer.voice.end(ending(gone)).await,
        connected = timeout(PATIENCE, handlers.connect(goal)) => connected,
    };
    let end = match connected {
        Ok(Ok(stream)) => match run(stream, &mut peer).await {
            Ok(()) => ("Completed", String::new()),
            Err(broken) => broken.ending(),
        },
        Ok(Err(why)) => ("Failed", why),
        Err(_) => ("Failed", format!("dial tcp 127.0.0.1:{}: i/o timeout", goal.port)),
    };
    peer.voice.end(end).await;
}

async fn run(mut stream: TcpStream, peer: &mut Peer) -> Result<(), Broken> {
    // What somebody types should not wait for more.
    let _ = stream.set_nodelay(true);
    let (mut out, mut granting, mut listening) =
        (peer.voice.clone(), peer.voice.clone(), peer.voice.clone());
    let said = &mut peer.said;
    let (from, to) = stream.split();
    let inputs = async {
        match take_in(said, to, &mut granting, |_| {}).await {
            Taken::All => Ok(()),
            Taken::Failed(error) => Err(Broken::Failed(error)),
            Taken::Gone(gone) => Err(Broken::Gone(gone)),
        }
    };
    let outputs = async {
        match pour_out(from, StreamPart::Data, &mut out, None).await {
            Ok(Ok(())) => out.say(StreamPart::Eof).await.map_err(Broken::Gone),
            Ok(Err(error)) => Err(Broken::Failed(error)),
            Err(gone) => Err(Broken::Gone(gone)),
        }
    };
    let served = tokio::select! {
        biased;
        gone = listening.gone() => Err(Broken::Gone(gone)),
        both = async { tokio::try_join!(inputs, outputs) } => both.map(drop),
    };
    if served.is_err() {
        // Closed as it is, what came so far would look like all.
        let _ = stream.set_zero_linger();
    }
    served
}
