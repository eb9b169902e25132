//! The tasks of an agent, and the channels between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mote_protocol::pod::Amounts;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use super::real::{self, RealWorld};
use super::time::Time;
use super::{SuperviseError, cgroups, notify, power, watches};
use crate::config::Config;
use crate::ctl::{self, server::Server};
use crate::device;
use crate::doctor;
use crate::eviction::{self, Pressures};
use crate::link::session::connect;
use crate::log::Chain;
use crate::metrics;
use crate::network::{Network, Ranges};
use crate::node::board::Ailments;
use crate::node::capacity::{self, Totals};
use crate::node::machine::Machine;
use crate::node::readings::{Amount, Instruments, NameFiles, Reading, addresses, used};
use crate::node::reporter::{self, Facts, Reporter, Sight};
use crate::pod::contents::names::NodeFilesReader;
use crate::pod::enforcement::{Enforcement, Right};
use crate::pod::room::Capacity;
use crate::pod::validate::{NodePolicy, PodAddresses};
use crate::ports::{KernelClock, KernelRandom, KernelWallClock};
use crate::resolver::Resolver;
use crate::runtime::oci::cgroup::Controller;
use crate::runtime::oci::users;
use crate::runtime::{RuntimeEvent, apparmor};
use crate::services::Table;
use crate::steward::{self, Identity, LocalRequest, Steward, ToPresence};
use crate::store;
use crate::sys::memory;
use crate::world::SharedEdges;

/// When starting is over: connected, everything adopted.
const STARTED: Duration = Duration::from_secs(5);

/// When a look at the node is over: told to the broker, the pods gone through, the link kept alive.
const LOOKED: Duration = Duration::from_secs(1);

/// How long an agent that ends waits for its card.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// What runs, and what is left to do when it is asked to stop.
pub(super) struct Tasks<S> {
    /// Each returns its name, should it ever end.
    pub(super) running: JoinSet<&'static str>,
    /// To be waited for at the stop, while they run.
    pub(super) at_stop: S,
}

/// What flash has not yet of what happened, and of the time, is written. Everything else was written when
/// it had to be.
async fn at_stop(
    edges: SharedEdges<RealWorld>,
    steward: mpsc::UnboundedSender<LocalRequest>,
    remember: impl Future<Output = ()>,
) {
    // Nobody looks any more whether it is short still.
    edges.runtime.slow_pods_above(None, 0);
    let (answer, answered) = oneshot::channel();
    if steward.send(LocalRequest::KeepEvents(answer)).is_ok()
        && timeout(LAST_WRITE, answered).await.is_err()
    {
        warn!("the card does not answer; the last events are lost");
    }
    remember.await;
}

/// Builds everything and starts every task.
pub(super) async fn start(
    config: &Config,
    path: &Path,
) -> Result<Tasks<impl Future<Output = ()> + use<>>, SuperviseError> {
    let pull_cgroup = cgroups::arrange();
    let mut instruments = Instruments::new(&config.state_dir);
    let totals = totals(&mut instruments);
    let time = Time::new();
    let (edges, runtime_events) = real::edges(config, &totals, pull_cgroup, time.seen.subscribe())?;
    let machine = real::machine(config);
    let labels = real::labels(config, &machine);
    let board = machine.info.serial.as_bytes().to_vec();
    let policy = policy(config, &labels, &totals);
    let opened = store::open(Rc::clone(&edges), policy, &board).await;
    let (start, start_changes) = watch::channel(opened.start);
    time.remembered(opened.seen_s);

    let options = real::link_options(config, &machine);
    let (link, connector) = connect(options, start.subscribe(), KernelRandom, time.of_day());
    let (local, questions) = mpsc::unbounded_channel();
    let (to_presence, inbox) = mpsc::unbounded_channel();
    let (outbox, from_presence) = mpsc::unbounded_channel();
    let (runtime, runtime_inbox) = mpsc::unbounded_channel();

    let tables = watch::Sender::new(Arc::<Table>::default());
    let (resolver, name_files) =
        real::resolver(config, edges.runtime.network(), tables.subscribe());
    let facts = facts(config, machine, &edges, labels, &totals);
    let identity = identity(config, &facts, &totals, name_files);
    let (doctor, patients) = mpsc::unbounded_channel();
    let (power, power_orders) = mpsc::unbounded_channel();
    let clock = time.watch(to_presence.clone());
    let served = tables.subscribe();
    let watched = to_presence.clone();
    let (conditions, conditions_told) = watch::channel(0);
    let channels = steward::Channels {
        conditions: conditions_told,
        runtime: runtime_inbox,
        from_presence,
        to_presence,
        doctor,
        power,
        services: tables,
        network: edges.runtime.network().health(),
        local: questions,
    };
    let steward = Steward::<RealWorld>::new(identity, Rc::clone(&edges), link, opened, channels);
    let channels = reporter::Channels { inbox, outbox, start, seen: time.seen.clone(), conditions };
    let settled = Rc::new(Notify::new());
    let wanted = (config.devices.clone(), config.eviction.clone());
    let look = look(instruments, wanted, Rc::clone(&edges), Rc::clone(&settled));
    let reporter = Reporter::new(facts, KernelClock, KernelWallClock, look, channels);
    let server = Server::bind(&ctl::socket(&config.run_dir), local.clone())?;

    let mut tasks = JoinSet::new();
    tasks.spawn_local(named("steward", steward.run()));
    tasks.spawn_local(named("link", connector.run()));
    tasks.spawn_local(named("reporter", reporter.run()));
    tasks.spawn_local(named("ctl", server.run()));
    watches::start(&mut tasks, config, &edges, &local, &watched);
    let scraped = metrics::server::run(config.metrics.listen.clone(), local.clone());
    tasks.spawn_local(named("metrics", scraped));
    tasks.spawn_local(named("doctor", doctor::serve(path.to_owned(), patients)));
    tasks.spawn_local(named("power", power::serve(config.shutdown.program.clone(), power_orders)));
    tasks.spawn_local(named("session", keep_start(Rc::clone(&edges), start_changes)));
    tasks.spawn_local(named("time", time.keep(Rc::clone(&edges))));
    tasks.spawn_local(named("clock", clock));
    connect_pods(&mut tasks, &edges, (resolver, served), watched);
    tasks.spawn_local(named("runtime events", pass_on(runtime_events, runtime)));
    tasks.spawn_local(named("memory", give_back(settled)));
    if let Some(period) = sd_notify::watchdog_enabled() {
        tasks.spawn_local(named("watchdog", watchdog(period / 2, local.clone())));
    }
    Ok(Tasks { running: tasks, at_stop: at_stop(Rc::clone(&edges), local, time.at_stop(&edges)) })
}

