//! What people at the machine ask, over the agent's own socket.

use std::collections::BTreeMap;
use std::rc::Rc;

use mote_protocol::command::LogSelection;
use mote_protocol::event::Event;
use mote_protocol::name::{ContainerName, Kind, Namespace, ObjectKey, ObjectName, Uid};
use mote_protocol::object::Pod;
use mote_protocol::status::PodStatus;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::attached::Commanded;
use super::streams::Reader;
use super::usage::Asker;
use super::{ImageOrder, Standing, Steward, World};
use crate::device::Device;
use crate::image::{ImageError, ImageSummary, Images, News};
use crate::logs::{LogReader, Refused};
use crate::metrics::Scrape;
use crate::static_pods::Found;
use crate::store::Order;
use crate::streams::Peer;
use crate::usage::Report;

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
    /// Something to be done with images.
    Order(ImageOrder),
    /// Something happened to the images of this node.
    ImageNews(News),
    /// These devices are there, and no others.
    Devices(BTreeMap<String, Device>),
    /// What files of this node ask for, as far as they can be read.
    StaticPods(Found),
    /// A lock may have been taken or freed.
    LocksChanged,
    /// Events, oldest first.
    Events {
        /// Only those about this object.
        about: Option<Uid>,
        /// The answer.
        answer: oneshot::Sender<Vec<Event>>,
    },
    /// The agent is about to end: what flash lacks of the events is to be written. Answered when
    /// that was tried.
    KeepEvents(oneshot::Sender<()>),
    /// How the node stands with the broker.
    Standing(oneshot::Sender<Standing>),
    /// The log of a container.
    Log {
        /// Its pod's namespace.
        namespace: Namespace,
        /// Its pod's name.
        name: ObjectName,
        /// Its name.
        container: ContainerName,
        /// What of its log.
        selection: LogSelection,
        /// The log as it is read.
        answer: oneshot::Sender<Result<LogReader, Refused>>,
    },
    /// What the node and its pods use; the answer takes a second.
    Usage(oneshot::Sender<Report>),
    /// What is used so far, and how things are, for who scrapes.
    Metrics(oneshot::Sender<Scrape>),
    /// A command in a container, for who sits at the machine.
    Exec {
        /// Its pod.
        key: ObjectKey,
        /// What is to be executed; its attempt is chosen.
        request: Box<LocalExec>,
        /// Why it is not tried.
        answer: oneshot::Sender<Result<(), Refused>>,
    },
}

/// A command that somebody at the machine wants to be executed.
#[derive(Debug)]
pub struct LocalExec {
    /// The container's name.
    pub container: ContainerName,
    /// What is executed, and how.
    pub command: Commanded,
    /// Who is attached to it.
    pub peer: Peer,
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

impl LocalRequest {
    /// What is answered by what runs, which an agent that starts knows after its first look.
    const fn is_about_pods(&self) -> bool {
        matches!(
            self,
            Self::Pods(_)
                | Self::Pod { .. }
                | Self::Log { .. }
                | Self::Usage(_)
                | Self::Metrics(_)
                | Self::Exec { .. }
        )
    }
}

impl<W: World> Steward<W> {
    /// Answers, or sees to it that somebody does. Who asked may be gone.
    pub(super) fn answer_local(&mut self, request: LocalRequest) {
        match &mut self.books.early {
            // Whoever asks an agent that just started would hear of a node without pods.
            Some(early) if request.is_about_pods() => early.push(request),
            _ => self.answer_now(request),
        }
    }

    /// The first look came to an end: what was asked before is answered by what is known now.
    pub(super) fn answer_early(&mut self) {
        for request in self.books.early.take().into_iter().flatten() {
            self.answer_now(request);
        }
    }

    fn answer_now(&mut self, request: LocalRequest) {
        match request {
            LocalRequest::Pods(answer) => {
                let _ = answer.send(self.views());
            }
            LocalRequest::Pod { namespace, name, answer } => {
                let key = ObjectKey { kind: Kind::Pod, namespace, name };
                self.answer_pod(key, answer);
            }
            LocalRequest::Images(answer) => {
                let edges = Rc::clone(&self.edges);
                spawn_local(async move { answer.send(edges.images.list().await) });
            }
            LocalRequest::Order(order) => self.order_images(order),
            LocalRequest::ImageNews(news) => self.image_news(news),
            LocalRequest::Devices(there) => self.devices_seen(there),
            LocalRequest::StaticPods(found) => self.files_said(found),
            LocalRequest::LocksChanged => self.look_at_delays(),
            LocalRequest::Events { about, answer } => {
                let _ = answer.send(self.events_about(about));
            }
            LocalRequest::KeepEvents(answer) => self.keep_events_at_last(answer),
            LocalRequest::Standing(answer) => {
                let _ = answer.send(self.standing());
            }
            LocalRequest::Log { namespace, name, container, selection, answer } => {
                let key = ObjectKey { kind: Kind::Pod, namespace, name };
                let log = self.open_log(&key, container.as_str(), selection, Reader::Local);
                let _ = answer.send(log);
            }
            LocalRequest::Metrics(answer) => {
                let _ = answer.send(self.scrape());
            }
            LocalRequest::Usage(answer) => self.ask_usage(Asker::Local(answer)),
            LocalRequest::Exec { key, request, answer } => {
                let _ = answer.send(self.exec_locally(&key, *request));
            }
        }
    }

    pub(super) fn views(&self) -> Vec<PodView> {
        // Of data and services that were refused the broker is told.
        let refused = self.books.refusals.keys().filter(|key| key.kind == Kind::Pod);
        let mut keys: Vec<_> = self.books.desired.keys().chain(refused).collect();
        keys.sort_unstable();
        keys.dedup();
        let view =
            |key: &ObjectKey| self.status(key).map(|status| PodView { key: key.clone(), status });
        keys.into_iter().filter_map(view).collect()
    }

    fn answer_pod(&self, key: ObjectKey, answer: oneshot::Sender<Option<PodDetail>>) {
        let Some(status) = self.status(&key) else {
            let _ = answer.send(None);
            return;
        };
        let events = status.uid.map(|uid| self.events_about(Some(uid))).unwrap_or_default();
        let (read, pod) = oneshot::channel();
        self.order(Order::Read { key: key.clone(), answer: read });
        spawn_local(async move {
            let pod = pod.await.ok().flatten();
            let view = PodView { key, status };
            let _ = answer.send(Some(PodDetail { view, pod, events }));
        });
    }
}
