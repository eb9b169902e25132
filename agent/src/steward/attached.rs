//! Commands in containers, and connections into pods: whether somebody may, where exactly, and what is
//! told of it.

use std::rc::Rc;
use std::sync::Arc;

use mote_protocol::command::{Answer, ExecRequest, PortForwardRequest, WindowSize};
use mote_protocol::event::EventType;
use mote_protocol::name::{ContainerName, Kind, ObjectKey, RequestId, Uid};
use mote_protocol::status::{Phase, PodStatus};
use mote_protocol::stream::session_of;
use mote_protocol::text::printable;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;

use super::local::LocalExec;
use super::{Steward, World};
use crate::handler::Goal;
use crate::logs::Refused;
use crate::pod::machine::Slot;
use crate::runtime::{AttachRequest, ContainerId};
use crate::streams::{MAX_EXEC, MAX_FORWARD, MAX_LOCAL_EXEC, Peer, exec, forward};

/// Characters of a command line that its event tells.
const SHOWN: usize = 256;

/// What a node has a bounded number of.
const ATTACHED: &str = "commands that somebody is attached to";

/// What is to be executed in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commanded {
    /// The command line.
    pub args: Vec<String>,
    /// Somebody types, or sends.
    pub stdin: bool,
    /// It gets a terminal.
    pub terminal: Option<WindowSize>,
}

impl<W: World> Steward<W> {
    /// Runs a command for an operator, who is attached to it by a stream.
    pub(super) fn stream_exec(
        &mut self,
        id: &RequestId,
        asked: ExecRequest,
    ) -> Result<(), Refused> {
        self.is_allowed("exec", self.identity.streams.exec)?;
        self.books.streams.is_free(id)?;
        let ExecRequest { namespace, pod, container, command, stdin, terminal, by, credit } = asked;
        let key = ObjectKey { kind: Kind::Pod, namespace, name: pod };
        let command = Commanded { args: command, stdin, terminal };
        let place = place(&self.books.streams.exec, MAX_EXEC, ATTACHED)?;
        let request = self.attach_request(&key, &container, command)?;
        self.tell_of_exec(&key, &container, &request, &format!("{by} ({id})"));
        let peer = self.books.streams.open_both_ways(id, credit);
        self.attach(request, peer, place);
        Ok(())
    }

    /// Runs a command for somebody at the machine, who needs no leave: root can enter any container.
    pub(super) fn exec_locally(
        &mut self,
        key: &ObjectKey,
        asked: LocalExec,
    ) -> Result<(), Refused> {
        let LocalExec { container, command, peer } = asked;
        let place = place(&self.books.streams.local_exec, MAX_LOCAL_EXEC, ATTACHED)?;
        let request = self.attach_request(key, &container, command)?;
        self.tell_of_exec(key, &container, &request, "root at the machine");
        self.attach(request, peer, place);
        Ok(())
    }

    /// Connects an operator to a port of a pod, or tells whether that would be done.
    pub(super) fn stream_forward(
        &mut self,
        id: &RequestId,
        asked: PortForwardRequest,
    ) -> Result<Answer, Refused> {
        self.is_allowed("port_forward", self.identity.streams.port_forward)?;
        let PortForwardRequest { namespace, pod, port, only_ask, by, credit } = asked;
        let key = ObjectKey { kind: Kind::Pod, namespace, name: pod };
        let goal = self.forward_goal(&key, port)?;
        if only_ask {
            return Ok(Answer::Allowed);
        }
        self.books.streams.is_free(id)?;
        let place = place(&self.books.streams.forward, MAX_FORWARD, "connections into pods")?;
        let by = printable(&format!("{by} ({})", session_of(id)));
        let message = format!("{by} connected to port {port}");
        self.object_event(&key, EventType::Normal, "PortForward".to_owned(), message);
        let peer = self.books.streams.open_both_ways(id, credit);
        let edges = Rc::clone(&self.edges);
        spawn_local(async move {
            forward::serve(&edges.handlers, goal, peer).await;
            drop(place);
        });
        Ok(Answer::Streaming)
    }

