//! Sends a GET request and follows redirects on the same host.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::InvalidMessage;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::tls;
use super::url::{Url, is_absolute};
use crate::handler::dial::{DialError, PodSockets, dial, reason};
use crate::handler::{MAX_OUTPUT, Target};
use crate::log::Chain;

/// Requests made for one attempt, the redirected ones included.
const MAX_REQUESTS: usize = 10;
/// Bytes of an answer that are held before they are read; bounds its headers.
const BUFFER: usize = 64 * 1024;
/// Headers of an answer.
const MAX_HEADERS: usize = 100;

/// What a server said in the end.
pub(super) struct Answer {
    pub status: StatusCode,
    /// As much of it as is kept.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// There is no way into the pod's network.
    #[error("{cause}")]
    Network { cause: String },
    /// TLS was asked for, and whoever answered does not speak it.
    #[error("Get {url:?}: http: server gave HTTP response to HTTPS client")]
    Plain { url: String },
    /// Anything else before the answer's head.
    #[error("Get {url:?}: {cause}")]
    Failed { url: String, cause: String },
    /// The answer began and broke off.
    #[error("{cause}")]
    Body { cause: String },
}

/// How far a request got, for the text that says so when time is over.
#[derive(Default)]
pub(super) struct Progress {
    url: RefCell<String>,
    reading: Cell<bool>,
}

impl Progress {
    /// What the kubelet says.
    pub(super) fn timed_out(&self) -> String {
        const OVER: &str = "context deadline exceeded";
        if self.reading.get() {
            return format!("{OVER} (Client.Timeout or context cancellation while reading body)");
        }
        let url = self.url.borrow();
        format!("Get {url:?}: {OVER} (Client.Timeout exceeded while awaiting headers)")
    }
}

/// Asks on behalf of one container.
pub(super) struct Client<'a, S> {
    pub sockets: &'a S,
    pub target: &'a Target,
}

impl<S: PodSockets> Client<'_, S> {
    pub(super) async fn get(
        &self,
        url: &Url,
        headers: &HeaderMap,
        progress: &Progress,
    ) -> Result<Answer, HttpError> {
        let (mut at, mut headers) = (url.clone(), headers.clone());
        for _ in 1..MAX_REQUESTS {
            let (answer, location) = self.ask(&at, &headers, progress).await?;
            let Some(location) = location else { return Ok(answer) };
            let next = at.join(&location).ok_or_else(|| HttpError::Failed {
                url: at.to_string(),
                cause: format!("failed to parse Location header {location:?}"),
            })?;
            if !next.is_on(url) {
                return Ok(answer);
            }
            if is_absolute(&location) || location.starts_with("//") {
                // The server named itself: that name counts from here on.
                headers.remove(HOST);
            }
            at = next;
        }
        match self.ask(&at, &headers, progress).await? {
            (answer, None) => Ok(answer),
            (answer, Some(location)) if at.join(&location).is_some_and(|url| !url.is_on(&at)) => {
                Ok(answer)
            }
            (_, Some(url)) => {
                let cause = format!("stopped after {MAX_REQUESTS} redirects");
                Err(HttpError::Failed { url, cause })
            }
        }
    }

    /// One request; gives where a redirect leads, too.
    async fn ask(
        &self,
        url: &Url,
        headers: &HeaderMap,
        progress: &Progress,
    ) -> Result<(Answer, Option<String>), HttpError> {
        progress.reading.set(false);
        progress.url.replace(url.to_string());
        let failed = |cause: String| HttpError::Failed { url: url.to_string(), cause };
        let request = request(url, headers).map_err(failed)?;
        let stream = dial(self.sockets, self.target, &url.host, url.port).await;
        let stream = stream.map_err(|error| match error {
            DialError::Network { cause } => HttpError::Network { cause },
            error => failed(error.to_string()),
        })?;
        if !url.tls {
            return exchange(stream, request, url, progress).await;
        }
        let config = tls::client().map_err(|error| failed(error.to_string()))?;
        let name = ServerName::try_from(url.host_name().to_owned());
        let name = name.map_err(|error| failed(error.to_string()))?;
        let stream = TlsConnector::from(config).connect(name, stream).await;
        let stream = stream.map_err(|error| {
            if is_plain(&error) {
                HttpError::Plain { url: url.to_string() }
            } else {
                failed(reason(&error))
            }
        })?;
        exchange(stream, request, url, progress).await
    }
}

fn request(url: &Url, headers: &HeaderMap) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = url.target.parse().map_err(|error| format!("{error}"))?;
    *request.headers_mut() = headers.clone();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(&url.authority()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}

/// Whether a server answered with something that is no record of TLS: nearly always HTTP.
fn is_plain(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

async fn exchange<T: AsyncRead + AsyncWrite + Unpin>(
    stream: T,
    request: Request<Empty<Bytes>>,
    url: &Url,
    progress: &Progress,
) -> Result<(Answer, Option<String>), HttpError> {
    let broken =
        |error: &hyper::Error| HttpError::Failed { url: url.to_string(), cause: text(error) };
    let mut builder = http1::Builder::new();
    // Small servers compare names as they are usually written.
    builder.max_buf_size(BUFFER).max_headers(MAX_HEADERS).title_case_headers(true);
    let handshake = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
    drive(connection, async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        progress.reading.set(true);
        let location = redirection(&response);
        let status = response.status();
        let body = read(response.into_body()).await;
        let body = body.map_err(|error| HttpError::Body { cause: text(&error) })?;
        Ok((Answer { status, body }, location))
    })
    .await
}

/// Runs a connection for as long as an exchange over it needs it.
async fn drive<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    tokio::select! {
        biased;
        result = &mut exchange => return result,
        _ = &mut connection => {}
    }
    // What has arrived before the connection ended can still be read.
    exchange.await
}

/// Where an answer leads; nowhere if it does not say where to.
fn redirection(response: &Response<Incoming>) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    (!location.is_empty()).then(|| location.to_owned())
}

/// Reads as much of a body as is kept. The rest goes with the connection.
async fn read(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut data: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let Some(chunk) = frame.data_ref() else { continue };
        let room = MAX_OUTPUT - data.len();
        data.extend_from_slice(chunk.get(..room).unwrap_or(chunk));
        if data.len() == MAX_OUTPUT {
            break;
        }
    }
    Ok(data)
}

/// What broke, in the words of the kubelet where it has some.
fn text(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "EOF".to_owned();
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(source) => reason(source),
        None => Chain(error).to_string(),
    }
}
