//! The whole node without its edges.
//!
//! The steward hears from the broker, the runtime, the clock and the people at the machine, and
//! makes the node run what it was told to run. Whatever it needs of the world comes through a
//! [`World`]: the real one is put together by `supervise`, the simulated one by the simulator, and
//! what stands between is the same code.
//!
//! ```text
//!   link ----> broker ----> orders ====> store (a task)      ====> flash
//!    ^                                     |
//!    |                        told         v
//!   outbox <--- statuses <--- objects <----+
//!                                |  ^
//!                                v  | outcomes
//!                            reconciler ====> workers (tasks) ====> runtime, images
//! ```
//! Everything between the double arrows happens in one task, one message at a time: nobody else
//! decides anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mote_protocol::name::{FleetName, GroupName, NodeName, ObjectKey, RequestId, Uid};
use mote_protocol::node::Session;
use mote_protocol::object::Revision;
use mote_protocol::pod::Amounts;
use mote_protocol::status::Refusal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use crate::device::{Device, Pattern};
use crate::events::Events;
use crate::image::What;
use crate::link::outbox::Outbox;
use crate::link::{Link, Receipt};
use crate::metrics::Published;
use crate::pod::contents::names::NodeFilesReader;
use crate::pod::machine::{Event, Record};
use crate::pod::{Boot, Moment};
use crate::reconciler::{Reconciler, Report, Surroundings};
use crate::runtime::{ObservedPod, RuntimeEvent};
use crate::services::Table;
use crate::shutdown::Shutdown;
use crate::store::{self, DataReader, Kept, Life, Loaded, Opened, Order, Told};
use crate::streams::{Allowed, Outgoing};
use crate::usage::{NodeSample, Reports};

mod attached;
mod broker;
mod channels;
mod commands;
mod cordon;
mod data;
mod delays;
mod eviction;
mod happened;
mod images;
mod local;
mod looks;
mod objects;
mod orphans;
mod presence;
mod reboot;
mod rollout;
mod services;
mod standing;
mod static_pods;
mod statuses;
mod streams;
#[cfg(test)]
mod tests;
mod usage;

pub use crate::world::{Edges, SharedEdges, World};
pub use attached::Commanded;
pub use channels::{Asked, Channels};
use delays::Waiting;
pub use eviction::NodePressure;
pub use images::ImageOrder;
pub use local::{LocalExec, LocalRequest, PodDetail, PodView};
use looks::Silent;
pub use presence::{FromPresence, ToPresence};
pub use reboot::PowerOrder;
use rollout::Tried;
pub use standing::{Denied, Standing};
use streams::Streams;

/// How often the node is looked at without a reason: what was missed heals itself. Rare, since
/// nothing should be missed.
const TICK: Duration = Duration::from_mins(5);

/// Pause before looking at the node again, where the first look failed.
const FIRST_LOOK_RETRY: Duration = Duration::from_secs(2);

/// Who this node is, for as long as the agent runs.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The fleet it belongs to.
    pub fleet: FleetName,
    /// Its name.
    pub node: NodeName,
    /// Its groups.
    pub groups: Vec<GroupName>,
    /// Its labels, for `nodeSelector`; the store must be opened with the same.
    pub labels: BTreeMap<String, String>,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// Memory of the machine in bytes, for `oom_score_adj`.
    pub memory_bytes: u64,
    /// What pods can have of the node.
    pub allocatable: Amounts,
    /// Most seconds that a pod gets to end where the node is softly short of something.
    pub max_evicted_grace_s: u32,
    /// Looks up the node's addresses, which change.
    pub addresses: fn() -> Vec<IpAddr>,
    /// Reads the node's files about names, which change.
    pub files: NodeFilesReader,
    /// Reads what the whole node uses.
    pub used: fn(&Path) -> NodeSample,
    /// Where the disk is that counts.
    pub state_dir: PathBuf,
    /// How often what is used is reported.
    pub reports: Reports,
    /// Device nodes that containers may have.
    pub devices: Vec<Pattern>,
    /// What operators may do beside what pods and their logs are.
    pub streams: Allowed,
    /// How the machine goes down.
    pub shutdown: Shutdown,
}

