//! Asks a registry: redirects, tokens, and what its answers mean.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE, WWW_AUTHENTICATE,
};
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;

use super::auth::{Challenge, MAX_TOKEN_ANSWER, TokenAnswer};
use super::error::RegistryError;
use super::transport::{Transport, protocol, within};
use super::url::{Origin, Url, push_query};
use crate::image::digest::{Digest, Hasher, Mismatch};
use crate::image::manifest::{ACCEPT as MANIFESTS, MAX_DOCUMENT};
use crate::image::reference::Reference;

/// Redirects followed for one request: registries use one, content networks another.
const MAX_REDIRECTS: usize = 5;
/// How much of an error's body is read for its text.
const MAX_ERROR_BODY: usize = 4096;
/// How long to wait for it: the status says enough.
const ERROR_PATIENCE: Duration = Duration::from_secs(5);
/// The header in which registries name what a tag stands for.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A registry client for one repository at a time.
pub(super) struct Client {
    transport: Transport,
    /// The last token, and for whom it was given.
    token: Option<(String, HeaderValue)>,
}

/// One document as a registry sent it.
pub struct Fetched {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// The media type the registry gave it.
    pub content_type: String,
}

/// What to ask for.
struct Question<'a> {
    method: Method,
    reference: &'a Reference,
    url: Url,
    headers: HeaderMap,
}

impl Client {
    pub(super) const fn new(transport: Transport) -> Self {
        Self { transport, token: None }
    }

    pub(super) const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The digest a reference stands for now, if the registry says it without sending it.
    pub(super) async fn current(
        &mut self,
        reference: &Reference,
    ) -> Result<Option<Digest>, RegistryError> {
        let question = self.manifest_question(Method::HEAD, reference, &reference.version())?;
        let host = question.url.origin.to_string();
        let response = self.ask(question).await?;
        match response.status() {
            StatusCode::OK => Ok(named_digest(&response)),
            // Some registries do not answer HEAD as they answer GET; let GET decide.
            StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => Err(Self::refusal(response, &host, "manifest").await),
        }
    }

