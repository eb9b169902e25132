//! The HTTP proxy that stands before the registries, if one does.
//!
//! Who is asked through it follows the conventions of Go's `net/http`, which is what operators of
//! container runtimes know: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, loopback always directly.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};

use super::url::Origin;

/// Longest name or password.
const MAX_LOGIN: usize = 1024;

/// A proxy, `http://[user:password@]host[:port]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    host: String,
    port: u16,
    /// What basic authentication shows.
    login: Option<String>,
}

/// Why a text is no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("proxy must be http://host:port or http://user:password@host:port")]
pub struct ProxyError;

/// Which proxy is for what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxies {
    /// For registries that are asked by HTTPS.
    pub https: Option<Proxy>,
    /// For those that are asked by plain HTTP.
    pub http: Option<Proxy>,
    /// Who is asked directly.
    pub except: Vec<Exception>,
}

/// Somebody who is asked directly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exception {
    /// `*`
    Everybody,
    /// `example.org` is the host and all below it, `.example.org` only those below; with a port
    /// where one is given.
    Domain {
        /// Without its dot, in lower case.
        name: String,
        /// Only what is below it.
        below: bool,
        /// Any where unset.
        port: Option<u16>,
    },
    /// `10.0.0.0/8`, or one address.
    Network {
        /// Its first address.
        address: IpAddr,
        /// Bits of it that count.
        prefix: u8,
    },
}

/// Why a text names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be `*`, a host name, a domain that begins with a dot, an address or a network such as 10.0.0.0/8"
)]
pub struct ExceptionError;

impl Proxy {
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What it is shown, where it wants something.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut header = HeaderValue::from_str(self.login.as_deref()?).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Self, ProxyError> {
        let rest = text.strip_prefix("http://").ok_or(ProxyError)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, authority) = match rest.rsplit_once('@') {
            Some((login, authority)) => (Some(login), authority),
            None => (None, rest),
        };
        let well_formed = !authority.contains(['/', '?', '#']);
        let origin = Origin::parse(false, authority).filter(|_| well_formed).ok_or(ProxyError)?;
        let login = login.map(|login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let (user, password) = (unescape(user)?, unescape(password)?);
            Some(format!("Basic {}", BASE64_STANDARD.encode([&user[..], b":", &password].concat())))
        });
        let login = login.map(|login| login.ok_or(ProxyError)).transpose()?;
        Ok(Self { host: origin.host, port: origin.port, login })
    }
}

/// Undoes percent-encoding.
fn unescape(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_LOGIN {
        return None;
    }
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let digits = [char::from(bytes.next()?), char::from(bytes.next()?)];
        let [high, low] = digits.map(|digit| digit.to_digit(16));
        plain.push(u8::try_from(high? * 16 + low?).ok()?);
    }
    Some(plain)
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self}{})", if self.login.is_some() { ", with a login" } else { "" })
    }
}

impl FromStr for Exception {
    type Err = ExceptionError;

    fn from_str(text: &str) -> Result<Self, ExceptionError> {
        if text == "*" {
            return Ok(Self::Everybody);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        // A port behind brackets is not looked at: all ports of that address.
        let bare = address.strip_prefix('[').and_then(|a| a.split_once(']')).map(|(a, _)| a);
        let bare = bare.unwrap_or(address);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| ExceptionError)?;
            let fits = prefix <= bits;
            return fits.then_some(Self::Network { address, prefix }).ok_or(ExceptionError);
        }
        let dotless = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        let (name, below) = dotless.map_or((text, false), |name| (name, true));
        let (name, port) = match name.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| ExceptionError)?)),
            None => (name, None),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if prefix.is_some() || name.is_empty() || !name.bytes().all(allowed) {
            return Err(ExceptionError);
        }
        Ok(Self::Domain { name: name.to_ascii_lowercase(), below, port })
    }
}

impl Exception {
    fn holds(&self, origin: &Origin) -> bool {
        match self {
            Self::Everybody => true,
            Self::Domain { name, below, port } => {
                let host = origin.host.strip_suffix('.').unwrap_or(&origin.host);
                let is_below = host.strip_suffix(name.as_str()).is_some_and(|h| h.ends_with('.'));
                (is_below || (!below && host == name))
                    && port.is_none_or(|port| port == origin.port)
            }
            Self::Network { address, prefix } => {
                let bits = |address: IpAddr| match address {
                    IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
                    IpAddr::V6(address) => (u128::from(address), 128),
                };
                let Ok(host) = origin.host.parse::<IpAddr>() else { return false };
                let ((host, of_host), (network, of_network)) = (bits(host), bits(*address));
                let differ = (host ^ network).checked_shr(128 - u32::from(*prefix)).unwrap_or(0);
                of_host == of_network && differ == 0
            }
        }
    }
}

