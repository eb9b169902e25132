//! The agent's side: carries parts between the socket and the task that serves the command.

use std::future::Future;
use std::io;

use mote_protocol::name::{ContainerName, Kind, Namespace, ObjectKey, ObjectName, RequestId};
use mote_protocol::stream::StreamPart;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::Asked;
use crate::ctl::{MAX_PART, encode, length};
use crate::logs::Refused;
use crate::steward::{Commanded, LocalExec};
use crate::streams::{BEAT, Granted, Outgoing, Peer, Voice};

/// Parts on their way to the socket, and from it.
const PARTS: usize = 2;

/// This side of a command that is being executed.
pub(in crate::ctl) struct Attachment {
    parts: mpsc::Receiver<Outgoing>,
    granted: watch::Sender<Granted>,
    said: mpsc::Sender<StreamPart>,
}

/// Has a command executed.
pub(in crate::ctl) async fn begin<F>(
    asked: Asked,
    order: impl FnOnce(ObjectKey, Box<LocalExec>) -> F,
) -> Result<Attachment, String>
where
    F: Future<Output = Option<Result<(), Refused>>>,
{
    let Asked { namespace, pod, container, command, stdin, terminal } = asked;
    let namespace = Namespace::new(&namespace).map_err(|error| error.to_string())?;
    let name = ObjectName::new(&pod).map_err(|error| error.to_string())?;
    let container = ContainerName::new(&container).map_err(|error| error.to_string())?;
    let (told, parts) = mpsc::channel(PARTS);
    let (granted, grants) = watch::channel(Granted { credit: u64::MAX, ..Granted::default() });
    let (said, saying) = mpsc::channel(PARTS);
    // Its name means nothing here.
    let id = RequestId::new("ctl").map_err(|error| error.to_string())?;
    let peer = Peer { voice: Voice::new(id, told, grants), said: saying };
    let command = Commanded { args: command, stdin, terminal };
    let request = Box::new(LocalExec { container, command, peer });
    match order(ObjectKey { kind: Kind::Pod, namespace, name }, request).await {
        Some(Ok(())) => Ok(Attachment { parts, granted, said }),
        Some(Err(refused)) => Err(refused.to_string()),
        None => Err("the agent is ending".to_owned()),
    }
}

impl Attachment {
    /// Carries parts both ways, to the end of the command or until nobody is attached any more.
    pub(in crate::ctl) async fn carry(self, mut stream: UnixStream) -> io::Result<()> {
        let Self { mut parts, granted, said } = self;
        let (from, to) = stream.split();
        tokio::select! {
            told = tell(&mut parts, to) => return told,
            heard = hear(from, &said) => heard?,
            () = be_there(&granted) => {}
        }
        // Whoever was attached is gone. What is still told is told to nobody.
        granted.send_modify(|granted| granted.closed = true);
        while parts.recv().await.is_some() {}
        Ok(())
    }
}

async fn tell(parts: &mut mpsc::Receiver<Outgoing>, mut to: WriteHalf<'_>) -> io::Result<()> {
    while let Some(Outgoing { part, .. }) = parts.recv().await {
        let over = matches!(part, StreamPart::End { .. });
        if !matches!(part, StreamPart::Credit(_)) {
            to.write_all(&encode(&part).map_err(io::Error::other)?).await?;
        }
        if over {
            break;
        }
    }
    Ok(())
}

/// Passes on what is said, until nobody is there.
async fn hear(mut from: ReadHalf<'_>, said: &mpsc::Sender<StreamPart>) -> io::Result<()> {
    loop {
        let mut head = [0; 4];
        match from.read_exact(&mut head).await {
            Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        };
        let mut bytes = vec![0; length(head, MAX_PART)?];
        from.read_exact(&mut bytes).await?;
        let part: StreamPart = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
        if let StreamPart::End { .. } = part {
            return Ok(());
        }
        // A command that does not read holds up the socket, and so who types; nothing is read then that
        // would tell of a hang-up. Priority stands for that alone here: such sockets have no other.
        tokio::select! {
            biased;
            sent = said.send(part) => if sent.is_err() {
                // It has ended, and its end is being told.
                return std::future::pending().await;
            },
            hung_up = from.ready(Interest::PRIORITY) => return hung_up.map(drop),
        }
    }
}

/// A socket that is open is somebody who is there, also where nobody types.
async fn be_there(granted: &watch::Sender<Granted>) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        granted.send_modify(|_| {});
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn whoever_is_killed_is_missed_also_where_the_command_reads_nothing() {
        let (here, mut there) = UnixStream::pair().expect("a socket");
        let (told, parts) = mpsc::channel(PARTS);
        let (granted, mut grants) = watch::channel(Granted::default());
        let (said, _saying) = mpsc::channel(PARTS);
        let carried = Attachment { parts, granted, said }.carry(here);
        let person = async {
            let typed = encode(&StreamPart::Data(vec![b'x'; 10])).expect("encoded");
            // One more waits for its place, and one is not read any more.
            there.write_all(&typed.repeat(PARTS + 2)).await.expect("typed");
            drop(there);
            grants.wait_for(|granted| granted.closed).await.expect("told");
            drop(told);
        };
        let both = async { tokio::join!(carried, person) };
        let (carried, ()) = timeout(Duration::from_secs(20), both).await.expect("missed");
        carried.expect("carried to its end");
    }
}
