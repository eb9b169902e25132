//! TCP ports nobody else takes.
//!
//! Below the kernel's ephemeral range, so that a daemon that is stopped and started again finds
//! its port free: no outgoing connection was given it meanwhile.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// An address on the loopback interface whose port was free a moment ago. No two calls of one
/// process give the same; those of another process begin elsewhere.
pub fn free() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT))?;
    for _ in 0..COUNT {
        let place = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + place));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port from {FIRST} to {}", FIRST + COUNT - 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_ports_are_never_the_same() {
        assert_ne!(super::free().expect("one"), super::free().expect("another"));
    }
}
