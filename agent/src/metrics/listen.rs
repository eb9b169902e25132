//! Where who scrapes finds us.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where; nowhere unless that is said.
    pub listen: Option<Listen>,
}

/// A socket to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A port.
    Port(SocketAddr),
    /// A path, for programs of this machine.
    Unix(PathBuf),
}

/// Longest path of a unix socket (unix(7)), without the byte that ends it.
const MAX_PATH: usize = 107;

/// A text that is no place to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be ADDRESS:PORT or unix:/PATH of at most {MAX_PATH} characters, like 127.0.0.1:9100")]
pub struct ListenError;

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.starts_with('/') && path.len() <= MAX_PATH && !path.contains('\0');
            return if fits { Ok(Self::Unix(path.into())) } else { Err(ListenError) };
        }
        text.parse().map(Self::Port).map_err(|_| ListenError)
    }
}

impl Listen {
    /// Only programs of this machine reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Port(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ports_of_addresses_and_paths() {
        let local = |text: &str| text.parse::<Listen>().map(|listen| listen.is_local());
        for text in ["127.0.0.1:9100", "127.8.0.1:1", "[::1]:9100", "unix:/run/mote/metrics.sock"] {
            assert_eq!(local(text), Ok(true), "{text}");
        }
        for text in ["0.0.0.0:9100", "[::]:9100", "192.0.2.1:9100"] {
            assert_eq!(local(text), Ok(false), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        for text in ["", "9100", ":9100", "localhost:9100", "unix:", "unix:metrics.sock", &long] {
            assert_eq!(local(text), Err(ListenError), "{text}");
        }
    }
}
