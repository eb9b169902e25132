//! What the kernel and containers say, as text.

use super::{cgroup, message, process};

/// Reads `/proc/PID/stat`.
pub fn stat(text: &str) -> bool {
    let _ = process::parse_kin(text);
    process::parse(text).is_some()
}

/// Reads `/proc/PID/cgroup`.
pub fn cgroup(lines: &[u8]) -> bool {
    cgroup::is_below(lines, "mote.slice")
}

/// Makes a termination message of what a container wrote, and of a log.
pub fn message(bytes: &[u8]) -> [String; 2] {
    message::shown(bytes)
}
