//! Finds out what exists: from the kernel, `mote-pause` and the pods' directories.

use std::sync::Arc;

use mote_pause::wire::{Exit as Ended, Key, Role};
use mote_protocol::name::Uid;

use super::pod::{Pod, exit, key};
use super::record::AttemptRecord;
use super::sandbox::{Listing, kept_exits};
use super::{OciRuntime, process, record};
use crate::runtime::{
    BootTime, ContainerId, ObservedContainer, ObservedPod, ObservedSandbox, ObservedState,
    RuntimeError,
};

impl OciRuntime {
    pub(super) async fn observe(&self) -> Result<Vec<ObservedPod>, RuntimeError> {
        let mut pods = Vec::new();
        for uid in self.layout.list_pods() {
            pods.push(self.observe_pod(uid).await);
        }
        Ok(pods)
    }

    async fn observe_pod(&self, uid: Uid) -> ObservedPod {
        let pod = self.pod(&uid).await;
        let mut known = Known::of(self, &uid, pod.as_ref()).await;
        let mut containers = Vec::new();
        for id in self.layout.list_attempts(&uid) {
            if let Some(state) = self.observe_attempt(&id, pod.as_deref(), &mut known).await {
                let tag = AttemptRecord::read(&self.layout.attempt(&id)).tag;
                containers.push(ObservedContainer { id, tag, state });
            }
        }
        let sandbox = match known.answered {
            true => ObservedSandbox::Ready,
            false if self.layout.has_sandbox(&uid) => ObservedSandbox::Died,
            false => ObservedSandbox::Stopped,
        };
        ObservedPod { uid, sandbox, containers }
    }

    /// An attempt without a first process and without a helper never came to be: it is not there.
    async fn observe_attempt(
        &self,
        id: &ContainerId,
        pod: Option<&Pod>,
        known: &mut Known,
    ) -> Option<ObservedState> {
        let key = key(id)?;
        let attempt = self.layout.attempt(id);
        let since = record::started(&attempt);
        if let Some(ended) = known.exit(key) {
            return Some(self.exited(id, since, &ended));
        }
        let starting = since.is_none() && known.is_alive(key, Role::Helper);
        if starting {
            return Some(ObservedState::Created);
        }
        let process = record::process(&attempt)?;
        let running = process::is_running(process);
        let pid = process.pid.unsigned_abs();
        if !known.is_alive(key, Role::Container) {
            // Created by a helper whose agent died before it could say so.
            if let Some(ended) = known.claim(key, pid, pod).await {
                return Some(self.exited(id, since, &ended));
            }
        }
        Some(match since {
            Some(since) if running => ObservedState::Running { process, since },
            None if running => ObservedState::Created,
            _ => ObservedState::Unknown,
        })
    }

    fn exited(&self, id: &ContainerId, since: Option<BootTime>, ended: &Ended) -> ObservedState {
        let exit = exit(&self.tree, &self.layout, id, ended);
        let group = self.tree.container(id);
        // As where its end is heard: nobody may have.
        if group.processes().is_ok_and(|left| !left.is_empty()) {
            let _ = group.kill();
        }
        ObservedState::Exited { since, exit }
    }
}

/// What is known of a pod's processes.
struct Known {
    listing: Listing,
    kept: Vec<Ended>,
    answered: bool,
}

impl Known {
    async fn of(runtime: &OciRuntime, uid: &Uid, pod: Option<&Arc<Pod>>) -> Self {
        let listing = match pod {
            Some(pod) => pod.sandbox.list().await.ok(),
            None => None,
        };
        let kept = kept_exits(&runtime.layout.pod(uid)).unwrap_or_default();
        Self { answered: listing.is_some(), listing: listing.unwrap_or_default(), kept }
    }

    fn is_alive(&self, key: Key, role: Role) -> bool {
        self.listing.alive.iter().any(|(alive, as_what, _)| (*alive, *as_what) == (key, role))
    }

    fn exit(&self, key: Key) -> Option<Ended> {
        let of_key = |ended: &&Ended| ended.key == Some(key) && ended.role == Role::Container;
        self.listing.exits.iter().chain(&self.kept).find(of_key).copied()
    }

    /// Tells the sandbox whose process that is. Returns how it ended, if it has.
    async fn claim(&mut self, key: Key, pid: u32, pod: Option<&Pod>) -> Option<Ended> {
        let pod = pod?;
        pod.sandbox.watch(key, Role::Container, pid).await.ok()?;
        self.listing = pod.sandbox.list().await.ok()?;
        self.exit(key)
    }
}
