//! The devices a container may open on cgroup v1. On v2 that would take a BPF program: there, a
//! container lacks `CAP_MKNOD` and its mounts are `nodev` instead.

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