/// Starts what pods need to reach each other: addresses and rules, services, names.
fn connect_pods(
    tasks: &mut JoinSet<&'static str>,
    edges: &SharedEdges<RealWorld>,
    (resolver, tables): (Option<Resolver>, watch::Receiver<Arc<Table>>),
    presence: mpsc::UnboundedSender<ToPresence>,
) {
    let of_pods = || Arc::clone(edges.runtime.network());
    tasks.spawn_local(named("network", network(of_pods(), presence)));
    tasks.spawn_local(named("services", serve(of_pods(), tables)));
    if let Some(resolver) = resolver {
        tasks.spawn_local(named("resolver", resolver.run()));
    }
}

/// Keeps the network of pods, and tells whether there is one.
async fn network(network: Arc<Network>, presence: mpsc::UnboundedSender<ToPresence>) {
    let mut health = network.health();
    let told = async {
        while health.changed().await.is_ok() {
            let missing = health.borrow_and_update().clone();
            let _ = presence.send(ToPresence::Network { missing });
        }
        std::future::pending::<()>().await;
    };
    tokio::join!(network.run(), told);
}

/// Has services lead to those who serve, as that changes.
async fn serve(network: Arc<Network>, mut tables: watch::Receiver<Arc<Table>>) {
    while tables.changed().await.is_ok() {
        let table = Arc::clone(&tables.borrow_and_update());
        if table.settled {
            network.serve(table.served()).await;
        }
    }
    std::future::pending::<()>().await;
}

/// Looks at this machine, has the kernel hold pods to what it saw, and says that somebody looked.
fn look(
    mut instruments: Instruments,
    (patterns, eviction): (Vec<device::Pattern>, eviction::Settings),
    edges: SharedEdges<RealWorld>,
    looked: Rc<Notify>,
) -> impl FnMut() -> Sight {
    move || {
        let devices = capacity::devices(&device::found(&patterns));
        let pods = edges.runtime.pods_memory();
        let pods_memory_kib = pods.map(|(total, memory)| Amount {
            free: total.saturating_sub(memory.used) / 1024,
            total: total / 1024,
        });
        let reading = Reading { pods_memory_kib, ..instruments.read() };
        let droppable = pods.map_or(0, |(_, memory)| memory.droppable);
        let ceiling = eviction::ceiling(&reading.levels(), droppable, &eviction);
        let slack = ceiling.map_or(0, |ceiling| ceiling.slack);
        edges.runtime.slow_pods_above(ceiling.map(|ceiling| ceiling.bytes), slack);
        let ailments = Ailments::read(Path::new("/"));
        let sight = Sight { reading, addresses: addresses(), devices, ailments };
        looked.notify_one();
        sight
    }
}

/// What the runtime has to tell is bounded; what the steward hears is not.
async fn pass_on(
    mut events: mpsc::Receiver<RuntimeEvent>,
    steward: mpsc::UnboundedSender<RuntimeEvent>,
) {
    while let Some(event) = events.recv().await {
        if steward.send(event).is_err() {
            return;
        }
    }
}

/// Lets go of the code that is not needed at rest: after the start, and each time that what a look at
/// the node set in motion is over.
async fn give_back(looked: Rc<Notify>) {
    let mut busy = STARTED;
    loop {
        sleep(busy).await;
        if let Err(error) = memory::give_back_program() {
            debug!(error = %Chain(&error), "give the program's pages back");
        }
        looked.notified().await;
        busy = LOOKED;
    }
}

