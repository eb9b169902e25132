//! Finds out what exists: from the kernel, `mote-pause` and the pods' directories.

use std::io;
use std::sync::Arc;

use mote_pause::wire::{Exit as Ended, Key, Role};
use mote_protocol::name::Uid;

use super::pod::{Pod, exit, key};
use super::record::{AttemptRecord, SandboxRecord};
use super::sandbox::{Listing, SandboxError, kept_exits};
use super::setup::sandbox_error;
use super::{OciRuntime, io_error, process, record};
use crate::log::Chain;
use crate::runtime::{
    BootTime, ContainerId, Observed, ObservedContainer, ObservedPod, ObservedSandbox,
    ObservedState, RuntimeError, Silence,
};

/// How often a sandbox is asked again that hung up: it does where nobody listened for too long.
const RETRIES: usize = 2;

impl OciRuntime {
    pub(super) async fn observe(&self) -> Observed {
        let mut observed = Observed::default();
        // Where nothing else happens on a node, nobody else tries again.
        self.network.look_again().await;
        for uid in self.layout.list_pods() {
            match self.observe_pod(uid).await {
                Ok(pod) => observed.pods.push(pod),
                Err(error) => {
                    let record = SandboxRecord::read(&self.layout.sandbox(&uid));
                    let origin = record.ok().flatten().and_then(|record| record.origin);
                    let silence = Silence { cause: Chain(&error).to_string(), origin };
                    observed.silent.insert(uid, silence);
                }
            }
        }
        // Asked last: a cable that was just being laid is there for each pod that was found ready.
        let cut = self.network.cut().await;
        for pod in &observed.pods {
            if pod.sandbox == ObservedSandbox::Ready && cut.contains(&pod.uid) {
                self.lay_anew(&pod.uid).await;
            }
        }
        observed
    }

    async fn observe_pod(&self, uid: Uid) -> Result<ObservedPod, RuntimeError> {
        let mut known = Known::of(self, &uid).await?;
        let mut containers = Vec::new();
        for id in self.layout.list_attempts(&uid) {
            if let Some(state) = self.observe_attempt(&id, &mut known).await {
                let tag = AttemptRecord::read(&self.layout.attempt(&id)).tag;
                containers.push(ObservedContainer { id, tag, state });
            }
        }
        let record = SandboxRecord::read(&self.layout.sandbox(&uid));
        let sandbox = match &known.pod {
            Some(pod) if is_whole(&record, pod)? => ObservedSandbox::Ready,
            Some(_) => ObservedSandbox::Died,
            None if self.layout.has_sandbox(&uid) => ObservedSandbox::Died,
            None => ObservedSandbox::Stopped,
        };
        let record = record.ok().flatten().unwrap_or_default();
        let (origin, begun) = (record.origin, self.layout.has_logs(&uid));
        let addresses = match sandbox {
            ObservedSandbox::Ready => record.share.addresses,
            ObservedSandbox::Died | ObservedSandbox::Stopped => Vec::new(),
        };
        Ok(ObservedPod { uid, origin, sandbox, addresses, begun, containers })
    }

    /// An attempt without a first process and without a helper never came to be: it is not there.
    async fn observe_attempt(&self, id: &ContainerId, known: &mut Known) -> Option<ObservedState> {
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
            if let Some(ended) = known.claim(key, pid).await {
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

/// Whether a sandbox has the namespaces and the network it should have. Where an agent died before they
/// were made, containers would run in the host's, or with no way out.
fn is_whole(record: &io::Result<Option<SandboxRecord>>, pod: &Pod) -> Result<bool, RuntimeError> {
    let record = record.as_ref().map_err(|error| io::Error::from(error.kind()));
    let record = record.map_err(io_error("read the pod's sandbox record"))?;
    Ok(record.as_ref().is_some_and(|record| {
        record.namespaces() == pod.sandbox.namespaces() && record.is_connected()
    }))
}

/// What is known of a pod's processes.
struct Known {
    /// None where it has none that lives.
    pod: Option<Arc<Pod>>,
    listing: Listing,
    kept: Vec<Ended>,
}

impl Known {
    /// Fails where the sandbox may live and cannot be asked: whoever took it for dead would kill
    /// the pod.
    async fn of(runtime: &OciRuntime, uid: &Uid) -> Result<Self, RuntimeError> {
        let mut tries = 0;
        let (pod, listing) = loop {
            match ask(runtime, uid).await {
                Ok(Some((pod, listing))) => break (Some(pod), listing),
                Err(error) if tries < RETRIES && error.is_passing() => tries += 1,
                Err(error) if error.is_passing() => return Err(sandbox_error(uid, &error)),
                // None, or one that nobody can work with: it gives such answers.
                Ok(None) | Err(_) => break (None, Listing::default()),
            }
        };
        let kept = kept_exits(&runtime.layout.pod(uid)).unwrap_or_default();
        Ok(Self { pod, listing, kept })
    }

    fn is_alive(&self, key: Key, role: Role) -> bool {
        self.listing.alive.iter().any(|(alive, as_what, _)| (*alive, *as_what) == (key, role))
    }

    fn exit(&self, key: Key) -> Option<Ended> {
        let of_key = |ended: &&Ended| ended.key == Some(key) && ended.role == Role::Container;
        self.listing.exits.iter().chain(&self.kept).find(of_key).copied()
    }

    /// Tells the sandbox whose process that is. Returns how it ended, if it has.
    async fn claim(&mut self, key: Key, pid: u32) -> Option<Ended> {
        let pod = self.pod.as_ref()?;
        pod.sandbox.watch(key, Role::Container, pid).await.ok()?;
        self.listing = pod.sandbox.list().await.ok()?;
        self.exit(key)
    }
}

/// A pod's sandbox and what it knows; none where it has died, or there never was one.
async fn ask(runtime: &OciRuntime, uid: &Uid) -> Result<Option<(Arc<Pod>, Listing)>, SandboxError> {
    let Some(pod) = runtime.find(uid).await? else { return Ok(None) };
    let listing = pod.sandbox.list().await?;
    Ok(Some((pod, listing)))
}