impl Identity {
    /// What pods are told of this node.
    fn surroundings(
        &self,
        data: DataReader,
        services: watch::Receiver<Arc<Table>>,
    ) -> Surroundings {
        Surroundings {
            node: self.node.clone(),
            memory_bytes: self.memory_bytes,
            allocatable: self.allocatable.clone(),
            addresses: self.addresses,
            files: self.files.clone(),
            data,
            services,
            devices: self.devices.clone().into(),
        }
    }
}

/// An object that is wanted, or is on its way out.
#[derive(Debug)]
struct Desired {
    revision: Revision,
    life: Life,
    /// The life that ends before this one may start.
    previous: Option<Life>,
    /// It is on trial.
    trial: Option<Tried>,
    /// A later revision that is put off.
    waiting: Option<Waiting>,
    gone: Gone,
}

impl From<Loaded> for Desired {
    fn from(loaded: Loaded) -> Self {
        let Loaded { revision, current: life, previous, .. } = loaded;
        let (trial, waiting) = (loaded.trial.map(Tried::new), loaded.put_off.map(Waiting::new));
        Self { revision, life, previous, trial, waiting, gone: Gone::No }
    }
}

/// How far a deleted object is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    /// It is wanted, or something of it is left.
    No,
    /// Nothing is left of it, and the broker is told.
    Untold,
    /// The broker knows; flash may forget it.
    Told,
}

/// The node.
pub struct Steward<W: World> {
    identity: Identity,
    edges: SharedEdges<W>,
    link: W::Link,
    channels: Channels,
    orders: mpsc::UnboundedSender<Order>,
    told: mpsc::UnboundedReceiver<Told>,
    reports: mpsc::UnboundedReceiver<Report>,
    parts: mpsc::Receiver<Outgoing>,
    books: Books<W>,
}

/// What the steward knows. Apart from the channels, so that it can wait on those and work on this.
struct Books<W: World> {
    reconciler: Reconciler<W>,
    outbox: Outbox,
    streams: Streams,
    events: Events,
    desired: BTreeMap<ObjectKey, Desired>,
    /// `ConfigMap`s, Secrets and services that this node has.
    data: BTreeMap<ObjectKey, Revision>,
    services: services::Services,
    files: static_pods::Files,
    /// The last refusal of each name.
    refusals: BTreeMap<ObjectKey, Refusal>,
    /// Hash of the status that was owed last, for each name.
    statuses: BTreeMap<ObjectKey, u64>,
    /// How far pods got under earlier agents, until they are taken on.
    records: BTreeMap<Uid, Record>,
    /// What was found running, until it is taken on.
    found: BTreeMap<Uid, ObservedPod>,
    kept: Kept,
    /// Names whose next life waits for the end of a pod that lost its object.
    heirs: BTreeMap<Uid, ObjectKey>,
    /// The node was looked at: what runs is known.
    looked: bool,
    /// Questions about pods that came before the node was looked at for the first time, until it was.
    early: Option<Vec<LocalRequest>>,
    silent: Silent,
    /// The runtime had more to tell than had room, and not all pods were looked at since.
    missed: bool,
    /// Devices that are there, once somebody said so.
    devices: Option<Rc<BTreeMap<String, Device>>>,
    evictions: eviction::Evictions,
    cordons: cordon::Cordons,
    /// The machine is on its way down.
    reboot: Option<reboot::Reboot>,
    usage: usage::Gauge,
    /// What was handed to the link so far.
    published: Published,
    /// Images are being removed to make room.
    sweeping: bool,
    /// Commands about images that are not answered yet.
    image_commands: usize,
    /// Where tasks of the steward's own report.
    reports: mpsc::UnboundedSender<Report>,
    /// Records that are being written.
    saving: BTreeSet<Uid>,
    session: Option<Session>,
    /// What of the current connection is not acknowledged yet.
    receipts: BTreeSet<Receipt>,
    storage_failing: bool,
    /// Who waits for the write of the events that is under way, and for what it lacks.
    at_last: Option<oneshot::Sender<()>>,
    /// The disk is full, and its reserve is being used.
    storage_short: bool,
    /// What the broker refuses, and why there is no connection.
    memory: standing::Memory,
    /// Ids of the last commands: the broker may say one twice.
    commands: VecDeque<RequestId>,
    next_look: Moment,
    /// Until when deadlines were looked at.
    clock: Moment,
    buffer: Vec<u8>,
}

