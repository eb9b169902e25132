//! One-shot requests to a node, and its answers.
//!
//! A command is not retained and not repeated: it names the boot and the session it is meant for
//! and the moment after which it must not be carried out, so that a copy that a broker kept does
//! nothing.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::cordon::{CordonRequest, DrainRequest, DrainStep};
use crate::doctor::Finding;
use crate::event::Event;
use crate::extension::Extensions;
use crate::frame::{Body, FrameKind};
use crate::image::{ImageInfo, ImageRequest, ImageWork};
use crate::limits;
use crate::name::{ContainerName, Namespace, ObjectName, Uid};
use crate::node::{Session, Usage};
use crate::status::{BootSeconds, Message, Reason};
use crate::text::Short;

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
    /// The log of a container, as a stream that has the command's id.
    Logs(LogRequest),
    /// Something about the node's images. The answer comes when it is done.
    Images(ImageRequest),
    /// What ails the node. The answer comes when it was examined, which takes some seconds.
    Doctor,
    /// A command beside a container's own, as a stream that has the command's id.
    Exec(ExecRequest),
    /// A connection into a pod, as a stream that has the command's id.
    PortForward(PortForwardRequest),
    /// Whether new pods begin here.
    Cordon(CordonRequest),
    /// Pods that run are to end. The answers come as they do.
    Drain(DrainRequest),
    /// The machine is to be rebooted. The answer comes before that.
    Reboot(RebootRequest),
    /// What the node and its pods use now. The answer comes when it was measured, which takes a second.
    Usage,
}

/// A command to be executed in a container: `PodExecOptions` of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The pod's name.
    pub pod: ObjectName,
    /// The container's name.
    pub container: ContainerName,
    /// The command line, of at least one word.
    pub command: Vec<String>,
    /// It gets what the operator sends; else its standard input is empty.
    pub stdin: bool,
    /// It gets a terminal of this size for its input, its output and its errors.
    pub terminal: Option<WindowSize>,
    /// Who asks, by their own word: `USER@HOST`. For the node's event.
    pub by: Asker,
    /// What may be sent before more is granted: [`crate::stream::StreamPart::Credit`].
    pub credit: u64,
}

/// A connection to a port of a pod's own network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForwardRequest {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The pod's name.
    pub pod: ObjectName,
    /// TCP port on the pod's loopback.
    pub port: u16,
    /// Only whether that would be allowed is asked: answered by [`Answer::Allowed`].
    pub only_ask: bool,
    /// Who asks, by their own word: `USER@HOST`. For the node's event.
    pub by: Asker,
    /// What may be sent before more is granted: [`crate::stream::StreamPart::Credit`].
    pub credit: u64,
}

/// The machine is to be rebooted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebootRequest {
    /// Who asks, by their own word: `USER@HOST`. For the node's event.
    pub by: Asker,
}

/// Who asks, by their own word.
pub type Asker = Short<{ limits::MAX_ASKER }>;

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Characters of a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// Which log, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// The pod's namespace.
    pub namespace: Namespace,
    /// The pod's name.
    pub pod: ObjectName,
    /// The container's name.
    pub container: ContainerName,
    /// What of its log.
    pub selection: LogSelection,
    /// What may be sent before more is granted: [`crate::stream::StreamPart::Credit`].
    pub credit: u64,
}

/// What of a log is wanted: `PodLogOptions` of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSelection {
    /// Go on with what is written, until the container no longer runs.
    pub follow: bool,
    /// Of the attempt that ended last, not of the one that runs.
    pub previous: bool,
    /// Each line behind its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail: Option<u32>,
    /// Only lines that were written then or later.
    pub since: Option<Since>,
    /// No more than so many bytes, times included.
    pub limit_bytes: Option<u64>,
}

/// When a log begins to be of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Since {
    /// So many seconds ago, by the node's clock.
    Seconds(u64),
    /// At this moment of Unix time.
    Time {
        /// Whole seconds.
        seconds: i64,
        /// And nanoseconds.
        nanos: u32,
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
    /// The stream that has the command's id is open.
    Streaming,
    /// Images, at most [`limits::MAX_REPLY_ITEMS`].
    Images(Vec<ImageInfo>),
    /// What was done with images.
    ImageWork(ImageWork),
    /// What was found, the worst first; at most [`limits::MAX_REPLY_ITEMS`].
    Findings(Vec<Finding>),
    /// It would be done.
    Allowed,
    /// Whether new pods begin is on flash.
    Cordoned {
        /// It was so before.
        already: bool,
    },
    /// How far it is with ending its pods.
    Drain(DrainStep),
    /// The machine is on its way down.
    Rebooting,
    /// What is used, in each part by the node and at most [`limits::MAX_METRICS_ITEMS`] of its pods,
    /// with their containers.
    Usage(Usage),
}

impl Body for Reply {
    const KIND: FrameKind = FrameKind::Reply;
    // 32 events with a full message each; or 24 pods with long names and all containers they may have.
    const MAX: usize = 64 * 1024;
}
