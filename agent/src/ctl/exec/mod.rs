//! `mote-agent ctl exec`: a command in a container, over the local socket.
//!
//! Behind the answer parts of a stream go both ways, each behind its length as everything here. Nothing
//! is counted and nothing granted: the socket holds what it holds, and whoever is slow holds up the
//! other end.

mod client;
mod server;
mod terminal;

use mote_protocol::command::WindowSize;
use serde::{Deserialize, Serialize};

pub(super) use client::{Wanted, parse, run};
pub(super) use server::{Attachment, begin};

/// What is to be executed where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) terminal: Option<WindowSize>,
}
