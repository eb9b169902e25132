//! `mote port-forward` on the command line.

use std::net::IpAddr;

use clap::Args;
use mote_protocol::name::NodeName;

/// `mote port-forward`.
#[derive(Debug, Args)]
#[command(after_help = "\
Listens here, and connects to the pod's own loopback: nothing listens on the node. The node must \
allow it: `port_forward = true` in section [streams] of its configuration. It tells of it in an event. \
Ends with Ctrl-C, or when the node is lost.

Examples:
  mote port-forward web 8080:80
  mote port-forward web 5432 :6379
  mote port-forward --address 0.0.0.0 web 8080:80")]
pub struct PortForwardArgs {
    /// The pod: NAME or pod/NAME
    #[arg(value_name = "POD")]
    pub pod: String,
    /// LOCAL:REMOTE, or PORT for both, or :REMOTE for any local port
    #[arg(required = true, value_name = "[LOCAL:]REMOTE")]
    pub ports: Vec<PortPair>,
    /// Where to listen: addresses, or localhost
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "localhost")]
    pub address: Vec<Listen>,
    /// The pod on this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<NodeName>,
}

/// A port here, and one of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPair {
    /// Here; 0 is any that is free.
    pub local: u16,
    /// Of the pod.
    pub remote: u16,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On both loopbacks, as far as there are two.
    Localhost,
    /// On one address.
    Address(IpAddr),
}

/// What is no port.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Not of the form.
    #[error("invalid port format '{0}'")]
    Format(String),
    /// Not from 1 to 65535.
    #[error("error parsing {side} port '{text}': it must be a number from 1 to 65535")]
    Number {
        /// `local` or `remote`.
        side: &'static str,
        /// What stands there.
        text: String,
    },
}

impl std::str::FromStr for PortPair {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let number = |side, text: &str| match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(PortError::Number { side, text: text.to_owned() }),
        };
        let parts: Vec<_> = text.split(':').collect();
        match parts[..] {
            [port] => number("remote", port).map(|port| Self { local: port, remote: port }),
            ["" | "0", remote] => Ok(Self { local: 0, remote: number("remote", remote)? }),
            [local, remote] => {
                Ok(Self { local: number("local", local)?, remote: number("remote", remote)? })
            }
            _ => Err(PortError::Format(text.to_owned())),
        }
    }
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self::Localhost);
        }
        let address = text.parse().map(Self::Address);
        address.map_err(|_| format!("{text} is not a valid IP"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_kubectl_reads_them() {
        let pair = |text: &str| text.parse::<PortPair>().map(|pair| (pair.local, pair.remote));
        assert_eq!(pair("80"), Ok((80, 80)));
        assert_eq!(pair("8080:80"), Ok((8080, 80)));
        assert_eq!(pair(":80"), Ok((0, 80)));
        assert_eq!(pair("0:80"), Ok((0, 80)));
        for wrong in ["", "0", "x", "80:", "1:2:3", "70000", "80:0", "-1", ":"] {
            assert!(pair(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_addresses_or_localhost() {
        assert_eq!("localhost".parse(), Ok(Listen::Localhost));
        assert_eq!("::1".parse(), Ok(Listen::Address("::1".parse().expect("an address"))));
        assert!("example.org".parse::<Listen>().is_err());
    }
}
