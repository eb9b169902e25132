//! Commands in containers: whether somebody may, in which attempt, and what is told of it.

use std::rc::Rc;
use std::sync::Arc;

use mote_protocol::command::{ExecRequest, WindowSize};
use mote_protocol::event::EventType;
use mote_protocol::name::{ContainerName, Kind, ObjectKey, RequestId};
use mote_protocol::text::printable;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_local;

use super::local::LocalExec;
use super::{Steward, World};
use crate::logs::Refused;
use crate::pod::machine::Slot;
use crate::runtime::{AttachRequest, ContainerId};
use crate::streams::{MAX_EXEC, MAX_LOCAL_EXEC, Peer, exec};

/// Characters of a command line that its event tells.
const SHOWN: usize = 256;

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
        let place = place(&self.books.streams.exec, MAX_EXEC)?;
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
        let place = place(&self.books.streams.local_exec, MAX_LOCAL_EXEC)?;
        let request = self.attach_request(key, &container, command)?;
        self.tell_of_exec(key, &container, &request, "root at the machine");
        self.attach(request, peer, place);
        Ok(())
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
        let name = key.name.as_str();
        let status = self.status(key);
        let Some((status, pod)) = status.and_then(|status| status.uid.map(|uid| (status, uid)))
        else {
            return Err(Refused::not_found(format!("pods \"{name}\" not found")));
        };
        if !status.containers.iter().any(|known| known.name == *container.as_str()) {
            let message = format!("container {container} is not valid for pod {name}");
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
fn place(places: &Arc<Semaphore>, limit: usize) -> Result<OwnedSemaphorePermit, Refused> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        let message = format!("{limit} commands are attached to on this node: try again later");
        Refused { reason: "TooManyRequests", message }
    })
}
