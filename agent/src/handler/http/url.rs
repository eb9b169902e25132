//! Whom to ask and for what: the URL of a request, and where an answer redirects it to.

use std::fmt::{self, Write};

use hyper::Uri;

use crate::handler::dial::authority;
use crate::pod::handler::HttpGet;

/// Longest redirect that is followed.
const MAX_LOCATION: usize = 8192;

/// Where and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// HTTPS instead of HTTP.
    pub tls: bool,
    /// Name or address, IPv6 without brackets; the pod itself where empty.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The port was written, and is repeated where the URL is shown.
    shows_port: bool,
    /// Path and query, starting with a slash.
    pub target: String,
}

impl Url {
    /// What a handler asks for.
    pub(super) fn of(get: &HttpGet, port: u16) -> Self {
        let (tls, host, target) = (get.https, get.host.clone(), target(&get.path));
        Self { tls, host, port, shows_port: true, target }
    }

    /// As the `Host` header has it.
    pub(super) fn authority(&self) -> String {
        let whole = authority(&self.host, self.port);
        let bare = if self.shows_port { None } else { whole.rsplit_once(':') };
        bare.map_or_else(|| whole.clone(), |(host, _)| host.to_owned())
    }

    /// The host as a redirect names it: the pod is where its loopback is.
    pub(super) fn host_name(&self) -> &str {
        if self.host.is_empty() { "127.0.0.1" } else { &self.host }
    }

    /// Whether both name the same host, whatever their ports.
    pub(super) fn is_on(&self, other: &Self) -> bool {
        self.host_name().eq_ignore_ascii_case(other.host_name())
    }

    /// Where a `Location` header points that came from here.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        if location.len() > MAX_LOCATION {
            return None;
        }
        let location = location.split('#').next().unwrap_or_default();
        if let Some(behind) = location.strip_prefix("//") {
            let scheme = if self.tls { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{behind}"));
        }
        if is_absolute(location) {
            return Self::parse(location);
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let whole = match location.chars().next() {
            None => self.target.clone(),
            Some('/') => location.to_owned(),
            Some('?') => format!("{path}{location}"),
            Some(_) => {
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                format!("{directory}/{location}")
            }
        };
        Some(Self { target: target(&whole), ..self.clone() })
    }

    fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let target = target(uri.path_and_query().map_or("/", |whole| whole.as_str()));
        let shows_port = uri.port_u16().is_some();
        Some(Self { tls, host: host.to_owned(), port, shows_port, target })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

/// Whether a reference begins with a scheme (RFC 3986, section 3.1).
pub(super) fn is_absolute(location: &str) -> bool {
    location.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// What is asked for, from a path that a person wrote: without fragment, with every byte escaped
/// that must be. One that cannot be read as path and query is a path, literally.
fn target(text: &str) -> String {
    let readable = !text.bytes().any(|byte| byte.is_ascii_control()) && escapes_are_whole(text);
    let mut out = String::with_capacity(text.len() + 1);
    if !text.starts_with('/') {
        out.push('/');
    }
    let text = if readable { text.split('#').next().unwrap_or_default() } else { text };
    for byte in text.bytes() {
        let keep = match byte {
            b'%' | b'?' => readable,
            b'-' | b'.' | b'_' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'='
            | b'@' | b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if keep {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn escapes_are_whole(text: &str) -> bool {
    let digits =
        |rest: &str| rest.as_bytes().iter().take(2).filter(|b| b.is_ascii_hexdigit()).count();
    text.split('%').skip(1).all(|rest| digits(rest) == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_where_they_must_be() {
        for (path, expected) in [
            ("/", "/"),
            ("healthz", "/healthz"),
            ("/a?b=c&d=%20", "/a?b=c&d=%20"),
            ("/a#b", "/a"),
            ("/a b/ä", "/a%20b/%C3%A4"),
            ("/a%2Fb", "/a%2Fb"),
            ("/50%?x#y", "/50%25%3Fx%23y"),
            ("/a\r\nHost: b", "/a%0D%0AHost:%20b"),
            ("?x", "/?x"),
        ] {
            assert_eq!(target(path), expected, "{path:?}");
        }
    }

    #[test]
    fn redirects_resolve_as_in_browsers() {
        let get = HttpGet {
            host: String::new(),
            port: crate::pod::handler::Port::Number(8080),
            path: "/a/b?c".into(),
            https: false,
            headers: vec![],
        };
        let base = Url::of(&get, 8080);
        assert_eq!(base.to_string(), "http://127.0.0.1:8080/a/b?c");
        for (location, expected, same) in [
            ("/x", "http://127.0.0.1:8080/x", true),
            ("x?y#z", "http://127.0.0.1:8080/a/x?y", true),
            ("?y", "http://127.0.0.1:8080/a/b?y", true),
            ("https://127.0.0.1:8443/x", "https://127.0.0.1:8443/x", true),
            ("http://127.0.0.1", "http://127.0.0.1/", true),
            ("//[::1]:1/x", "http://[::1]:1/x", false),
            ("http://elsewhere/x", "http://elsewhere/x", false),
        ] {
            let joined = base.join(location).unwrap();
            assert_eq!((joined.to_string().as_str(), joined.is_on(&base)), (expected, same));
        }
        for location in ["ftp://127.0.0.1/", "http://", "http:///x", "mailto:a@b"] {
            assert_eq!(base.join(location), None, "{location}");
        }
        assert_eq!(base.join(&"x".repeat(9000)), None);
    }
}
