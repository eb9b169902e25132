//! The little of URLs that a registry client needs: whom to connect to and what to ask for.

use std::fmt;

use hyper::Uri;

/// Whom a request goes to. Credentials never leave it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// HTTPS instead of HTTP.
    pub tls: bool,
    /// Host name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Where and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Where.
    pub origin: Origin,
    /// Path and query, starting with a slash.
    pub path: String,
}

/// Longest URL that is followed. Signed ones have 1 to 2 KiB.
const MAX_URL: usize = 8192;

impl Origin {
    /// Parses `host`, `host:port` or `[v6]:port`, with the scheme's port if none is given.
    pub(super) fn parse(tls: bool, authority: &str) -> Option<Self> {
        let uri: Uri = authority.parse().ok()?;
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { tls, host: host.to_ascii_lowercase(), port })
    }

    /// Whether configuration that names `host` or `host:port` means this origin.
    pub(super) fn is(&self, configured: &str) -> bool {
        Self::parse(self.tls, configured).is_some_and(|other| other == *self)
    }
}

impl fmt::Display for Origin {
    /// As the `Host` header has it: the port only where it is not the scheme's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl Url {
    /// Parses an absolute URL.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_URL {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let origin = Origin::parse(tls, uri.authority()?.as_str())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        Some(Self { origin, path })
    }

    /// Where a `Location` header points that came from here.
    pub(super) fn join(&self, location: &str) -> Option<Self> {
        if location.starts_with("//") {
            let scheme = if self.origin.tls { "https" } else { "http" };
            return Self::parse(&format!("{scheme}:{location}"));
        }
        let scheme = location.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| scheme.bytes().all(|b| b.is_ascii_alphanumeric())) {
            return Self::parse(location);
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let base = self.path.split('?').next().unwrap_or_default();
            let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{directory}/{location}")
        };
        let whole: Uri = path.parse().ok()?;
        let path = whole.path_and_query()?.as_str().to_owned();
        (path.len() <= MAX_URL).then(|| Self { origin: self.origin.clone(), path })
    }
}

/// Appends a query parameter, escaped.
pub(super) fn push_query(url: &mut String, key: &str, value: &str) {
    use fmt::Write;
    url.push(if url.contains('?') { '&' } else { '?' });
    url.push_str(key);
    url.push('=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(location: &str) -> Option<String> {
        let base = Url::parse("https://r.example/v2/a/blobs/x?y=1").unwrap();
        base.join(location).map(|url| {
            let scheme = if url.origin.tls { "https" } else { "http" };
            format!("{scheme}://{}{}", url.origin, url.path)
        })
    }

    #[test]
    fn redirects_resolve_as_browsers_do() {
        let cases = [
            ("https://cdn.example:8443/b?s=1", "https://cdn.example:8443/b?s=1"),
            ("//cdn.example/b", "https://cdn.example/b"),
            ("/b", "https://r.example/b"),
            ("/b?from=https://x", "https://r.example/b?from=https://x"),
            ("z?q", "https://r.example/v2/a/blobs/z?q"),
            ("http://[::1]:80/b", "http://[::1]/b"),
        ];
        for (location, expected) in cases {
            assert_eq!(join(location).as_deref(), Some(expected), "{location}");
        }
        for location in ["ftp://r.example/b", "https://u:p@r.example/b", "https:///b", "b c"] {
            assert_eq!(join(location), None, "{location}");
        }
    }

    #[test]
    fn origins_compare_by_what_they_reach() {
        let origin = Origin::parse(true, "R.example").unwrap();
        assert!(origin.is("r.example:443") && origin.is("r.example"));
        assert!(!origin.is("r.example:5000") && !origin.is("r.example.org"));
        assert_eq!(Origin::parse(false, "[::1]:5000").unwrap().to_string(), "[::1]:5000");
    }

    #[test]
    fn query_values_are_escaped() {
        let mut url = "https://auth.example/token?x=1".to_owned();
        push_query(&mut url, "scope", "repository:a/b:pull&evil=1");
        assert_eq!(
            url,
            "https://auth.example/token?x=1&scope=repository%3Aa%2Fb%3Apull%26evil%3D1"
        );
    }
}
