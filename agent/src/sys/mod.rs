//! Everything that talks to the kernel behind the standard library's back.
//!
//! The only module allowed `unsafe`: these calls have no safe wrapper in what we depend on. Each
//! function wraps one system call, owns what it opens and returns `io::Error`. Policy belongs to
//! the callers.
#![allow(unsafe_code)]

pub mod attribute;
pub mod bpf;
pub mod clock;
pub mod datagram;
pub mod event;
pub mod file;
pub mod inotify;
pub mod kernel;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod netns;
pub mod pressure;
pub mod priority;
pub mod process;
pub mod seccomp;
