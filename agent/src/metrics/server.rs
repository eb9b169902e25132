//! Who scrapes is answered here.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::http::{self, MAX_HEAD, Status, Verdict};
use super::{Listen, text};
use crate::log::Chain;
use crate::steward::LocalRequest;

/// Connections at the same time; more wait in the kernel.
const CONNECTIONS: usize = 4;

/// Time for one request and its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Both ways of a connection.
trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

enum Socket {
    Port(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Port(address) => TcpListener::bind(address).await.map(Self::Port),
            Listen::Unix(path) => bind_unix(path).map(Self::Unix),
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Port(listener) => Box::new(listener.accept().await?.0),
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
        })
    }
}

/// Takes the place of a socket that an earlier agent left, and of nothing else.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // As with a port of the loopback: whoever is on this machine and reaches it may read.
    std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Answers as long as the agent lives; for ever without a word where nobody is to scrape. A port that is
/// taken keeps no pod from running: that is only told.
pub async fn run(listen: Option<Listen>, requests: mpsc::UnboundedSender<LocalRequest>) {
    let Some(listen) = listen else { return std::future::pending().await };
    let socket = match Socket::bind(&listen).await {
        Ok(socket) => socket,
        Err(error) => {
            warn!(error = %Chain(&error), ?listen, "metrics cannot be offered");
            return std::future::pending().await;
        }
    };
    info!(?listen, "metrics are offered");
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match socket.accept().await {
            Ok(stream) => {
                let requests = requests.clone();
                spawn_local(async move {
                    let served = timeout(PATIENCE, serve(stream, &requests)).await;
                    drop(place);
                    if let Ok(Err(error)) = served {
                        debug!(error = %Chain(&error), "scrape");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors: the next one may be free in a while.
                warn!(error = %Chain(&error), "accept a connection for metrics");
                sleep(PATIENCE).await;
            }
        }
    }
}

async fn serve(
    mut stream: Box<dyn Stream>,
    requests: &mpsc::UnboundedSender<LocalRequest>,
) -> io::Result<()> {
    let (mut head, mut len) = ([0; MAX_HEAD], 0);
    let verdict = loop {
        let Some((came, room)) = head.split_at_mut_checked(len) else { return Ok(()) };
        if let Some(verdict) = http::judge(came) {
            break verdict;
        }
        match stream.read(room).await? {
            0 => return Ok(()),
            count => len += count,
        }
    };
    let answer = match verdict {
        Verdict::Refused(status) => http::refusal(status),
        Verdict::Metrics { head_only } => {
            let (answer, scraped) = oneshot::channel();
            // An agent that ends drops the question, and so the answer.
            let _ = requests.send(LocalRequest::Metrics(answer));
            match scraped.await {
                Ok(scrape) => http::metrics(&text::render(&scrape), head_only),
                Err(_) => http::refusal(Status::Unavailable),
            }
        }
    };
    stream.write_all(&answer).await?;
    stream.shutdown().await
}
