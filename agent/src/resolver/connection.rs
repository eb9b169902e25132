//! Questions by TCP: one connection, one question after the other, each with its length before it.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Longest question that is read: a name, and what EDNS adds.
pub(super) const LONGEST: usize = 1232;

/// How long a connection may be without a question, and take over one or an answer.
const IDLE: Duration = Duration::from_secs(10);

/// A question, and where its answer goes; who drops that has none.
pub(super) struct Asked {
    pub(super) packet: Vec<u8>,
    pub(super) asker: IpAddr,
    pub(super) answer: oneshot::Sender<Vec<u8>>,
}

/// Serves one connection until it ends.
pub(super) async fn serve(mut stream: TcpStream, asker: IpAddr, desk: mpsc::Sender<Asked>) {
    while let Ok(Ok(packet)) = timeout(IDLE, read(&mut stream)).await {
        let (answer, answered) = oneshot::channel();
        if desk.send(Asked { packet, asker, answer }).await.is_err() {
            return;
        }
        let Ok(answer) = answered.await else { return };
        let Ok(len) = u16::try_from(answer.len()) else { return };
        let whole = [&len.to_be_bytes()[..], &answer].concat();
        if !matches!(timeout(IDLE, stream.write_all(&whole)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let len = usize::from(stream.read_u16().await?);
    if len > LONGEST {
        return Err(io::Error::other("a question that is too long"));
    }
    let mut packet = vec![0; len];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}
