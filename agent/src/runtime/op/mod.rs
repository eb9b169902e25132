//! `mote-agent runtime OP`: the short-lived helper, the only caller of libcontainer.

pub mod seccomp;
