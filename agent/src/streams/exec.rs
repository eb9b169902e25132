//! A command that somebody else is attached to.
//!
//! ```text
//!   runs ---> ended: what it printed, Exited, End(Completed)
//!     |
//!     +-- the peer is gone: input and outputs are closed, a terminal is hung up (SIGHUP)
//!             |
//!             +--- 5 s ---> killed, with all that it started
//! ```

use std::time::Duration;

use mote_protocol::command::WindowSize;
use mote_protocol::stream::StreamPart;
use tokio::sync::watch;
use tokio::time::timeout;

use super::pump::{Over, Taken, pass_over, pour_out, take_in};
use super::{GRACE, Peer, ending};
use crate::log::Chain;
use crate::runtime::{AttachRequest, Attached, Runtime};

/// What was printed is in the pipe when the command ends.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// A terminal hands over what was printed a moment after it was, and is hung up by the kernel when the
/// leader of its session ends.
const LAST_WORDS_TTY: Duration = Duration::from_secs(1);

/// Runs a command and serves it to its end, or until the peer is gone.
pub async fn serve<R: Runtime>(runtime: &R, request: &AttachRequest, mut peer: Peer) {
    let mut listening = peer.voice.clone();
    let attached = tokio::select! {
        biased;
        gone = listening.gone() => return peer.voice.end(ending(gone)).await,
        attached = runtime.attach(request) => attached,
    };
    match attached {
        Ok(attached) => run(attached, &mut peer).await,
        Err(error) => peer.voice.end(("Failed", Chain(&error).to_string())).await,
    }
}

/// Serves a command that runs.
pub(super) async fn run(attached: Attached, peer: &mut Peer) {
    let Attached { input, output, error, terminal, mut exit } = attached;
    let resize = |size: WindowSize| {
        if let Some(terminal) = &terminal {
            terminal.resize(size);
        }
    };
    let (tell, ended) = watch::channel(false);
    let last_words = if terminal.is_some() { LAST_WORDS_TTY } else { LAST_WORDS };
    let over = || Some(Over { ended: ended.clone(), last_words });
    let (mut out, mut err, mut granting, mut listening) =
        (peer.voice.clone(), peer.voice.clone(), peer.voice.clone(), peer.voice.clone());
    let outputs = async {
        let errors = async {
            match error {
                Some(error) => pour_out(error, StreamPart::Error, &mut err, over()).await,
                None => Ok(Ok(())),
            }
        };
        // What ends early by an error is told by the command's own end.
        tokio::try_join!(pour_out(output, StreamPart::Data, &mut out, over()), errors).map(drop)
    };
    let said = &mut peer.said;
    let inputs = async {
        if let Some(input) = input {
            match take_in(said, input, &mut granting, &resize).await {
                Taken::Gone(gone) => return gone,
                Taken::All | Taken::Failed(_) => {}
            }
        }
        pass_over(said, &resize).await
    };
    let life = async {
        let code = exit.as_mut().await;
        let _ = tell.send(true);
        code
    };
    let served = tokio::select! {
        biased;
        gone = listening.gone() => Err(gone),
        gone = inputs => Err(gone),
        (code, poured) = async { tokio::join!(life, outputs) } => poured.map(|()| code),
    };
    match served {
        Ok(Some(code)) => {
            let _ = peer.voice.say(StreamPart::Exited(code)).await;
            peer.voice.end(("Completed", String::new())).await;
        }
        Ok(None) => peer.voice.end(("Failed", "the pod's sandbox is gone".to_owned())).await,
        Err(gone) => {
            // Input and outputs are closed by now; with the last of them the terminal is hung up.
            drop(terminal);
            let _ = timeout(GRACE, exit).await;
            peer.voice.end(ending(gone)).await;
        }
    }
}
