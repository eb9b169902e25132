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

use mote_protocol::limits::MAX_STREAM_DATA;
use mote_protocol::stream::StreamPart;

use super::LogReader;
use crate::log::Chain;
use crate::streams::{Gone, Voice, ending};

/// Sends a log to its end, or until nobody reads it.
pub async fn serve(voice: Voice, log: LogReader) {
    let (mut speaking, mut listening) = (voice.clone(), voice.clone());
    let end = tokio::select! {
        biased;
        gone = listening.gone() => ending(gone),
        end = send(&mut speaking, log) => end.unwrap_or_else(ending),
    };
    voice.end(end).await;
}

/// How the stream ends whose reader stayed.
async fn send(voice: &mut Voice, mut log: LogReader) -> Result<(&'static str, String), Gone> {
    loop {
        match log.next().await {
            Ok(Some(text)) => {
                for piece in text.chunks(MAX_STREAM_DATA) {
                    voice.say(StreamPart::Data(piece.to_vec())).await?;
                }
            }
            Ok(None) => return Ok(("Completed", String::new())),
            Err(error) => return Ok(("Failed", Chain(&error).to_string())),
        }
    }
}