impl<W: World> Steward<W> {
    /// A node with everything that was on its flash. Must be called, and run, in a
    /// [`tokio::task::LocalSet`].
    pub fn new(
        identity: Identity,
        edges: SharedEdges<W>,
        link: W::Link,
        opened: Opened<W>,
        channels: Channels,
    ) -> Self {
        let now = edges.now();
        let (orders, inbox) = mpsc::unbounded_channel();
        let (outbox, told) = mpsc::unbounded_channel();
        spawn_local(store::serve(opened.store, inbox, outbox));
        let (reporter, reports) = mpsc::unbounded_channel();
        let tables = channels.services.subscribe();
        let surroundings = identity.surroundings(DataReader::new(orders.clone()), tables);
        let reconciler = Reconciler::new(Rc::clone(&edges), surroundings, reporter.clone());
        let (streams, parts) = Streams::new();
        let boot = Boot { id: identity.boot_id, epoch_ms: edges.epoch_ms() };
        let mut events = Events::new(opened.start, opened.events, &boot);
        for report in opened.reports {
            events.record(report, &boot, now);
        }
        let rejected = opened.objects.iter().filter_map(|loaded| {
            Some((loaded.key.clone(), rollout::refusal(loaded.rejected.as_ref()?)))
        });
        let refusals = rejected.collect();
        let desired = opened.objects.into_iter().map(|loaded| (loaded.key.clone(), loaded.into()));
        let books = Books {
            reconciler,
            outbox: Outbox::new(),
            streams,
            events,
            desired: desired.collect(),
            data: opened.data,
            services: services::Services::new(opened.services),
            files: static_pods::Files::default(),
            refusals,
            statuses: BTreeMap::new(),
            records: opened.records,
            found: BTreeMap::new(),
            kept: opened.kept,
            heirs: BTreeMap::new(),
            looked: false,
            early: Some(Vec::new()),
            silent: Silent::default(),
            missed: false,
            devices: None,
            evictions: eviction::Evictions::new(opened.preempted),
            cordons: cordon::Cordons::new(opened.cordon),
            reboot: None,
            usage: usage::Gauge::new(identity.reports, now),
            published: Published::default(),
            sweeping: false,
            image_commands: 0,
            reports: reporter,
            saving: BTreeSet::new(),
            session: None,
            receipts: BTreeSet::new(),
            storage_failing: opened.failing,
            at_last: None,
            storage_short: false,
            memory: standing::Memory::default(),
            commands: VecDeque::new(),
            next_look: now.after(TICK),
            clock: now,
            buffer: Vec::new(),
        };
        Self { identity, edges, link, channels, orders, told, reports, parts, books }
    }

    /// Is the node, for ever. Dropped when the agent is asked to stop: what must survive is on
    /// flash, what runs goes on running.
    pub async fn run(mut self) {
        self.books.reconciler.list();
        self.objects_changed();
        self.look_at_delays();
        self.tell_cordon();
        if self.books.storage_failing {
            self.tell_presence(ToPresence::Storage { failing: true });
        }
        loop {
            let (wake, room) = (self.wake(), self.has_stream_room());
            tokio::select! {
                // In this order: what the node did comes before what it is asked to do, and a
                // fixed order makes a simulated history repeat.
                biased;
                Some(told) = self.told.recv() => self.store_told(told),
                Some(report) = self.reports.recv() => self.reported(report),
                Some(event) = self.channels.runtime.recv() => self.runtime_told(event),
                () = sleep_until(wake) => self.time_passed(),
                Some(told) = self.channels.from_presence.recv() => self.presence_told(told),
                Some(request) = self.channels.local.recv() => self.answer_local(request),
                Some(part) = self.parts.recv(), if room => self.stream_told(part),
                heard = self.link.next() => self.heard(heard),
            }
            self.look_at_services();
            self.look_at_followed();
            self.send();
            self.look_at_reboot(self.now());
        }
    }

