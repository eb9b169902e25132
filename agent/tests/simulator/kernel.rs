//! The machine below the node: sandboxes and containers that outlive an agent, not a reboot.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mote_agent::pod::contents::projection::Wanted;
use mote_agent::runtime::{
    AttachRequest, Attached, BootTime, ContainerId, ExecOutcome, ExecRequest, Exit, Observed,
    ObservedContainer, ObservedPod, ObservedSandbox, ObservedState, Origin, ProcessId, Retry,
    Runtime, RuntimeError, RuntimeEvent, SandboxRequest, Silence, StartRequest, Usage,
};
use mote_agent::tree::Measured;
use mote_protocol::name::Uid;
use mote_protocol::usage::Traffic;
use tokio::sync::mpsc::UnboundedSender;

use crate::marker::Marker;
use crate::shortage;
use crate::universe::{Shared, Universe};

#[derive(Clone, Debug)]
pub(crate) enum State {
    Running { since: BootTime },
    Exited { since: BootTime, exit: Exit },
}

#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) tag: String,
    pub(crate) marker: Marker,
    pub(crate) state: State,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SimPod {
    pub(crate) origin: Option<Origin>,
    pub(crate) alive: bool,
    /// Nothing but logs is left.
    pub(crate) stopped: bool,
    /// Some container was started since the machine was booted.
    pub(crate) begun: bool,
    pub(crate) containers: BTreeMap<(String, u32), Container>,
}

#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) pods: BTreeMap<Uid, SimPod>,
    /// What each volume of each pod is.
    pub(crate) volumes: BTreeMap<(Uid, String), Wanted>,
    /// No pod gives an answer.
    pub(crate) silent: bool,
    /// Boots so far: what was scheduled in an earlier one does not happen.
    pub(crate) boot: u32,
    events: Option<UnboundedSender<RuntimeEvent>>,
}

impl Kernel {
    /// An agent listens, or none does.
    pub(crate) fn listener(&mut self, events: Option<UnboundedSender<RuntimeEvent>>) {
        self.events = events;
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = (Uid, &(String, u32), &Container)> {
        let running = |c: &&Container| matches!(c.state, State::Running { .. });
        self.pods.iter().flat_map(move |(uid, pod)| {
            let each = pod.containers.iter().filter(move |(_, c)| running(c));
            each.map(|(id, container)| (*uid, id, container))
        })
    }

    /// Whether a container's first process lives.
    pub(crate) fn runs(&mut self, id: &ContainerId) -> bool {
        self.container(id).is_some_and(|c| matches!(c.state, State::Running { .. }))
    }

    fn container(&mut self, id: &ContainerId) -> Option<&mut Container> {
        self.pods.get_mut(&id.pod)?.containers.get_mut(&(id.name.clone(), id.attempt))
    }
}

impl Universe {
    /// Ends a container, if it still runs.
    pub(crate) fn end(&mut self, id: &ContainerId, code: i32) {
        let at = BootTime(self.since_boot());
        let Some(container) = self.kernel.container(id) else { return };
        let State::Running { since } = container.state else { return };
        let exit = Exit { code, oom_killed: false, at, message: String::new() };
        // Whose end is not heard passes for one that runs, and its image for one that is well.
        let heard = container.tag.ends_with(":broken");
        container.state = State::Exited { since, exit: exit.clone() };
        self.note(|| format!("kernel: {id} exits with {code}"));
        self.judge.exited(id, at);
        let lost = self.misfortune(16) && !heard;
        let alive = self.kernel.pods.get(&id.pod).is_some_and(|pod| pod.alive);
        // Its parent tells of it, where there is one; and messages get lost.
        if let (Some(events), true, false) = (&self.kernel.events, alive, lost) {
            let _ = events.send(RuntimeEvent::Exited { id: id.clone(), exit });
        }
    }

