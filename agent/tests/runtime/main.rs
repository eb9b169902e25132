//! The runtime against the kernel: real `mote-pause`, real containers, the agent's own binary as
//! helper. Needs root and busybox-static.
#![allow(clippy::unwrap_used, reason = "a test, in several files")]

mod adopt;
mod exec;
mod handlers;
mod life;
mod message;
mod network;
mod node;
mod refuse;
mod rights;
mod seccomp;
mod timing;
mod unified;
mod users;
