//! The agent's side of the local socket.
//!
//! Every connection is one question: a few at a time, each with a limit on its length and its
//! time, so that nothing at the socket can hold up the node.

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mote_protocol::command::LogSelection;
use mote_protocol::name::{ContainerName, Namespace, ObjectName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::exec::{self, Attachment};
use super::images::{Done, Order};
use super::{
    Answer, ImageFacts, MAX_ANSWER, MAX_QUESTION, NOT_UNDERSTOOD, Part, PodDescription, PodFacts,
    Question, VERSION, encode, length,
};
use crate::image::ImageError;
use crate::image::told;
use crate::log::Chain;
use crate::logs::LogReader;
use crate::steward::{ImageOrder, LocalRequest, PodDetail, PodView};

/// Questions at the same time.
const CONNECTIONS: usize = 4;

/// Orders at the same time; each takes as long as it takes.
const ORDERS: usize = 4;

/// Time for one question and its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said where nobody answers any more.
const ENDING: &str = "the agent is ending";

/// Why the socket cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error("listen on {}", path.display())]
pub struct SocketError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The socket, and where questions go.
pub struct Server {
    listener: UnixListener,
    requests: mpsc::UnboundedSender<LocalRequest>,
}

impl Server {
    /// Takes the place of a socket that an earlier agent left: the state directory's lock says that
    /// it has ended.
    pub fn bind(
        path: &Path,
        requests: mpsc::UnboundedSender<LocalRequest>,
    ) -> Result<Self, SocketError> {
        let failed = |source| SocketError { path: path.to_owned(), source };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        // Its directory is root's alone already; whoever looks at the socket should see it, too.
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, requests })
    }

    /// Answers as long as the agent lives.
    pub async fn run(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let orders = Arc::new(Semaphore::new(ORDERS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (requests, orders) = (self.requests.clone(), Arc::clone(&orders));
                    spawn_local(async move {
                        let served = timeout(PATIENCE, serve(stream, &requests)).await;
                        // What follows takes as long as it takes; how many do is bounded elsewhere.
                        drop(place);
                        let served = match served {
                            Ok(Ok(Rest::Nothing)) | Err(_) => Ok(()),
                            Ok(Ok(Rest::Log(stream, log))) => pour(stream, *log).await,
                            Ok(Ok(Rest::Exec(stream, said))) => said.carry(stream).await,
                            Ok(Ok(Rest::Order(stream, order))) => {
                                obey(stream, order, &requests, &orders).await
                            }
                            Ok(Err(error)) => Err(error),
                        };
                        if let Err(error) = served {
                            debug!(error = %Chain(&error), "question on the local socket");
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors: the next one may be free in a while.
                    warn!(error = %Chain(&error), "accept on the local socket");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }
}

/// What is left to be done of a question.
enum Rest {
    Nothing,
    /// It is to follow on the answer.
    Log(UnixStream, Box<LogReader>),
    /// The same of a command, both ways.
    Exec(UnixStream, Attachment),
    /// There is no answer yet.
    Order(UnixStream, Order),
}

/// Answers a question, as far as that is quick.
async fn serve(
    mut stream: UnixStream,
    requests: &mpsc::UnboundedSender<LocalRequest>,
) -> io::Result<Rest> {
    let asker = stream.peer_cred()?.uid();
    if asker != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "only root may ask"));
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let mut bytes = vec![0; length(head, MAX_QUESTION)?];
    stream.read_exact(&mut bytes).await?;
    let mut log = None;
    let answer = match postcard::from_bytes(&bytes) {
        Ok(Question::Exec(asked)) => {
            let began = exec::begin(asked, |key, request| {
                ask(requests, |answer| LocalRequest::Exec { key, request, answer })
            });
            return match began.await {
                Ok(attachment) => {
                    say(&mut stream, &Answer::Exec).await?;
                    Ok(Rest::Exec(stream, attachment))
                }
                Err(why) => {
                    say(&mut stream, &Answer::Failed(why)).await?;
                    Ok(Rest::Nothing)
                }
            };
        }
        Ok(Question::Log { namespace, pod, container, selection }) => {
            let names = (namespace.as_str(), pod.as_str(), container.as_str());
            match open(names, selection, requests).await {
                Ok(opened) => {
                    log = Some(opened);
                    Answer::Log
                }
                Err(why) => Answer::Failed(why),
            }
        }
        Ok(Question::Order(order)) => return Ok(Rest::Order(stream, order)),
        Ok(question) => answer(question, requests).await,
        Err(_) => Answer::Failed(NOT_UNDERSTOOD.to_owned()),
    };
    say(&mut stream, &answer).await?;
    Ok(log.map_or(Rest::Nothing, |log| Rest::Log(stream, Box::new(log))))
}

async fn say(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    let too_long = || Answer::Failed("the answer is too long".to_owned());
    let bytes = encode(answer).ok().filter(|bytes| bytes.len() <= MAX_ANSWER + 4);
    let bytes = match bytes {
        Some(bytes) => bytes,
        None => encode(&too_long()).map_err(io::Error::other)?,
    };
    stream.write_all(&bytes).await
}

/// Has an order carried out, unless whoever gave it leaves.
async fn obey(
    mut stream: UnixStream,
    order: Order,
    requests: &mpsc::UnboundedSender<LocalRequest>,
    orders: &Semaphore,
) -> io::Result<()> {
    let Ok(_place) = orders.try_acquire() else {
        let busy = format!("{ORDERS} others wait for images already");
        return say(&mut stream, &Answer::Failed(busy)).await;
    };
    let mut nothing = [0];
    let answer = tokio::select! {
        biased;
        _ = stream.read(&mut nothing) => return Ok(()),
        done = carry_out(order, requests) => match done {
            Ok(done) => Answer::Done(done),
            Err(why) => Answer::Failed(why),
        },
    };
    timeout(PATIENCE, say(&mut stream, &answer)).await?
}

async fn carry_out(
    order: Order,
    requests: &mpsc::UnboundedSender<LocalRequest>,
) -> Result<Done, String> {
    let message = |error: ImageError| error.message();
    let done = match order {
        Order::Pull(reference) => {
            let request = |answer| LocalRequest::Order(ImageOrder::Pull { reference, answer });
            let pulled = ask(requests, request).await;
            pulled.map(|pulled| pulled.map_err(message).and_then(told::pulled).map(Done::Work))
        }
        Order::Import(path) => {
            let path = PathBuf::from(path);
            let request = |answer| LocalRequest::Order(ImageOrder::Import { path, answer });
            ask(requests, request).await.map(|came| came.map(Done::from).map_err(message))
        }
        Order::Export(reference, path) => {
            let path = PathBuf::from(path);
            let request =
                |answer| LocalRequest::Order(ImageOrder::Export { reference, path, answer });
            let written = ask(requests, request).await;
            written.map(|written| written.map(|bytes| Done::Exported { bytes }).map_err(message))
        }
        Order::Verify => {
            let request = |answer| LocalRequest::Order(ImageOrder::Verify { answer });
            ask(requests, request)
                .await
                .map(|found| found.map(|verified| Done::Work(verified.into())).map_err(message))
        }
        Order::Remove(names) => {
            let request = |answer| LocalRequest::Order(ImageOrder::Remove { names, answer });
            ask(requests, request)
                .await
                .map(|gone| gone.map(|swept| Done::Work(swept.into())).map_err(message))
        }
        Order::Prune => {
            let request = |answer| LocalRequest::Order(ImageOrder::Prune { answer });
            ask(requests, request)
                .await
                .map(|gone| gone.map(|swept| Done::Work(swept.into())).map_err(message))
        }
    };
    done.unwrap_or_else(|| Err(ENDING.to_owned()))
}

/// Opens a log; why not, where it cannot be read.
async fn open(
    (namespace, pod, container): (&str, &str, &str),
    selection: LogSelection,
    requests: &mpsc::UnboundedSender<LocalRequest>,
) -> Result<LogReader, String> {
    let namespace = Namespace::new(namespace).map_err(|error| error.to_string())?;
    let name = ObjectName::new(pod).map_err(|error| error.to_string())?;
    let container = ContainerName::new(container).map_err(|error| error.to_string())?;
    let request = |answer| LocalRequest::Log { namespace, name, container, selection, answer };
    match ask(requests, request).await {
        Some(Ok(log)) => Ok(log),
        Some(Err(refused)) => Err(refused.to_string()),
        None => Err(ENDING.to_owned()),
    }
}

/// Sends a log as it is read, until its end or until nobody reads it. A reader that is slow holds
/// up the reading of the file: nothing grows here.
async fn pour(mut stream: UnixStream, mut log: LogReader) -> io::Result<()> {
    let (mut from, mut to) = stream.split();
    loop {
        let mut nothing = [0];
        let part = tokio::select! {
            biased;
            // Whoever asked says nothing more but that it is gone.
            _ = from.read(&mut nothing) => return Ok(()),
            text = log.next() => match text {
                Ok(Some(text)) => Part::Text(text),
                Ok(None) => Part::End(None),
                Err(error) => Part::End(Some(Chain(&error).to_string())),
            },
        };
        to.write_all(&encode(&part).map_err(io::Error::other)?).await?;
        if matches!(part, Part::End(_)) {
            return Ok(());
        }
    }
}

async fn answer(question: Question, requests: &mpsc::UnboundedSender<LocalRequest>) -> Answer {
    let answered = match question {
        Question::Pods => ask(requests, LocalRequest::Pods)
            .await
            .map(|pods| Answer::Pods(pods.into_iter().map(PodFacts::from).collect())),
        Question::Pod { namespace, name } => {
            let (Ok(namespace), Ok(name)) = (Namespace::new(&namespace), ObjectName::new(&name))
            else {
                return Answer::Pod(None);
            };
            let request = |answer| LocalRequest::Pod { namespace, name, answer };
            ask(requests, request).await.map(|found| {
                Answer::Pod(found.map(|detail| Box::new(PodDescription::from(detail))))
            })
        }
        Question::Standing => ask(requests, LocalRequest::Standing)
            .await
            .map(|standing| Answer::Standing(VERSION.to_owned(), standing)),
        Question::Images => ask(requests, LocalRequest::Images).await.map(|found| match found {
            Ok(images) => Answer::Images(images.into_iter().map(ImageFacts::from).collect()),
            Err(error) => Answer::Failed(Chain(&error).to_string()),
        }),
        Question::Events => {
            let request = |answer| LocalRequest::Events { about: None, answer };
            ask(requests, request).await.map(Answer::Events)
        }
        Question::Usage => ask(requests, LocalRequest::Usage).await.map(|report| {
            let (node, metrics) = report.whole();
            Answer::Usage(node.clone(), metrics.clone())
        }),
        // Answered where they are taken apart.
        Question::Log { .. } | Question::Order(_) | Question::Exec(_) => None,
    };
    answered.unwrap_or_else(|| Answer::Failed(ENDING.to_owned()))
}

/// None where the agent ends.
fn ask<T>(
    requests: &mpsc::UnboundedSender<LocalRequest>,
    request: impl FnOnce(oneshot::Sender<T>) -> LocalRequest,
) -> impl Future<Output = Option<T>> {
    let (sender, receiver) = oneshot::channel();
    let request = request(sender);
    async move {
        requests.send(request).ok()?;
        receiver.await.ok()
    }
}

impl From<PodView> for PodFacts {
    fn from(PodView { key, status }: PodView) -> Self {
        let (namespace, name) = (key.namespace.as_str().to_owned(), key.name.as_str().to_owned());
        Self { namespace, name, status }
    }
}

impl From<PodDetail> for PodDescription {
    fn from(PodDetail { view, pod, events }: PodDetail) -> Self {
        Self { facts: view.into(), pod, events }
    }
}

impl From<crate::image::ImageSummary> for ImageFacts {
    fn from(image: crate::image::ImageSummary) -> Self {
        Self { names: image.names, id: image.id.to_string(), bytes: image.bytes }
    }
}