    /// Ends everything at once: more than an agent has room to hear.
    pub(crate) fn end_all_unheard(&mut self, code: i32) {
        let events = self.kernel.events.take();
        let ids: Vec<_> = self.kernel.running().map(|(pod, id, _)| (pod, id.clone())).collect();
        for (pod, (name, attempt)) in ids {
            self.end(&ContainerId { pod, name, attempt }, code);
        }
        self.kernel.events = events;
        if let Some(events) = &self.kernel.events {
            let _ = events.send(RuntimeEvent::Missed);
        }
    }

    /// What can be seen of all pods: sometimes one does not answer.
    fn look(&mut self) -> Observed {
        let uids: Vec<_> = self.kernel.pods.keys().copied().collect();
        let mut seen = Observed::default();
        for uid in uids {
            let silent = self.kernel.silent || self.misfortune(32);
            let Some(pod) = self.kernel.pods.get(&uid) else { continue };
            if silent {
                let cause = "mote-pause is gone".to_owned();
                seen.silent.insert(uid, Silence { cause, origin: pod.origin.clone() });
            } else {
                seen.pods.push(observed(uid, pod));
            }
        }
        seen
    }

    /// A pod's `mote-pause` dies.
    pub(crate) fn kill_sandbox(&mut self, uid: Uid) {
        let Some(pod) = self.kernel.pods.get_mut(&uid) else { return };
        pod.alive = false;
        let heard = pod.containers.values().any(|c| c.tag.ends_with(":broken"));
        self.note(|| format!("kernel: sandbox {uid} dies"));
        self.judge.sandbox_lost(uid);
        if let (Some(events), false) = (&self.kernel.events, self.chance.one_in(4) && !heard) {
            let _ = events.send(RuntimeEvent::SandboxDied { uid });
        }
    }

    /// Everything that runs is gone, and `/run` with it.
    pub(crate) fn reboot(&mut self) {
        self.note(|| "kernel: reboot".into());
        self.card.files.power_cut(&mut self.chance);
        let uids: Vec<_> = self.kernel.pods.keys().copied().collect();
        for uid in uids {
            self.judge.sandbox_lost(uid);
        }
        self.kernel.pods.clear();
        self.kernel.volumes.retain(|_, wanted| *wanted == Wanted::Empty);
        self.kernel.boot += 1;
        self.booted = tokio::time::Instant::now();
    }
}

pub(crate) struct SimRuntime(pub(crate) Shared);

impl SimRuntime {
    fn end_later(&self, id: ContainerId, code: i32, after: Duration) {
        let boot = self.0.get().kernel.boot;
        self.0.later(after, move |universe| {
            if universe.kernel.boot == boot {
                universe.end(&id, code);
            }
        });
    }
}

impl Runtime for SimRuntime {
    async fn list(&self) -> Result<Observed, RuntimeError> {
        self.0.pause(8).await;
        let observed = {
            let mut universe = self.0.get();
            if universe.misfortune(16) {
                let source = std::io::Error::other("too many open files");
                return Err(RuntimeError::Io { doing: "list pods".into(), source });
            }
            universe.look()
        };
        self.0.pause(8).await;
        Ok(observed)
    }

    async fn create_sandbox(&self, request: &SandboxRequest) -> Result<Vec<IpAddr>, RuntimeError> {
        self.0.pause(64).await;
        if self.0.get().misfortune(16) {
            let (uid, cause) = (request.uid, "no space left on device".into());
            return Err(RuntimeError::Sandbox { uid, cause, retry: Retry::Soon });
        }
        {
            let mut universe = self.0.get();
            universe.note(|| format!("runtime: sandbox {}", request.uid));
            let pod = universe.kernel.pods.entry(request.uid).or_default();
            (pod.alive, pod.stopped) = (true, false);
            pod.origin = Some(request.origin.clone());
        }
        self.0.pause(64).await;
        Ok(Vec::new())
    }

