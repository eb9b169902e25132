//! One life of the agent: everything in memory, from start to crash.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use mote_agent::eviction::Settings;
use mote_agent::node::machine::Machine;
use mote_agent::node::presence::Board;
use mote_agent::node::reporter::{self, Facts, Reporter, Sight};
use mote_agent::pod::WRITTEN_S;
use mote_agent::pod::contents::names::NodeFilesReader;
use mote_agent::pod::validate::NodePolicy;
use mote_agent::ports::{Clock, WallClock};
use mote_agent::shutdown::Shutdown;
use mote_agent::steward::{self, Edges, Identity, LocalRequest, SharedEdges, Steward, ToPresence};
use mote_agent::store;
use mote_agent::streams::Allowed;
use mote_agent::usage::{NodeSample, Reports};
use mote_protocol::name::{FleetName, GroupName, NodeName};
use mote_protocol::node::{NodeInfo, Resources};
use mote_protocol::pod::Amounts;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::broker::SimLink;
use crate::card::SimDisk;
use crate::handlers::SimHandlers;
use crate::kernel::SimRuntime;
use crate::ports::{SimClock, SimImages, SimLocks, SimVolumes, SimWorld};
use crate::universe::Shared;

/// What tells this board from others.
pub(crate) const IDENTITY: [u8; 8] = [7; 8];

/// Fleet, node and groups. The groups are equally near: the later word counts.
pub(crate) fn names() -> (FleetName, NodeName, Vec<GroupName>) {
    let groups = ["blue", "red"].map(|group| GroupName::new(group).expect("a name"));
    let fleet = FleetName::new("f").expect("a name");
    (fleet, NodeName::new("n").expect("a name"), groups.to_vec())
}

/// An agent that runs; a crash is to drop everything that it has in memory.
pub(crate) struct Agent {
    task: JoinHandle<()>,
}

impl Agent {
    pub(crate) fn start(shared: &Shared) -> Self {
        let shared = shared.clone();
        // A set of its own, so that all of its tasks end with it, wherever they are.
        let task = spawn_local(async move { LocalSet::new().run_until(agent(shared)).await });
        Self { task }
    }

    pub(crate) async fn crash(self, shared: &Shared) {
        self.task.abort();
        match self.task.await {
            Err(error) if error.is_panic() => {
                shared.get().judge.violation("the agent panicked".into());
            }
            _ => {}
        }
        let mut universe = shared.get();
        universe.note(|| "agent: dies".into());
        universe.kernel.listener(None);
        universe.node_disconnects();
        universe.judge.agent_died();
    }

    /// Whether it ended by itself, which it must not.
    pub(crate) fn ended(&self) -> bool {
        self.task.is_finished()
    }
}

async fn agent(shared: Shared) {
    let clock = || SimClock(shared.clone());
    let edges = Rc::new(Edges::<SimWorld> {
        runtime: SimRuntime(shared.clone()),
        images: SimImages(shared.clone()),
        volumes: SimVolumes(shared.clone()),
        handlers: SimHandlers(shared.clone()),
        disk: SimDisk::new(shared.clone()),
        clock: clock(),
        wall: clock(),
        locks: SimLocks(shared.clone()),
        random: clock(),
    });
    let spoiled = shared.get().card.found_spoiled();
    let opened = store::open(Rc::clone(&edges), NodePolicy::default(), &IDENTITY).await;
    shared.get().note(|| format!("agent: start {} {:?}", opened.start, opened.reports));
    for name in spoiled {
        if !opened.reports.iter().any(|report| report.message.contains(&name)) {
            shared.get().judge.violation(format!("{name} is damaged, which nobody says"));
        }
    }
    let (events, runtime) = mpsc::unbounded_channel();
    shared.get().kernel.listener(Some(events));
    let (to_presence, inbox) = mpsc::unbounded_channel();
    let (outbox, from_presence) = mpsc::unbounded_channel();
    let (start, changes) = watch::channel(opened.start);
    let (conditions, conditions_told) = watch::channel(0);
    let seen = watch::Sender::new(opened.seen_s.unwrap_or(WRITTEN_S));
    spawn_local(keep_time(Rc::clone(&edges), seen.subscribe()));
    spawn_local(watch_clock(shared.clone(), to_presence.clone()));
    spawn_local(watch_stalls(shared.clone(), to_presence.clone()));
    let link = SimLink::new(shared.clone(), start.subscribe());
    let machine = machine(&shared);
    let identity = identity(&machine);
    let channels = reporter::Channels { inbox, outbox, start, seen, conditions };
    let look = shared.clone();
    spawn_presence(machine, clock, move || look.get().sight(), channels);
    spawn_local(keep_start(Rc::clone(&edges), changes));
    let (ask, local) = mpsc::unbounded_channel();
    spawn_local(watch_locks(shared.clone(), ask));
    // Nobody looks at a simulated node.
    let (doctor, _) = mpsc::unbounded_channel();
    let (power, _) = mpsc::unbounded_channel();
    let services = watch::Sender::default();
    let channels = steward::Channels {
        runtime,
        from_presence,
        to_presence,
        doctor,
        power,
        network: tokio::sync::watch::channel(None).1,
        services,
        local,
        conditions: conditions_told,
    };
    Steward::new(identity, edges, link, opened, channels).run().await;
}