    fn now(&self) -> Moment {
        self.edges.now()
    }

    fn boot(&self) -> Boot {
        Boot { id: self.identity.boot_id, epoch_ms: self.edges.epoch_ms() }
    }

    /// When to look again where nothing happens before.
    fn wake(&self) -> Instant {
        let (now, books) = (self.now(), &self.books);
        let connected = books.session.is_some();
        let event = books.events.next_allowed().filter(|at| connected && *at > now);
        let pods = books.reconciler.deadline(books.clock);
        let write = books.events.next_write();
        let changes = self.trial_deadline().into_iter().chain(self.delay_deadline()).min();
        let victim = books.evictions.deadline();
        let down = books.reboot.as_ref().map(reboot::Reboot::deadline);
        let used = self.usage_deadline();
        let services = books.services.deadline();
        let next =
            [Some(books.next_look), event, write, pods, changes, victim, down, used, services];
        let next = next.into_iter().flatten().min();
        let pause = next.map_or(TICK, |next| next.since(now));
        // The machine may sleep meanwhile, and timers with it; a tick bounds how late one is.
        Instant::now() + pause.min(TICK)
    }

    fn time_passed(&mut self) {
        let now = self.now();
        for uid in self.books.reconciler.due(self.books.clock, now) {
            self.step(uid, Event::Tick, now);
        }
        self.books.clock = now;
        self.look_at_trials(now);
        self.look_at_delays();
        self.look_at_evictions(now);
        self.look_at_usage(now);
        self.keep_events(now);
        if self.books.next_look <= now {
            self.look_again(now, TICK);
            self.forget_again();
            self.look_at_reserve();
            self.make_room(What::Excess);
        }
    }

    fn reported(&mut self, report: Report) {
        let now = self.now();
        match report {
            Report::Swept(result) => self.room_made(result),
            Report::Reclaimed(result) => self.reclaimed(result),
            Report::Weighed { resource, candidates } => self.weighed(resource, candidates),
            Report::ImagesCame(names) => self.images_came(names),
            Report::Answered { id, replies } => self.answered(&id, replies),
            Report::LastWordsKept => self.last_words_kept(),
            Report::NotRebooted { until, why } => self.reboot_refused(until, &why),
            Report::Examined { id, replies } => self.reply(&id, replies),
            Report::Pod { uid, freed, event } => {
                self.look_for_no_room(&event);
                let outcome = self.books.reconciler.report(uid, freed, event, now);
                self.after(uid, outcome, now);
            }
            Report::OrphanRemoved { uid, result } => {
                self.orphan_removed(uid, result, now);
            }
            Report::Listed { since, result } => {
                match result {
                    Ok(observed) => self.looked(since, observed, now),
                    Err(error) => self.not_looked(&error, now),
                }
                self.answer_early();
            }
        }
    }

    fn runtime_told(&mut self, event: RuntimeEvent) {
        let now = self.now();
        if event == RuntimeEvent::Missed {
            self.books.missed = true;
            self.look_again(now, TICK);
        } else if let Some((uid, event)) = self.books.reconciler.translate(event) {
            self.step(uid, event, now);
        }
    }

    /// Hands to the link what is owed and has room.
    fn send(&mut self) {
        let now = self.now();
        self.queue_events(now);
        while let Some(publication) = self.books.outbox.take_next() {
            let bytes = publication.topic.len() + publication.payload.len();
            if let Err(back) = self.link.publish(publication) {
                self.books.outbox.not_sent(&back);
                break;
            }
            self.books.published.messages += 1;
            self.books.published.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        }
    }
}
