//! Streams of two directions: commands in containers, and connections to pods, for operators at the
//! other side of the broker and people at the machine.
//!
//! ```text
//!              said (bounded by what was granted)
//!   operator ------------------------------------> exec ------> a command, by the runtime
//!      ^                                           forward ---> a connection into a pod
//!      +--------- voice (as far as it is granted) ---+
//! ```
//! Whoever is slow holds up the other end, and nothing grows in between: what comes is bounded by the
//! window that this side granted, what goes by the one that the other side did. The books of both are
//! the steward's; the tasks here carry bytes. A command or a connection does not outlive its peer.

use std::time::Duration;

pub mod exec;
pub mod forward;
mod peer;
mod pump;

pub use peer::{Gone, Granted, Outgoing, Peer, Voice, ending};

/// Commands that operators may have on a node at a time: each may hold a window of input and a block of
/// each output in memory.
pub const MAX_EXEC: usize = 8;

/// The same for people at the machine.
pub const MAX_LOCAL_EXEC: usize = 8;

/// Connections that operators may have into the pods of a node at a time: twice what one of them may.
/// Each may hold a window and a block in memory, where the pod or the line is slow.
pub const MAX_FORWARD: usize = 32;

/// What a node's configuration allows operators: `[streams]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// `exec`: commands in containers.
    pub exec: bool,
    /// `port_forward`: connections into pods.
    pub port_forward: bool,
}

/// How often somebody at the machine is taken to be heard.
pub const BEAT: Duration = Duration::from_secs(mote_protocol::limits::STREAM_IDLE_S / 3);

/// Bytes read at a time.
const BLOCK: usize = mote_protocol::limits::MAX_STREAM_DATA;

/// How long a command whose peer is gone may go on, without its input and its outputs.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