fn machine(shared: &Shared) -> Machine {
    let mut boot_id = [0; 16];
    boot_id[..4].copy_from_slice(&shared.get().kernel.boot.to_le_bytes());
    Machine { info: NodeInfo::default(), board: Board { identity: IDENTITY, boot_id } }
}

fn identity(machine: &Machine) -> Identity {
    let (fleet, node, groups) = names();
    let (labels, boot_id) = (BTreeMap::new(), machine.board.boot_id);
    let (memory_bytes, allocatable) = (1 << 30, Amounts::default());
    let (addresses, devices): (fn() -> _, _) = (Vec::new, Vec::new());
    let streams = Allowed::default();
    let files = NodeFilesReader::new(Default::default);
    let max_evicted_grace_s = 0;
    Identity {
        fleet,
        node,
        groups,
        labels,
        boot_id,
        memory_bytes,
        allocatable,
        max_evicted_grace_s,
        addresses,
        files,
        used: |_| NodeSample::default(),
        state_dir: PathBuf::new(),
        reports: Reports::default(),
        devices,
        streams,
        shutdown: Shutdown::default(),
    }
}

fn spawn_presence<C>(
    machine: Machine,
    clock: impl Fn() -> C,
    look: impl FnMut() -> Sight + 'static,
    channels: reporter::Channels,
) where
    C: Clock + WallClock + 'static,
{
    let facts = Facts {
        machine,
        hostname: "n".into(),
        external_ips: Vec::new(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        groups: names().2,
        heartbeat: Duration::from_mins(5),
        capacity: Resources::default(),
        allocatable: Resources::default(),
        eviction: Settings::default(),
        cgroup_memory: true,
    };
    let reporter = Reporter::new(facts, clock(), clock(), look, channels);
    spawn_local(reporter.run());
}

/// As the real agent does.
async fn keep_time(edges: SharedEdges<SimWorld>, mut seen: watch::Receiver<i64>) {
    while seen.changed().await.is_ok() {
        let at = *seen.borrow_and_update();
        // What is not written is said again in a day.
        let _ = store::keep_time(&edges, at).await;
    }
}

/// As the kernel tells who asks.
async fn watch_clock(shared: Shared, presence: mpsc::UnboundedSender<ToPresence>) {
    loop {
        shared.clock_set.notified().await;
        if presence.send(ToPresence::ClockSet).is_err() {
            return;
        }
    }
}

/// The same of who waits for memory.
async fn watch_stalls(shared: Shared, presence: mpsc::UnboundedSender<ToPresence>) {
    loop {
        shared.stalled.notified().await;
        if presence.send(ToPresence::Alarm).is_err() {
            return;
        }
    }
}

/// As the kernel tells who watches their directory.
async fn watch_locks(shared: Shared, steward: mpsc::UnboundedSender<LocalRequest>) {
    while steward.send(LocalRequest::LocksChanged).is_ok() {
        shared.locks_changed.notified().await;
    }
}

/// As the real agent does where the broker keeps a greater session.
async fn keep_start(edges: SharedEdges<SimWorld>, mut start: watch::Receiver<u32>) {
    while start.changed().await.is_ok() {
        let number = *start.borrow_and_update();
        // One that is not written is asked for again by the next start.
        let _ = store::count_from(&edges, number).await;
    }
}