pub(super) async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

fn totals(instruments: &mut Instruments) -> Totals {
    let reading = instruments.read();
    Totals {
        cpus: instruments.cpus(),
        memory_kib: reading.memory_kib.map_or(0, |memory| memory.total),
        disk_kib: reading.disk_kib.map_or(0, |disk| disk.total),
    }
}

fn facts(
    config: &Config,
    machine: Machine,
    edges: &SharedEdges<RealWorld>,
    labels: BTreeMap<String, String>,
    totals: &Totals,
) -> Facts {
    let missing = edges.runtime.facts().missing_controllers;
    if !missing.is_empty() {
        warn!(?missing, "limits that need these cgroup controllers are not enforced");
    }
    Facts {
        machine,
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        external_ips: config.external_ips.clone(),
        labels,
        taints: config.taints.clone(),
        groups: config.groups.clone(),
        heartbeat: config.heartbeat,
        capacity: capacity::capacity(totals, &config.limits),
        allocatable: capacity::allocatable(totals, &config.limits, &config.eviction),
        eviction: config.eviction.clone(),
        cgroup_memory: !missing.contains(&Controller::Memory),
    }
}

fn identity(config: &Config, facts: &Facts, totals: &Totals, name_files: NameFiles) -> Identity {
    Identity {
        fleet: config.fleet.clone(),
        node: config.node.clone(),
        groups: config.groups.clone(),
        labels: facts.labels.clone(),
        boot_id: facts.machine.board.boot_id,
        memory_bytes: totals.memory_kib.saturating_mul(1024),
        allocatable: Amounts {
            cpu_milli: Some(facts.allocatable.cpu_milli.into()),
            memory_bytes: Some(facts.allocatable.memory_kib.saturating_mul(1024)),
            ephemeral_bytes: Some(facts.allocatable.ephemeral_kib.saturating_mul(1024)),
            ..Amounts::default()
        },
        max_evicted_grace_s: config.eviction.max_pod_grace_s,
        addresses,
        files: NodeFilesReader::new(move || name_files.read()),
        used,
        state_dir: config.state_dir.clone(),
        reports: config.reports,
        devices: config.devices.clone(),
        streams: config.streams,
        shutdown: config.shutdown.clone(),
    }
}

/// Rights that this machine cannot enforce, and why.
fn lacks() -> impl Iterator<Item = (Right, &'static str)> {
    let app_armor = (!apparmor::is_enabled()).then_some(apparmor::NOT_ENABLED);
    let lacks = [(Right::AppArmorProfile, app_armor), (Right::HostUsers, users::unavailable())];
    lacks.into_iter().filter_map(|(right, why)| Some((right, why?)))
}

fn policy(config: &Config, labels: &BTreeMap<String, String>, totals: &Totals) -> NodePolicy {
    let has = capacity::allocatable(totals, &config.limits, &config.eviction);
    let all = capacity::capacity(totals, &config.limits);
    // What could not be looked at is nothing that is used up.
    let known = |amount: u64, of: u64| Some(amount).filter(|_| of > 0);
    let bytes = |kib: u64, of: u64| known(kib.saturating_mul(1024), of);
    let room = Capacity([
        known(has.pods.into(), all.pods.into()),
        known(has.cpu_milli.into(), all.cpu_milli.into()),
        bytes(has.memory_kib, all.memory_kib),
        bytes(has.ephemeral_kib, all.ephemeral_kib),
    ]);
    NodePolicy {
        labels: labels.clone(),
        taints: config.taints.clone(),
        unsafe_sysctls: config.unsafe_sysctls.clone(),
        room,
        domain: config.names.domain.clone(),
        addresses: match config.network {
            None => PodAddresses::None,
            Some(Ranges { v6: None, .. }) => PodAddresses::V4,
            Some(_) => PodAddresses::Both,
        },
        services: config.services,
        enforcement: Enforcement::new(lacks(), &config.allow_unenforced),
        pressure: Pressures::default(),
    }
}

/// Writes a raised number of this start to flash, so that the next one is above it.
async fn keep_start(edges: SharedEdges<RealWorld>, mut start: watch::Receiver<u32>) {
    while start.changed().await.is_ok() {
        let number = *start.borrow_and_update();
        match store::count_from(&edges, number).await {
            Ok(()) => info!(start = number, "this start of the agent has another number now"),
            Err(error) => warn!(error = %Chain(&error), "keep the number of this start"),
        }
    }
}

/// Tells systemd that the steward still answers: a loop that is stuck does not.
async fn watchdog(period: Duration, local: mpsc::UnboundedSender<LocalRequest>) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (answer, answered) = oneshot::channel();
        // No object has this uid, so that the answer is short.
        let about = Some(mote_protocol::name::Uid([0; 16]));
        if local.send(LocalRequest::Events { about, answer }).is_err() || answered.await.is_err() {
            return;
        }
        notify(sd_notify::NotifyState::Watchdog);
    }
}
