//! What went through the cables of pods: the kernel's counters of the node's ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};

use mote_protocol::usage::Traffic;

use super::link;

/// All interfaces of the network namespace that this program is in, a line each. Unlike netlink(7) it
/// waits for nobody who changes one.
const PATH: &str = "/proc/self/net/dev";

/// Longest text that is read: some five hundred interfaces.
const MAX: u64 = 64 * 1024;

/// The counters as the kernel tells them.
pub(super) fn read() -> io::Result<String> {
    let mut text = String::new();
    File::open(PATH)?.take(MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What went through each cable, by its name. What comes in at the node's end the pod has sent. PURE.
pub(super) fn parse(text: &str) -> BTreeMap<&str, Traffic> {
    let lines = text.lines().filter_map(counters);
    lines.filter(|(name, _)| link::address_in(name).is_some()).collect()
}

fn counters(line: &str) -> Option<(&str, Traffic)> {
    let (name, counters) = line.split_once(':')?;
    // Bytes, packets, errors, drops, fifo, frame, compressed, multicast; then the same of what goes out.
    let mut counters = counters.split_ascii_whitespace();
    let (sent, received) = (counters.next()?.parse().ok()?, counters.nth(7)?.parse().ok()?);
    Some((name.trim(), Traffic { received, sent }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_receives_its_pod_sent() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
            lo:  900       9    0    0    0     0          0         0   900       9    0    0    0 0 0 0\n\
            mote-0a580002: 1500      17    0    0    0     0          0         0    70042     60    0 0 0 0 0 0\n\
            mote-0a580003: 12\n  eth0: 5 5 5 5 5 5 5 5 5 5\n";
        let traffic = Traffic { received: 70_042, sent: 1500 };
        assert_eq!(parse(text), BTreeMap::from([("mote-0a580002", traffic)]));
    }

    #[test]
    fn this_machine_can_be_read() {
        assert!(read().expect("the file is there").contains("lo:"));
    }
}
