//! One-shot requests to a node, and its answers.
//!
//! A command is not retained and not repeated: it names the boot and the session it is meant for
//! and the moment after which it must not be carried out, so that a copy that a broker kept does
//! nothing.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::extension::Extensions;
use crate::frame::{Body, FrameKind};
use crate::limits;
use crate::name::Uid;
use crate::node::Session;
use crate::status::{BootSeconds, Message, Reason};

/// A request to one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The boot it is for.
    pub boot_id: [u8; 16],
    /// The connection it is for.
    pub session: Session,
    /// Greater than that of every command the same operator sent before.
    pub counter: u64,
    /// Not to be carried out after this, in seconds from boot.
    pub expires: BootSeconds,
    /// What to do.
    pub request: Request,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The events in the node's ring, oldest first.
    Events {
        /// Only those about this object.
        about: Option<Uid>,
    },
}

impl Body for Command {
    const KIND: FrameKind = FrameKind::Command;
    const MAX: usize = limits::MAX_COMMAND;
}

/// One part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Counts the parts from 0.
    pub part: u32,
    /// No part follows.
    pub last: bool,
    /// The part.
    pub answer: Answer,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It did not do it.
    Refused {
        /// Why: `Expired`, `WrongSession`, `Forbidden`, `Unsupported`, `NotFound`, ...
        reason: Reason,
        /// Why, for a person.
        message: Message,
    },
    /// Events, at most [`limits::MAX_REPLY_ITEMS`].
    Events(Vec<Event>),
}

impl Body for Reply {
    const KIND: FrameKind = FrameKind::Reply;
    // 32 events with a full message each.
    const MAX: usize = 64 * 1024;
}
