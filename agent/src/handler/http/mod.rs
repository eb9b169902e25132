//! Probes and hooks that ask an HTTP server: one connection per request, nothing kept.

mod client;
#[doc(hidden)]
pub mod fuzz;
mod headers;
mod tls;
mod url;

use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap};
use tokio::time::timeout;

use self::client::{Answer, Client, HttpError, Progress};
use self::url::Url;
use super::dial::PodSockets;
use super::{HookDone, HookError, Outcome, Target};
use crate::pod::handler::HttpGet;

/// Servers know probes by this name, in the version of Kubernetes that they behave like.
const PROBE_AGENT: &str = "kube-probe/1.32";
/// And hooks by this one.
const HOOK_AGENT: &str = "kube-lifecycle/1.32";

/// One request, ready to be sent.
struct Asked {
    url: Url,
    headers: HeaderMap,
}

impl Asked {
    fn new(get: &HttpGet, port: u16, agent: &'static str) -> Result<Self, HttpError> {
        let url = Url::of(get, port);
        match headers::headers(&get.headers, agent) {
            Ok(headers) => Ok(Self { url, headers }),
            Err(error) => Err(HttpError::Failed { url: url.to_string(), cause: error.to_string() }),
        }
    }
}

/// Asks within `limit`; a status from 200 to 399 is success.
pub(super) async fn probe<S: PodSockets>(
    sockets: &S,
    target: &Target,
    get: &HttpGet,
    port: u16,
    limit: Duration,
) -> Outcome {
    let progress = Progress::default();
    let asked = async {
        let asked = Asked::new(get, port, PROBE_AGENT)?;
        Client { sockets, target }.get(&asked.url, &asked.headers, &progress).await
    };
    match timeout(limit, asked).await {
        Ok(Ok(answer)) => judge(&answer),
        Ok(Err(error @ (HttpError::Network { .. } | HttpError::Body { .. }))) => {
            Outcome::Errored(error.to_string())
        }
        Ok(Err(error)) => Outcome::Failure(error.to_string()),
        Err(_) => Outcome::Failure(progress.timed_out()),
    }
}

fn judge(answer: &Answer) -> Outcome {
    match answer.status.as_u16() {
        200..=299 => Outcome::Success,
        300..=399 => {
            let body = String::from_utf8_lossy(&answer.body);
            Outcome::Warning(format!("Probe terminated redirects, Response body: {body}"))
        }
        // The body is not shown: what a server says to its clients may not be for operators.
        status => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
    }
}

/// Asks for as long as it takes; whatever the server answers is good.
pub(super) async fn hook<S: PodSockets>(
    sockets: &S,
    target: &Target,
    get: &HttpGet,
    port: u16,
) -> Result<HookDone, HookError> {
    let failed = |error: HttpError| HookError::Http { cause: error.to_string() };
    let Asked { mut url, mut headers } = Asked::new(get, port, HOOK_AGENT).map_err(failed)?;
    let (client, progress) = (Client { sockets, target }, Progress::default());
    match client.get(&url, &headers, &progress).await {
        Err(error @ HttpError::Plain { .. }) => {
            let host = url.authority();
            url.tls = false;
            headers.remove(AUTHORIZATION);
            if client.get(&url, &headers, &progress).await.is_err() {
                return Err(failed(error));
            }
            Ok(HookDone::OverHttp { host })
        }
        // The answer began, so the hook was heard.
        Ok(_) | Err(HttpError::Body { .. }) => Ok(HookDone::AsAsked),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests;