    /// Fetches a manifest or index and checks it against the digest that names it, if one does.
    pub(super) async fn manifest(
        &mut self,
        reference: &Reference,
        digest: Option<Digest>,
    ) -> Result<Fetched, RegistryError> {
        let version = digest.map_or_else(|| reference.version(), |digest| digest.to_string());
        let question = self.manifest_question(Method::GET, reference, &version)?;
        let host = question.url.origin.to_string();
        let response = self.ask(question).await?;
        if response.status() != StatusCode::OK {
            return Err(Self::refusal(response, &host, "manifest").await);
        }
        let expected = digest.or(reference.digest()).or_else(|| named_digest(&response));
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
            _ => Ok(Fetched { bytes, digest, content_type }),
        }
    }

    /// Starts to fetch a blob from `offset` on; the answer's head says whether it did.
    pub(super) async fn blob(
        &mut self,
        reference: &Reference,
        digest: &Digest,
        offset: u64,
    ) -> Result<Response<Incoming>, RegistryError> {
        let mut question = self.question(Method::GET, reference, &format!("blobs/{digest}"))?;
        if offset > 0 {
            let range = HeaderValue::from_str(&format!("bytes={offset}-"));
            question.headers.insert(RANGE, range.expect("digits are a header value"));
        }
        let host = question.url.origin.to_string();
        let response = self.ask(question).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            _ => Err(Self::refusal(response, &host, &format!("blob {digest}")).await),
        }
    }

    fn manifest_question<'a>(
        &self,
        method: Method,
        reference: &'a Reference,
        version: &str,
    ) -> Result<Question<'a>, RegistryError> {
        let mut question = self.question(method, reference, &format!("manifests/{version}"))?;
        question.headers.insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        Ok(question)
    }

    fn question<'a>(
        &self,
        method: Method,
        reference: &'a Reference,
        what: &str,
    ) -> Result<Question<'a>, RegistryError> {
        let authority = reference.endpoint();
        let origin = Origin::parse(!self.transport.is_plain(authority), authority)
            .ok_or_else(|| protocol(authority, "an impossible host name"))?;
        let path = format!("/v2/{}/{what}", reference.repository());
        Ok(Question { method, reference, url: Url { origin, path }, headers: HeaderMap::new() })
    }

    /// Asks; when told to authenticate, gets a token and asks again.
    async fn ask(&mut self, question: Question<'_>) -> Result<Response<Incoming>, RegistryError> {
        let response = self.follow(&question, true).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let host = question.url.origin.to_string();
        let header = response.headers().get(WWW_AUTHENTICATE);
        let challenge = Challenge::parse(header.and_then(|h| h.to_str().ok()).unwrap_or_default());
        drop(response);
        self.token = None;
        match challenge {
            Challenge::Bearer { realm, service, scope } => {
                let token = self.fetch_token(&question, &realm, service, scope).await?;
                self.token = Some((token_key(question.reference), token));
                self.follow(&question, true).await
            }
            Challenge::Basic => Err(RegistryError::Denied {
                host,
                text: "it wants a user name and password, and this node has none".to_owned(),
            }),
            Challenge::Unknown(scheme) => Err(RegistryError::Denied {
                host,
                text: format!("it wants authentication of the unknown kind {scheme:?}"),
            }),
        }
    }

    /// Sends a request wherever redirects lead. The token goes to the registry alone.
    async fn follow(
        &mut self,
        question: &Question<'_>,
        with_token: bool,
    ) -> Result<Response<Incoming>, RegistryError> {
        let mut url = question.url.clone();
        let key = token_key(question.reference);
        let token = self.token.as_ref().filter(|(owner, _)| with_token && *owner == key);
        let token = token.map(|(_, token)| token.clone());
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = question.headers.clone();
            if let Some(token) = token.as_ref().filter(|_| url.origin == question.url.origin) {
                headers.insert(AUTHORIZATION, token.clone());
            }
            let response = self.transport.send(&question.method, &url, &headers).await?;
            if !response.status().is_redirection() {
                return Ok(response);
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

    async fn fetch_token(
        &mut self,
        question: &Question<'_>,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<HeaderValue, RegistryError> {
        let host = question.url.origin.to_string();
        let mut address = realm.to_owned();
        if let Some(service) = service {
            push_query(&mut address, "service", &service);
        }
        let scope =
            scope.unwrap_or_else(|| format!("repository:{}:pull", question.reference.repository()));
        push_query(&mut address, "scope", &scope);
        let url = Url::parse(&address)
            .ok_or_else(|| protocol(&host, "its token server has an impossible address"))?;
        if question.url.origin.tls && !url.origin.tls {
            return Err(protocol(&host, "its token server would be asked by plain HTTP"));
        }
        let host = url.origin.to_string();
        let asked = Question { method: Method::GET, url, headers: HeaderMap::new(), ..*question };
        let response = self.follow(&asked, false).await?;
        if response.status() != StatusCode::OK {
            return Err(Self::refusal(response, &host, "token").await);
        }
        let idle = self.transport.timeouts().idle;
        let body = whole(response, MAX_TOKEN_ANSWER, &host, idle).await?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
        let token = answer.and_then(TokenAnswer::into_token);
        let header = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header =
            header.ok_or_else(|| protocol(&host, "its answer to a token request has no token"))?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// What an answer that is no success means.
    async fn refusal(response: Response<Incoming>, host: &str, what: &str) -> RegistryError {
        let status = response.status();
        let host = host.to_owned();
        let body = whole(response, MAX_ERROR_BODY, &host, ERROR_PATIENCE).await;
        let text = body.map(|body| error_text(&body)).unwrap_or_default();
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

/// For whom a token was given.
fn token_key(reference: &Reference) -> String {
    reference.name()
}

fn named_digest(response: &Response<Incoming>) -> Option<Digest> {
    response.headers().get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes.
async fn whole(
    response: Response<Incoming>,
    limit: usize,
    host: &str,
    idle: Duration,
) -> Result<Vec<u8>, RegistryError> {
    let too_long = || protocol(host, &format!("it sent a document of more than {limit} bytes"));
    let mut body = response.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(too_long());
    }
    let mut data = Vec::new();
    while let Some(frame) = within(host, idle, body.frame()).await? {
        let frame =
            frame.map_err(|source| RegistryError::Http { host: host.to_owned(), source })?;
        let Some(chunk) = frame.data_ref() else { continue };
        if data.len() + chunk.len() > limit {
            return Err(too_long());
        }
        data.extend_from_slice(chunk);
    }
    Ok(data)
}

/// The text in a registry's error document, or the start of whatever came instead.
fn error_text(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Document {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let text = match serde_json::from_slice::<Document>(body) {
        Ok(document) => {
            let texts = document.errors.iter().map(|e| format!("{} {}", e.code, e.message));
            texts.collect::<Vec<_>>().join(", ")
        }
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.trim().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_errors_are_shown_short_and_clean() {
        let body = br#"{"errors":[{"code":"DENIED","message":"requested\naccess is denied"}]}"#;
        assert_eq!(error_text(body), "DENIED requested access is denied");
        assert_eq!(error_text(b"<html>\x1b[31m"), "<html> [31m");
        assert_eq!(error_text(&[b'x'; 999]).len(), 200);
    }
}
