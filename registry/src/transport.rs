//! Connections to registries and whom they redirect to: one request at a time, HTTP/1.1, bounded
//! in time and memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::RegistryError;
use super::proxy::Proxy;
use super::url::{Origin, Url};
use super::{Identity, Settings, Timeouts, tls};

/// Bytes of a response that are held before whoever reads takes them.
const BUFFER: usize = 64 * 1024;
/// Headers of a response. Registries behind content networks send about 30.
const MAX_HEADERS: usize = 100;
/// Connections kept open: registry, token server, storage, and one more.
const MAX_IDLE: usize = 4;
/// Addresses tried per name.
const MAX_ADDRESSES: usize = 8;
/// Who is asking.
const AGENT: &str = concat!("mote/", env!("CARGO_PKG_VERSION"));

type Sender = SendRequest<Empty<Bytes>>;

/// Sends requests, keeping connections open between them.
pub(super) struct Transport {
    settings: Settings,
    idle: BTreeMap<Origin, Sender>,
    /// Trusted CAs and our own certificates, read once per file and only when needed.
    tls: BTreeMap<(Option<PathBuf>, Option<Identity>), Arc<ClientConfig>>,
}

impl Transport {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings, idle: BTreeMap::new(), tls: BTreeMap::new() }
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) const fn timeouts(&self) -> &Timeouts {
        &self.settings.timeouts
    }

    /// Whether it was said to speak plain HTTP to `authority`.
    pub(super) fn is_plain(&self, authority: &str) -> bool {
        self.settings.is_plain(authority)
    }

    /// Sends one request and gives the response's head; its body must be read or dropped before
    /// the next request.
    pub(super) async fn send(
        &mut self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, RegistryError> {
        let host = url.origin.to_string();
        if let Some(sender) = self.idle.remove(&url.origin) {
            // The server may have closed it meanwhile: then a new one gets its chance.
            if let Ok(response) = self.exchange(sender, method, url, headers, &host).await {
                return Ok(response);
            }
        }
        let sender = self.connect(&url.origin, &host).await?;
        self.exchange(sender, method, url, headers, &host).await
    }

    async fn exchange(
        &mut self,
        mut sender: Sender,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        host: &str,
    ) -> Result<Response<Incoming>, RegistryError> {
        let broken = |source| RegistryError::Http { host: host.to_owned(), source };
        let answer = self.settings.timeouts.answer;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method.clone();
        let proxy = self.settings.proxies.between(&url.origin);
        // A proxy opens tunnels for TLS and reads everything else.
        let proxy = proxy.filter(|_| !url.origin.tls);
        let target = match proxy {
            Some(_) => format!("http://{host}{}", url.path).parse(),
            None => url.path.parse(),
        };
        *request.uri_mut() = target.map_err(|_| protocol(host, "an impossible path"))?;
        *request.headers_mut() = headers.clone();
        if let Some(login) = proxy.and_then(Proxy::authorization) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        let authority =
            HeaderValue::from_str(host).map_err(|_| protocol(host, "an impossible host name"))?;
        request.headers_mut().insert(HOST, authority);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        within(host, answer, sender.ready()).await?.map_err(broken)?;
        let response = within(host, answer, sender.send_request(request)).await?.map_err(broken)?;
        if self.idle.len() >= MAX_IDLE {
            self.idle.pop_first();
        }
        self.idle.insert(url.origin.clone(), sender);
        Ok(response)
    }

    async fn connect(&mut self, origin: &Origin, host: &str) -> Result<Sender, RegistryError> {
        let proxy = self.settings.proxies.between(origin).cloned();
        let stream = match &proxy {
            Some(proxy) => {
                let shown = format!("{host} through proxy {proxy}");
                self.dial(proxy.host(), proxy.port(), &shown).await?
            }
            None => self.dial(&origin.host, origin.port, host).await?,
        };
        if !origin.tls {
            return handshake(stream, host).await;
        }
        match &proxy {
            Some(proxy) => {
                let tunnel = self.tunnel(stream, proxy, origin, host).await?;
                self.secure(TokioIo::new(tunnel), origin, host).await
            }
            None => self.secure(stream, origin, host).await,
        }
    }

    /// Speaks TLS over a stream, and HTTP over that.
    async fn secure<S>(
        &mut self,
        stream: S,
        origin: &Origin,
        host: &str,
    ) -> Result<Sender, RegistryError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connector = TlsConnector::from(self.trust(origin, host)?);
        let clock = self.settings.clock;
        let failed = |error| RegistryError::Tls {
            host: host.to_owned(),
            source: clock.explain(error, UnixTime::now()),
        };
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|error| failed(io::Error::other(error)))?;
        let limit = self.settings.timeouts.connect;
        let stream = within(host, limit, connector.connect(name, stream)).await?.map_err(failed)?;
        handshake(stream, host).await
    }

    /// Asks a proxy for a connection to `origin` (RFC 9110, section 9.3.6).
    async fn tunnel(
        &self,
        stream: TcpStream,
        proxy: &Proxy,
        origin: &Origin,
        host: &str,
    ) -> Result<Upgraded, RegistryError> {
        let limit = self.settings.timeouts.connect;
        let broken = |source| RegistryError::Http { host: proxy.to_string(), source };
        let (mut sender, connection) =
            builder().handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        // With its port, also where it is the scheme's own.
        let name = if origin.host.contains(':') {
            format!("[{}]", origin.host)
        } else {
            origin.host.clone()
        };
        let target = format!("{name}:{}", origin.port);
        let impossible = |_| protocol(host, "an impossible host name");
        *request.uri_mut() = target.parse().map_err(impossible)?;
        let authority = HeaderValue::from_str(&target);
        let authority = authority.map_err(|_| protocol(host, "an impossible host name"))?;
        request.headers_mut().insert(HOST, authority);
        if let Some(login) = proxy.authorization() {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        let response = within(host, limit, sender.send_request(request)).await?.map_err(broken)?;
        if !response.status().is_success() {
            let (host, proxy) = (host.to_owned(), proxy.to_string());
            return Err(RegistryError::Proxy { host, proxy, status: response.status().as_u16() });
        }
        within(host, limit, hyper::upgrade::on(response)).await?.map_err(broken)
    }

    /// Opens a TCP connection to the first address that accepts one.
    async fn dial(&self, name: &str, port: u16, host: &str) -> Result<TcpStream, RegistryError> {
        let limit = self.settings.timeouts.connect;
        let resolve = |source| RegistryError::Resolve { host: host.to_owned(), source };
        let lookup = tokio::net::lookup_host((name, port));
        let addresses = match tokio::time::timeout(limit, lookup).await {
            Ok(found) => found.map_err(resolve)?,
            Err(_) => return Err(resolve(io::ErrorKind::TimedOut.into())),
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses.take(MAX_ADDRESSES) {
            match tokio::time::timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(RegistryError::Connect { host: host.to_owned(), source: last })
    }

    fn trust(&mut self, origin: &Origin, host: &str) -> Result<Arc<ClientConfig>, RegistryError> {
        let special = self.settings.host(origin);
        let own = special.and_then(|host| host.ca.as_ref()).or(self.settings.ca.as_ref());
        let files = (own.cloned(), special.and_then(|host| host.identity.clone()));
        if let Some(config) = self.tls.get(&files) {
            return Ok(config.clone());
        }
        let config = tls::client(files.0.as_deref(), files.1.as_ref(), self.settings.clock);
        let config = config.map_err(|(path, source)| RegistryError::Authorities {
            host: host.to_owned(),
            path,
            source,
        })?;
        self.tls.insert(files, config.clone());
        Ok(config)
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER).max_headers(MAX_HEADERS);
    builder
}

/// Speaks HTTP over a stream.
async fn handshake<S>(stream: S, host: &str) -> Result<Sender, RegistryError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |source| RegistryError::Http { host: host.to_owned(), source };
    let (sender, connection) = builder().handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Waits for `future`, but not for ever.
pub(super) async fn within<F: Future>(
    host: &str,
    limit: Duration,
    future: F,
) -> Result<F::Output, RegistryError> {
    tokio::time::timeout(limit, future)
        .await
        .map_err(|_| RegistryError::Silent { host: host.to_owned(), seconds: limit.as_secs() })
}

pub(super) fn protocol(host: &str, what: &str) -> RegistryError {
    RegistryError::Protocol { host: host.to_owned(), what: what.to_owned() }
}
