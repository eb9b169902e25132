//! Asks a registry: documents, blobs, redirects, and what its answers mean.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use hyper::{Method, Response, StatusCode};

use super::answer::{Fetched, error_text, named_digest, whole};
use super::authorize::Access;
use super::credentials::Keyring;
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::transport::{Transport, protocol};
use super::url::{Origin, Url, push_query};
use crate::digest::{Digest, Hasher, Mismatch};
use crate::manifest::{Document, MAX_DOCUMENT, ManifestError};
use crate::media_type::ACCEPT as MANIFESTS;
use crate::reference::Reference;

/// Redirects followed for one request: registries use one, content networks another.
const MAX_REDIRECTS: usize = 5;
/// How much of an error's body is read for its text.
const MAX_ERROR_BODY: usize = 4096;
/// How long to wait for it: the status says enough.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);

/// A registry client: one question at a time, and what opened each repository is kept.
pub(super) struct Client {
    pub(super) transport: Transport,
    pub(super) access: Access,
}

/// What to ask for.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) endpoint: &'a Endpoint,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// What is asked for, in the words of errors.
    pub(super) what: String,
}

impl Client {
    pub(super) fn new(transport: Transport, keyring: Keyring) -> Self {
        Self { transport, access: Access::new(keyring) }
    }

    pub(super) const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The digest a reference stands for now, if the registry says it without sending it.
    pub(super) async fn current(
        &mut self,
        endpoint: &Endpoint,
        reference: &Reference,
    ) -> Result<Option<Digest>, RegistryError> {
        let question = manifest_question(Method::HEAD, endpoint, reference, &reference.version());
        let host = question.url.origin.to_string();
        let response = self.ask(question).await?;
        match response.status() {
            StatusCode::OK => Ok(named_digest(&response)),
            // Some registries do not answer HEAD as they answer GET; let GET decide.
            StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => Err(self.refusal(response, &host, "manifest").await),
        }
    }

    /// Fetches a manifest or index and checks it against the digest that names it, if one does.
    pub(super) async fn manifest(
        &mut self,
        endpoint: &Endpoint,
        reference: &Reference,
        digest: Option<Digest>,
    ) -> Result<Fetched, RegistryError> {
        let version = digest.map_or_else(|| reference.version(), |digest| digest.to_string());
        let question = manifest_question(Method::GET, endpoint, reference, &version);
        let host = question.url.origin.to_string();
        let response = self.ask(question).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response, &host, "manifest").await);
        }
        let named = digest.or(reference.digest());
        let expected = named.or_else(|| named_digest(&response));
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_owned();
        let limit = usize::try_from(MAX_DOCUMENT).unwrap_or(usize::MAX);
        let bytes = whole(response, limit, &host, self.transport.timeouts().idle).await?;
        let digest = Hasher::default().chain(&bytes).finish();
        match expected {
            Some(expected) if expected != digest => Err(RegistryError::Mismatch {
                host,
                source: Mismatch { expected, actual: digest, length: bytes.len() as u64 },
            }),
            _ => match Document::parse(&bytes, &content_type) {
                // Found out here, and not where it is used: another endpoint may have a better one.
                // What we have a digest of is the same everywhere, and may be whatever it is.
                Err(source @ (ManifestError::Json(_) | ManifestError::MediaType(_)))
                    if named.is_none() =>
                {
                    Err(RegistryError::Malformed { host, source })
                }
                _ => Ok(Fetched { bytes, digest, content_type }),
            },
        }
    }

    /// Starts to fetch a blob from `offset` on; the answer's head says whether it did.
    pub(super) async fn blob(
        &mut self,
        endpoint: &Endpoint,
        reference: &Reference,
        digest: &Digest,
        offset: u64,
    ) -> Result<Response<Incoming>, RegistryError> {
        let mut question = question(Method::GET, endpoint, reference, &format!("blobs/{digest}"));
        if offset > 0 {
            let range = HeaderValue::from_str(&format!("bytes={offset}-"));
            question.headers.insert(RANGE, range.expect("digits are a header value"));
        }
        let host = question.url.origin.to_string();
        let response = self.ask(question).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            _ => Err(self.refusal(response, &host, &format!("blob {digest}")).await),
        }
    }

    /// Sends a request wherever redirects lead, and tells who answered. What gives access goes to
    /// the registry alone.
    pub(super) async fn follow(
        &mut self,
        question: &Question<'_>,
        access: Option<&HeaderValue>,
    ) -> Result<(Response<Incoming>, Origin), RegistryError> {
        let mut url = question.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = question.headers.clone();
            if let Some(access) = access.filter(|_| url.origin == question.url.origin) {
                headers.insert(AUTHORIZATION, access.clone());
            }
            let response = self.transport.send(&question.method, &url, &headers).await?;
            if !response.status().is_redirection() {
                return Ok((response, url.origin));
            }
            let host = url.origin.to_string();
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location));
            let next = next.ok_or_else(|| protocol(&host, "it redirects to nowhere"))?;
            let stays_safe = next.origin.tls || !url.origin.tls;
            if !stays_safe && !self.transport.is_plain(&next.origin.to_string()) {
                let what = format!("it redirects from HTTPS to plain HTTP at {}", next.origin);
                return Err(protocol(&host, &what));
            }
            url = next;
        }
        Err(protocol(&question.url.origin.to_string(), "it redirects too often"))
    }

    /// What an answer that is no success means.
    pub(super) async fn refusal(
        &self,
        response: Response<Incoming>,
        host: &str,
        what: &str,
    ) -> RegistryError {
        let status = response.status();
        let host = host.to_owned();
        let body = whole(response, MAX_ERROR_BODY, &host, ERROR_PATIENCE).await;
        let hide = |text: &str| self.access.hide(text);
        let text = body.map(|body| error_text(&body, hide)).unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND if what == "manifest" => RegistryError::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied {
                host,
                text: if text.is_empty() { format!("status {status}") } else { text },
            },
            _ => RegistryError::Status {
                host,
                status: status.as_u16(),
                path: what.to_owned(),
                text: if text.is_empty() {
                    status.canonical_reason().unwrap_or("no reason").to_owned()
                } else {
                    text
                },
            },
        }
    }
}

fn manifest_question<'a>(
    method: Method,
    endpoint: &'a Endpoint,
    reference: &Reference,
    version: &str,
) -> Question<'a> {
    let mut question = question(method, endpoint, reference, &format!("manifests/{version}"));
    question.headers.insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
    question
}

fn question<'a>(
    method: Method,
    endpoint: &'a Endpoint,
    reference: &Reference,
    what: &str,
) -> Question<'a> {
    let mut path = format!("/v2/{}/{what}", reference.repository());
    if let Some(namespace) = &endpoint.namespace {
        push_query(&mut path, "ns", namespace);
    }
    let url = Url { origin: endpoint.origin.clone(), path };
    let what = what.split_once('/').map_or(what, |(kind, _)| kind);
    let what = what.trim_end_matches('s').to_owned();
    Question { method, endpoint, url, headers: HeaderMap::new(), what }
}
