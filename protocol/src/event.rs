//! Events: what happened, for people.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::extension::Extensions;
use crate::frame::{Body, FrameKind};
use crate::name::{Kind, Uid};
use crate::status::{BootSeconds, Message, Reason};
use crate::text::Short;

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    /// For the record.
    #[default]
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Involved {
    /// The node itself.
    #[default]
    Node,
    /// An object.
    Object {
        /// Its kind.
        kind: Kind,
        /// Its namespace, as written: what was refused need not be a valid name.
        namespace: String,
        /// Its name, as written.
        name: String,
        /// Its uid, where it has one.
        uid: Option<Uid>,
        /// The field it is about (`spec.containers{web}`); may be empty.
        field: Short<120>,
    },
}

/// Something that happened, once or often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which start of the agent told it; what happened under an earlier one may be told later.
    pub start: u32,
    /// Counts what this start told, from zero; a gap shows how many were lost. In an answer it is the
    /// number that the event was told under, or will be.
    pub sequence: u32,
    /// When it happened first, in seconds from boot.
    pub first: BootSeconds,
    /// When it happened last, in seconds from boot.
    pub last: BootSeconds,
    /// How often.
    pub count: u32,
    /// Whether somebody should look.
    pub event_type: EventType,
    /// What it is about.
    pub involved: Involved,
    /// One word.
    pub reason: Reason,
    /// A sentence.
    pub message: Message,
    /// Fields of the future.
    pub extensions: Extensions,
}

impl Body for Event {
    const KIND: FrameKind = FrameKind::Event;
}
