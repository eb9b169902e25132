//! Addresses that the world knows a node by.

use std::net::IpAddr;
use std::str::FromStr;

/// An address that somebody elsewhere can reach.
pub(super) struct ExternalIp(pub(super) IpAddr);

impl FromStr for ExternalIp {
    type Err = ExternalIpError;
    fn from_str(text: &str) -> Result<Self, ExternalIpError> {
        let ip: IpAddr = text.parse().map_err(|_| ExternalIpError)?;
        if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
            return Err(ExternalIpError);
        }
        Ok(Self(ip))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("must be an IPv4 or IPv6 address by which others can reach this node")]
pub(super) struct ExternalIpError;