    async fn start(&self, request: &StartRequest) -> Result<BootTime, RuntimeError> {
        let id = request.id.clone();
        let marker = Marker::parse(&request.args);
        self.0.get().begin_start(&id, &marker);
        self.0.pause(64).await;
        if self.0.get().misfortune(16) {
            let cause = "mount: no such device".into();
            return Err(RuntimeError::Create { id, cause, retry: Retry::Soon });
        }
        if !self.0.get().kernel.pods.get(&id.pod).is_some_and(|pod| pod.alive) {
            return Err(RuntimeError::NoSandbox { uid: id.pod });
        }
        if self.0.get().misfortune(24) {
            self.0.get().judge.start_failed(&id);
            return Err(RuntimeError::Start { id, cause: "exec: no such file".into() });
        }
        let since = self.0.get().start(request, &marker);
        if request.tag.ends_with(":broken") {
            self.end_later(id, 3, Duration::from_millis(200));
        } else if let Some((code, after)) = marker.ends() {
            self.end_later(id, code, after);
        }
        self.0.pause(64).await;
        Ok(since)
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        self.0.pause(4).await;
        let marker = self.0.get().kernel.container(id).map(|c| c.marker.clone());
        if marker.is_some_and(|marker| !marker.stubborn()) {
            let after = self.0.get().chance.pause_ms(4096);
            self.end_later(id.clone(), 128 + signal, after);
        }
        Ok(())
    }

    async fn kill(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.0.pause(4).await;
        if !self.0.get().misfortune(8) {
            let after = self.0.get().chance.pause_ms(16);
            self.end_later(id.clone(), 137, after);
        }
        Ok(())
    }

    async fn exec(&self, request: &ExecRequest) -> Result<ExecOutcome, RuntimeError> {
        Err(RuntimeError::NotRunning { id: request.id.clone() })
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Attached, RuntimeError> {
        Err(RuntimeError::NotRunning { id: request.id.clone() })
    }

    fn log(&self, _: &ContainerId) -> Option<std::path::PathBuf> {
        None
    }

    async fn written(&self, _: &ContainerId) -> Measured {
        self.0.pause(64).await;
        Measured::default()
    }

    fn pod_usage(&self, uid: &Uid) -> Usage {
        shortage::usage(uid)
    }

    fn traffic(&self) -> BTreeMap<Uid, Traffic> {
        BTreeMap::new()
    }

    fn container_usage(&self, id: &ContainerId) -> Usage {
        shortage::usage(&id.pod)
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), RuntimeError> {
        self.0.pause(16).await;
        let mut universe = self.0.get();
        if let Some(pod) = universe.kernel.pods.get_mut(&id.pod) {
            let key = (id.name.clone(), id.attempt);
            let ended = |c: &Container| matches!(c.state, State::Exited { .. });
            if pod.containers.get(&key).is_some_and(ended) {
                pod.containers.remove(&key);
            }
        }
        Ok(())
    }

    async fn stop_sandbox(&self, uid: &Uid) -> Result<(), RuntimeError> {
        self.0.get().begin_stop(*uid);
        self.0.pause(64).await;
        if self.0.get().misfortune(8) {
            let source = std::io::Error::other("device or resource busy");
            return Err(RuntimeError::Io { doing: format!("stop pod {uid}"), source });
        }
        {
            let mut universe = self.0.get();
            universe.note(|| format!("runtime: stopped {uid}"));
            universe.judge.sandbox_lost(*uid);
            if let Some(pod) = universe.kernel.pods.get_mut(uid) {
                *pod = SimPod { stopped: true, begun: pod.begun, ..SimPod::default() };
            }
        }
        self.0.pause(64).await;
        Ok(())
    }

    async fn remove_sandbox(&self, uid: &Uid) -> Result<(), RuntimeError> {
        self.0.get().begin_remove(*uid);
        self.0.pause(64).await;
        if self.0.get().misfortune(8) {
            let source = std::io::Error::other("device or resource busy");
            return Err(RuntimeError::Io { doing: format!("remove pod {uid}"), source });
        }
        {
            let mut universe = self.0.get();
            universe.note(|| format!("runtime: removed {uid}"));
            universe.judge.sandbox_lost(*uid);
            universe.kernel.pods.remove(uid);
        }
        self.0.pause(64).await;
        Ok(())
    }
}

impl Universe {
    fn begin_start(&mut self, id: &ContainerId, marker: &Marker) {
        self.note(|| format!("runtime: start {id} {marker:?}"));
        let now = BootTime(self.since_boot());
        self.judge.start(id, marker, now);
    }

