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
    while let Ok(Ok(packet)) = timeout(IDLE, read(&mut stream, LONGEST)).await {
        let (answer, answered) = oneshot::channel();
        if desk.send(Asked { packet, asker, answer }).await.is_err() {
            return;
        }
        let Ok(answer) = answered.await else { return };
        if !matches!(timeout(IDLE, write(&mut stream, &answer)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Writes a packet, with its length before it.
pub(super) async fn write(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    let len = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes()[..], packet].concat()).await
}

/// Reads one of so many bytes at most.
pub(super) async fn read(stream: &mut TcpStream, longest: usize) -> io::Result<Vec<u8>> {
    let len = usize::from(stream.read_u16().await?);
    if len > longest {
        return Err(io::Error::other("a packet that is too long"));
    }
    let mut packet = vec![0; len];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}