    fn forward_goal(&self, key: &ObjectKey, port: u16) -> Result<Goal, Refused> {
        let (status, pod) = self.pod_of(key)?;
        let running = status.phase == Phase::Running;
        let machine = self.books.reconciler.machine(&pod).filter(|_| running);
        let Some(machine) = machine else {
            return Err(Refused::bad_request(format!(
                "unable to forward port because pod is not running. Current status={}",
                status.phase.as_str()
            )));
        };
        Ok(Goal { pod, host_network: machine.pod().host.network, port })
    }

    fn attach(&self, request: AttachRequest, peer: Peer, place: OwnedSemaphorePermit) {
        let edges = Rc::clone(&self.edges);
        spawn_local(async move {
            exec::serve(&edges.runtime, &request, peer).await;
            drop(place);
        });
    }

    /// Whether this node's configuration lets operators do so.
    fn is_allowed(&self, key: &str, allowed: bool) -> Result<(), Refused> {
        if allowed {
            return Ok(());
        }
        let node = &self.identity.node;
        let message = format!(
            "node {node} does not allow this: it takes `{key} = true` in section [streams] of its \
             configuration"
        );
        Err(Refused { reason: "Forbidden", message })
    }

    /// The attempt of a container that runs, in the words of Kubernetes where there is none.
    fn attach_request(
        &self,
        key: &ObjectKey,
        container: &ContainerName,
        command: Commanded,
    ) -> Result<AttachRequest, Refused> {
        let Commanded { args, stdin, terminal } = command;
        if args.is_empty() {
            return Err(Refused::bad_request("you must specify at least one command".to_owned()));
        }
        let (status, pod) = self.pod_of(key)?;
        if !status.containers.iter().any(|known| known.name == *container.as_str()) {
            let message = format!("container {container} is not valid for pod {}", key.name);
            return Err(Refused::bad_request(message));
        }
        let machine = self.books.reconciler.machine(&pod);
        let slot = machine.and_then(|machine| machine.slot(container.as_str()));
        let Some(slot) = slot.filter(|slot| Slot::is_running(slot)) else {
            if status.phase.is_terminal() {
                let phase = status.phase.as_str();
                return Err(Refused::bad_request(format!(
                    "cannot exec into a container in a completed pod; current phase is {phase}"
                )));
            }
            return Err(Refused::not_found(format!("container not found (\"{container}\")")));
        };
        let id = ContainerId { pod, name: container.to_string(), attempt: slot.newest() };
        Ok(AttachRequest { id, args, stdin, terminal })
    }

    /// What is known of a pod, in the words of Kubernetes where nothing is.
    pub(super) fn pod_of(&self, key: &ObjectKey) -> Result<(PodStatus, Uid), Refused> {
        let found = self.status(key).and_then(|status| status.uid.map(|uid| (status, uid)));
        found.ok_or_else(|| Refused::not_found(format!("pods \"{}\" not found", key.name)))
    }

    /// Who, and what, for people who look later.
    fn tell_of_exec(
        &mut self,
        key: &ObjectKey,
        container: &ContainerName,
        request: &AttachRequest,
        by: &str,
    ) {
        let line: String = printable(&request.args.join(" ")).chars().take(SHOWN).collect();
        let message = format!("{} executed in container {container}: {line}", printable(by));
        self.object_event(key, EventType::Normal, "Exec".to_owned(), message);
    }
}

/// A place among those who do so at this time.
pub(super) fn place(
    places: &Arc<Semaphore>,
    limit: usize,
    what: &str,
) -> Result<OwnedSemaphorePermit, Refused> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        let message = format!("this node has {limit} {what} already: try again later");
        Refused { reason: "TooManyRequests", message }
    })
}