/// Most entries of a list of those who are asked directly.
pub const MAX_EXCEPTIONS: usize = 512;

impl Proxies {
    /// What the variables say that programs written in Go go by. They are for all programs: what
    /// this one cannot use is passed over, and told.
    pub fn of_environment(
        variable: impl Fn(&str) -> Option<String>,
        passed_over: &mut Vec<String>,
    ) -> Self {
        let first = |names: [&'static str; 2]| {
            let mut found = names.into_iter().filter_map(|name| Some((name, variable(name)?)));
            found.find(|(_, text)| !text.is_empty())
        };
        let mut proxy_of = |names| {
            let (name, text) = first(names)?;
            let whole = if text.contains("://") { text } else { format!("http://{text}") };
            let proxy = whole.parse::<Proxy>();
            proxy.inspect_err(|error| passed_over.push(format!("{name}: {error}"))).ok()
        };
        let https = proxy_of(["HTTPS_PROXY", "https_proxy"]);
        let http = proxy_of(["HTTP_PROXY", "http_proxy"]);
        let listed = first(["NO_PROXY", "no_proxy"]);
        let entries = listed.iter().flat_map(|(_, text)| text.split(','));
        // What Go does not understand there it passes over as well.
        let except = entries.filter_map(|entry| entry.trim().parse().ok()).take(MAX_EXCEPTIONS);
        Self { https, http, except: except.collect() }
    }

    /// The proxy to ask `origin` through, if any.
    pub(super) fn between(&self, origin: &Origin) -> Option<&Proxy> {
        let proxy = if origin.tls { self.https.as_ref() } else { self.http.as_ref() };
        let address = origin.host.parse::<IpAddr>();
        let local =
            origin.host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        proxy.filter(|_| !local && !self.except.iter().any(|except| except.holds(origin)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_may_have_a_login_and_never_shows_it() {
        let proxy: Proxy = "http://us%40er:p%3a@proxy.example:3128/".parse().unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
        assert_eq!(proxy.authorization().unwrap(), "Basic dXNAZXI6cDo=");
        assert_eq!(
            format!("{proxy} {proxy:?}"),
            "proxy.example:3128 Proxy(proxy.example:3128, with a login)"
        );
        let bare: Proxy = "http://[::1]".parse().unwrap();
        assert_eq!((bare.to_string().as_str(), bare.authorization()), ("[::1]:80", None));
        for text in ["", "proxy:3128", "https://proxy", "http://", "http://a/b", "http://%zz@a"] {
            assert_eq!(text.parse::<Proxy>(), Err(ProxyError), "{text}");
        }
    }

    #[test]
    fn exceptions_are_read_as_go_reads_them() {
        let origin = |text: &str| Origin::parse(true, text).unwrap();
        let cases = [
            ("*", "anybody.test", true),
            ("r.example", "r.example", true),
            ("r.example", "a.r.example", true),
            ("r.example", "xr.example", false),
            (".r.example", "r.example", false),
            ("*.r.example", "a.R.example", true),
            ("r.example:443", "r.example", true),
            ("r.example:80", "r.example", false),
            ("10.0.0.0/8", "10.200.0.1:5000", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("fd00::/8", "[fd12::1]:5000", true),
            ("fd00::/8", "10.0.0.1", false),
        ];
        for (text, host, expected) in cases {
            let exception: Exception = text.parse().unwrap();
            assert_eq!(exception.holds(&origin(host)), expected, "{text} and {host}");
        }
        for text in ["", "a b", "r.example/8", "10.0.0.0/33", "r.example:x"] {
            assert_eq!(text.parse::<Exception>(), Err(ExceptionError), "{text}");
        }
    }

    #[test]
    fn loopback_is_always_asked_directly() {
        let proxy: Option<Proxy> = "http://proxy".parse().ok();
        let proxies = Proxies { https: proxy.clone(), http: None, except: Vec::new() };
        let between = |tls, host| proxies.between(&Origin::parse(tls, host).unwrap()).cloned();
        assert_eq!(between(true, "r.example"), proxy);
        for (tls, host) in [(false, "r.example"), (true, "localhost:5000"), (true, "127.1.2.3")] {
            assert_eq!(between(tls, host), None, "{host}");
        }
    }
}
