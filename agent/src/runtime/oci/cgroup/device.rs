//! The devices a container may open on cgroup v1. On v2 that would take a BPF program: there, a
//! container lacks `CAP_MKNOD` and its mounts are `nodev` instead.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{major, minor};

/// The line for `devices.allow` that opens a device for reading and writing.
pub(super) fn line_for(path: &Path) -> io::Result<String> {
    let node = fs::metadata(path)?;
    let kind = if node.file_type().is_block_device() { 'b' } else { 'c' };
    Ok(format!("{kind} {}:{} rw", major(node.rdev()), minor(node.rdev())))
}

/// Lines for `devices.allow`, after `a` was written to `devices.deny`.
///
/// Nodes of any device may be created, as in every container engine (images hold some); only
/// these can be opened.
pub(super) const ALLOWED: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",   // null
    "c 1:5 rwm",   // zero
    "c 1:7 rwm",   // full
    "c 1:8 rwm",   // random
    "c 1:9 rwm",   // urandom
    "c 5:0 rwm",   // tty
    "c 5:2 rwm",   // ptmx
    "c 136:* rwm", // pts/*
];