    fn begin_remove(&mut self, uid: Uid) {
        self.note(|| format!("runtime: remove {uid}"));
        let alive = self.kernel.pods.get(&uid).is_some_and(|pod| pod.alive);
        self.judge.remove(uid, alive);
    }

    fn begin_stop(&mut self, uid: Uid) {
        self.note(|| format!("runtime: stop {uid}"));
        let alive = self.kernel.pods.get(&uid).is_some_and(|pod| pod.alive);
        if alive && self.kernel.running().any(|(of, ..)| of == uid) {
            self.judge.violation(format!("the sandbox of {uid} is stopped and its containers run"));
        }
    }

    fn start(&mut self, request: &StartRequest, marker: &Marker) -> BootTime {
        let since = BootTime(self.since_boot());
        let id = (request.id.name.clone(), request.id.attempt);
        let pod = self.kernel.pods.entry(request.id.pod).or_default();
        let (tag, marker) = (request.tag.clone(), marker.clone());
        pod.begun = true;
        // Starting again what exists changes nothing.
        let fresh = Container { tag, marker, state: State::Running { since } };
        pod.containers.entry(id).or_insert(fresh);
        self.judge.started(&request.id, image_of(&request.tag), since);
        self.check_instances();
        since
    }

    /// At most one instance of a container, and one life of a name.
    fn check_instances(&mut self) {
        let mut instances = BTreeMap::new();
        let mut lives = BTreeMap::new();
        for (uid, (name, attempt), container) in self.kernel.running() {
            if let Some(other) = instances.insert((uid, name), attempt) {
                let text = format!("{uid}/{name} runs as attempt {other} and {attempt}");
                return self.judge.violation(text);
            }
            if let Some(other) = lives.insert(&container.marker.key, uid).filter(|o| *o != uid) {
                let text = format!("{} lives as {other} and {uid}", container.marker.key);
                return self.judge.violation(text);
            }
        }
    }
}

/// The name of the image that a container is made from.
fn image_of(tag: &str) -> &str {
    tag.rsplit(' ').next().unwrap_or_default()
}

fn observed(uid: Uid, pod: &SimPod) -> ObservedPod {
    let one = |((name, attempt), container): (&(String, u32), &Container)| ObservedContainer {
        id: ContainerId { pod: uid, name: name.clone(), attempt: *attempt },
        tag: container.tag.clone(),
        state: match &container.state {
            State::Running { since } => {
                let process = ProcessId { pid: 2, start_ticks: 1 };
                ObservedState::Running { process, since: *since }
            }
            State::Exited { since, exit } => {
                ObservedState::Exited { since: Some(*since), exit: exit.clone() }
            }
        },
    };
    let mut containers: Vec<_> = pod.containers.iter().map(one).collect();
    containers.sort_by_key(|container| container.id.attempt);
    let sandbox = match (pod.alive, pod.stopped) {
        (true, _) => ObservedSandbox::Ready,
        (false, true) => ObservedSandbox::Stopped,
        (false, false) => ObservedSandbox::Died,
    };
    let (origin, addresses, begun) = (pod.origin.clone(), Vec::new(), pod.begun);
    ObservedPod { uid, origin, sandbox, addresses, begun, containers }
}
