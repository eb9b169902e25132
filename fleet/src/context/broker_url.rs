//! Where a broker is: `mqtt://host[:port]` or `mqtts://host[:port]`.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A broker's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Whether to speak TLS.
    pub tls: bool,
    /// Host name or IP address; an IPv6 address in brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Why a text is no broker's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    /// It does not begin with a scheme we speak.
    #[error("must begin with mqtt:// or mqtts://")]
    Scheme,
    /// It has no host, or more than host and port.
    #[error("must be SCHEME://HOST or SCHEME://HOST:PORT and nothing more")]
    Form,
    /// The port is no number.
    #[error("the port must be a number between 1 and 65535")]
    Port,
    /// TLS and an IPv6 address.
    #[error("mqtts needs a host name or an IPv4 address")]
    BareAddress,
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, BrokerUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(BrokerUrlError::Scheme)?;
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(BrokerUrlError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => {
                address.parse::<Ipv6Addr>().map_err(|_| BrokerUrlError::Form)?;
                if tls {
                    return Err(BrokerUrlError::BareAddress);
                }
                let port = match port {
                    "" => None,
                    _ => Some(port.strip_prefix(':').ok_or(BrokerUrlError::Form)?),
                };
                (format!("[{address}]"), port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (rest.to_owned(), None),
            },
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(BrokerUrlError::Form);
        }
        let port = match port {
            None => 1883 + 7000 * u16::from(tls),
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(BrokerUrlError::Port)?,
        };
        Ok(Self { tls, host, port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_show_their_port() {
        for (text, shown) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker.example/", "mqtts://broker.example:8883"),
            ("mqtt://10.0.0.1:1884", "mqtt://10.0.0.1:1884"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtt://[::1]:9", "mqtt://[::1]:9"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().expect(text).to_string(), shown);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, error) in [
            ("broker", BrokerUrlError::Scheme),
            ("tcp://broker", BrokerUrlError::Scheme),
            ("mqtt://", BrokerUrlError::Form),
            ("mqtt://user@host", BrokerUrlError::Form),
            ("mqtt://host/path", BrokerUrlError::Form),
            ("mqtt://host:0", BrokerUrlError::Port),
            ("mqtt://host:x", BrokerUrlError::Port),
            ("mqtt://::1", BrokerUrlError::Form),
            ("mqtts://[::1]", BrokerUrlError::BareAddress),
        ] {
            assert_eq!(text.parse::<BrokerUrl>(), Err(error), "{text}");
        }
    }
}
