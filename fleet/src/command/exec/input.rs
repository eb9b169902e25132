//! What somebody types, or sends: read beside the conversation with the broker.

use std::io::{self, Read as _};
use std::thread;

use mote_protocol::limits::MAX_STREAM_DATA;
use tokio::sync::mpsc;

/// Standard input, as it is read. A read cannot be called off: the thread ends with the program.
pub(super) struct Input {
    read: mpsc::Receiver<io::Result<Vec<u8>>>,
}

impl Input {
    /// Begins to read.
    pub(super) fn start() -> Self {
        // One piece is read ahead; more than that the kernel keeps.
        let (tell, read) = mpsc::channel(1);
        thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut buffer = vec![0; MAX_STREAM_DATA];
            loop {
                let piece = match stdin.read(&mut buffer) {
                    Ok(len) => Ok(buffer.get(..len).unwrap_or_default().to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let over = !matches!(&piece, Ok(bytes) if !bytes.is_empty());
                if tell.blocking_send(piece).is_err() || over {
                    return;
                }
            }
        });
        Self { read }
    }

    /// The next piece; empty at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Vec<u8>> {
        self.read.recv().await.unwrap_or_else(|| Ok(Vec::new()))
    }
}
