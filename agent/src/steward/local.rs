//! What people at the machine ask, over the agent's own socket.

use mote_protocol::event::Event;
use mote_protocol::name::{Namespace, ObjectKey, ObjectName, Uid};
use mote_protocol::object::Pod;
use mote_protocol::status::PodStatus;
use tokio::sync::oneshot;

use crate::image::{ImageError, ImageSummary};

/// A question, and where its answer goes. One that is dropped unanswered means that the agent ends.
#[derive(Debug)]
pub enum LocalRequest {
    /// All pods of this node, by namespace and name.
    Pods(oneshot::Sender<Vec<PodView>>),
    /// Everything about one pod.
    Pod {
        /// Its namespace.
        namespace: Namespace,
        /// Its name.
        name: ObjectName,
        /// None where there is no such pod.
        answer: oneshot::Sender<Option<PodDetail>>,
    },
    /// All images of this node.
    Images(oneshot::Sender<Result<Vec<ImageSummary>, ImageError>>),
    /// Events, oldest first.
    Events {
        /// Only those about this object.
        about: Option<Uid>,
        /// The answer.
        answer: oneshot::Sender<Vec<Event>>,
    },
}

/// A pod as its status tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its kind, namespace and name.
    pub key: ObjectKey,
    /// What the broker is, or would be, told of it.
    pub status: PodStatus,
}

/// Everything about one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodDetail {
    /// Name and status.
    pub view: PodView,
    /// What was asked; none where its file cannot be read.
    pub pod: Option<Pod>,
    /// Events about it, oldest first.
    pub events: Vec<Event>,
}
