//! Acts where the node is short of something: the kubelet's rounds.
//!
//! ```text
//!   Rest --- short of disk ---> Reclaiming --- looked again, still short --+
//!     |  \                                                                 |
//!     |   +--- short of anything else -----------------> Weighing <--------+
//!     |                                                     | the first of the ranking
//!     +<---- it has ended, or half a minute is over ---- Ending
//! ```
//! One pod at a time: what one frees may be enough. After each round somebody looks anew, and what
//! was seen before that look counts no more.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mote_protocol::name::Uid;
use mote_protocol::pod::{Volume, VolumeSource};
use tokio::task::spawn_local;

use super::{Steward, ToPresence, World};
use crate::eviction::{Candidate, Eater, Pressures, Resource, Shortage, message, rank};
use crate::image::{ImageError, Images, Sweep, Swept, What};
use crate::pod::Moment;
use crate::pod::machine::{EVICTION_GRACE, Event, Machine, Sandbox, Stage};
use crate::pod::room::PREEMPTED;
use crate::pod::spec::Requests;
use crate::reconciler::{Report, plan};
use crate::runtime::{ContainerId, Runtime};
use crate::store::Order;
use crate::tree::{Counted, Measured};
use crate::volume::Volumes as _;
use crate::world::Edges;

/// How long is waited for what a victim leaves to be gone (the kubelet's `podCleanupTimeout`).
const CLEANUP: Duration = Duration::from_secs(30);

/// What a look at the node came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePressure {
    /// The pressures that hold.
    pub held: Pressures,
    /// What is short now.
    pub shortage: Option<Shortage>,
    /// The last look that the steward had asked for by then.
    pub look: u64,
}

/// How far a round is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Round {
    #[default]
    Rest,
    /// What no pod needs is being removed.
    Reclaiming,
    /// It is found out what pods use.
    Weighing,
    /// A pod is on its way out.
    Ending { uid: Uid, until: Moment },
}

/// What the steward knows of shortages.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    held: Pressures,
    round: Round,
    /// Counts the looks that were asked for.
    look: u64,
    /// What was short when somebody looked last.
    latest: Option<Shortage>,
    /// What no pod needs is gone already.
    reclaimed: bool,
    /// People know of this shortage.
    told: bool,
    /// They know that nobody can tell which pod it is.
    blind: bool,
    /// Pods that give way, once somebody looks after them.
    preempted: BTreeSet<Uid>,
}

impl Evictions {
    /// With pods that give way to critical ones already.
    pub(super) fn new(preempted: BTreeSet<Uid>) -> Self {
        Self { preempted, ..Self::default() }
    }

    /// When a round is over that nothing else ends.
    pub(super) const fn deadline(&self) -> Option<Moment> {
        match self.round {
            Round::Ending { until, .. } => Some(until),
            Round::Rest | Round::Reclaiming | Round::Weighing => None,
        }
    }
}

/// A pod that may be evicted, and where what it uses is.
struct Weighed {
    candidate: Candidate,
    containers: Vec<(ContainerId, u64)>,
    volumes: Vec<Volume>,
}

impl<W: World> Steward<W> {
    /// Somebody looked at the node.
    pub(super) fn pressure_told(&mut self, told: &NodePressure) {
        let known = &mut self.books.evictions;
        if std::mem::replace(&mut known.held, told.held) != told.held {
            self.order(Order::Pressure(told.held));
        }
        let known = &mut self.books.evictions;
        known.latest = told.shortage;
        let Some(shortage) = told.shortage else {
            (known.reclaimed, known.told, known.blind) = (false, false, false);
            return;
        };
        // An older look may not know what a round has freed.
        if !self.books.looked || told.look != known.look || known.round != Round::Rest {
            return;
        }
        if !std::mem::replace(&mut known.told, true) {
            let resource = shortage.resource().as_str();
            self.node_event("EvictionThresholdMet", format!("Attempting to reclaim {resource}"));
        }
        if !is_disk(shortage.resource()) || self.books.evictions.reclaimed {
            self.weigh(shortage);
        } else if self.knows_all() {
            self.reclaim();
        } else if self.books.silent.pods.is_empty() {
            // What a lost object asked for may be anything, for long.
            self.weigh(shortage);
        }
    }

    /// Removes images that no pod needs. Of pods that are over nothing is left but logs in memory.
    fn reclaim(&mut self) {
        self.books.evictions.round = Round::Reclaiming;
        let sweep = Sweep { what: What::All, in_use: self.images_in_use(), asked: Instant::now() };
        let (edges, reports) = (Rc::clone(&self.edges), self.books.reports.clone());
        spawn_local(async move {
            let _ = reports.send(Report::Reclaimed(edges.images.sweep(sweep).await));
        });
    }

    pub(super) fn reclaimed(&mut self, result: Result<Swept, ImageError>) {
        match result {
            Ok(swept) => {
                let (images, freed) = (swept.images.len(), swept.freed.bytes);
                tracing::info!(images, freed, "images that no pod needs removed");
            }
            Err(error) => self.node_event("ImageGCFailed", error.message()),
        }
        self.books.evictions.reclaimed = true;
        self.end_round();
    }

    fn weigh(&mut self, shortage: Shortage) {
        self.books.evictions.round = Round::Weighing;
        let machines = self.books.reconciler.machines();
        let resource = shortage.resource();
        let weighed = machines.filter_map(|(_, machine)| weighed(machine, resource));
        let weighed: Vec<_> = weighed.collect();
        let (edges, reports) = (Rc::clone(&self.edges), self.books.reports.clone());
        spawn_local(async move {
            let mut candidates = Vec::new();
            for one in weighed {
                candidates.push(measure(&edges, one, resource).await);
            }
            let _ = reports.send(Report::Weighed { resource, candidates });
        });
    }

    /// Evicts the first of the ranking. Where that is on its way out it is hurried, and no other goes for
    /// it; and nobody goes for what is short no more.
    pub(super) fn weighed(&mut self, resource: Resource, mut candidates: Vec<Candidate>) {
        let latest = self.books.evictions.latest;
        let Some(shortage) = latest.filter(|latest| latest.resource() == resource) else {
            return self.end_round();
        };
        self.books.evictions.round = Round::Rest;
        if is_disk(resource) {
            // Its end would free nothing.
            candidates.retain(|one| one.used != Some(0));
        }
        if !candidates.is_empty() && candidates.iter().all(|one| one.used.is_none()) {
            return self.tell_blind(resource);
        }
        rank(resource, &mut candidates);
        let Some(victim) = candidates.first() else { return };
        let (uid, now) = (victim.uid, self.now());
        let Some(machine) = self.books.reconciler.machine(&uid) else { return self.end_round() };
        let grace = if shortage.soft {
            let most = self.identity.max_evicted_grace_s;
            Duration::from_secs(machine.pod().grace_s.min(most).into())
        } else {
            EVICTION_GRACE
        };
        let why = message(&shortage, victim);
        let until = now.after(grace).after(CLEANUP);
        self.books.evictions.round = Round::Ending { uid, until };
        (self.books.evictions.reclaimed, self.books.evictions.told) = (false, false);
        self.step(uid, Event::Evict { why, grace }, now);
    }

    /// These give way to a critical pod, and get the time that they ask for. One that is not looked after yet
    /// does when it is.
    pub(super) fn preempt(&mut self, pods: Vec<Uid>) {
        for uid in pods {
            let Some(machine) = self.books.reconciler.machine(&uid) else {
                self.books.evictions.preempted.insert(uid);
                continue;
            };
            let grace = Duration::from_secs(machine.pod().grace_s.into());
            let (why, now) = (PREEMPTED.to_owned(), self.now());
            self.step(uid, Event::Evict { why, grace }, now);
        }
    }

    /// A pod is looked after from now on.
    pub(super) fn look_at_preempted(&mut self, uid: Uid) {
        if self.books.evictions.preempted.remove(&uid) {
            self.preempt(vec![uid]);
        }
    }

    /// Which pod it is nobody can tell: one taken at random would be an innocent one.
    fn tell_blind(&mut self, resource: Resource) {
        if !std::mem::replace(&mut self.books.evictions.blind, true) {
            let resource = resource.as_str();
            let message = format!(
                "nobody counts the {resource} of pods on this node: none is evicted for it"
            );
            self.node_event("EvictionBlind", message);
        }
    }

    /// A pod may be the victim, and gone.
    pub(super) fn look_at_victim(&mut self, of: Uid) {
        let Round::Ending { uid, .. } = self.books.evictions.round else { return };
        let gone = |machine: &Machine| !machine.is_live() && machine.sandbox() == Sandbox::Absent;
        if uid == of && self.books.reconciler.machine(&uid).is_none_or(gone) {
            self.end_round();
        }
    }

    pub(super) fn look_at_evictions(&mut self, now: Moment) {
        if self.books.evictions.deadline().is_some_and(|until| until <= now) {
            self.end_round();
        }
    }

    fn end_round(&mut self) {
        self.books.evictions.round = Round::Rest;
        self.books.evictions.look += 1;
        self.tell_presence(ToPresence::Look(self.books.evictions.look));
    }
}

const fn is_disk(resource: Resource) -> bool {
    matches!(resource, Resource::EphemeralStorage | Resource::Inodes)
}

/// A pod that something is to be had from, also one that is on its way out: one without a sandbox uses
/// nothing but images.
fn weighed(machine: &Machine, resource: Resource) -> Option<Weighed> {
    let pod = machine.pod();
    let lives = !matches!(machine.stage(), Stage::Finished | Stage::Gone);
    let uses = lives && machine.sandbox() == Sandbox::Ready;
    if !uses || pod.is_critical() {
        return None;
    }
    let asked = |requests: &Requests| match resource {
        Resource::Memory => requests.memory,
        Resource::EphemeralStorage => requests.storage,
        Resource::Inodes | Resource::Pids => 0,
    };
    let begun = machine.containers().filter(|(_, _, slot)| slot.attempts > 0 || slot.is_live());
    let containers = begun.filter_map(|(place, container, slot)| {
        let id = plan::container_id(machine, place, slot.newest())?;
        Some((id, asked(&container.requests)))
    });
    let on_disk =
        |volume: &&Volume| matches!(volume.source, VolumeSource::EmptyDir { memory: false, .. });
    let candidate = Candidate {
        uid: pod.name.uid,
        priority: pod.priority,
        used: None,
        request: asked(&pod.requests),
        containers: Vec::new(),
    };
    Some(Weighed {
        candidate,
        containers: containers.collect(),
        volumes: pod.volumes.iter().filter(on_disk).cloned().collect(),
    })
}

async fn measure<W: World>(edges: &Edges<W>, of: Weighed, resource: Resource) -> Candidate {
    let Weighed { mut candidate, containers, volumes } = of;
    let uid = candidate.uid;
    let eater = |id: &ContainerId, used, request| Eater { name: id.name.clone(), used, request };
    match resource {
        Resource::Memory => {
            candidate.used = edges.runtime.pod_usage(&uid).memory;
            candidate.containers.extend(containers.iter().filter_map(|(id, request)| {
                Some(eater(id, edges.runtime.container_usage(id).memory?, *request))
            }));
        }
        Resource::Pids => candidate.used = edges.runtime.pod_usage(&uid).pids,
        Resource::EphemeralStorage | Resource::Inodes => {
            let used = |measured: &Measured| {
                if resource == Resource::Inodes { measured.names } else { measured.bytes }
            };
            let (mut total, mut endless) = (0_u64, false);
            for (id, request) in &containers {
                let measured = edges.runtime.written(id).await;
                endless |= measured.counted == Counted::Endless;
                total = total.saturating_add(used(&measured));
                candidate.containers.push(eater(id, used(&measured), *request));
            }
            for volume in &volumes {
                let measured = edges.volumes.written(&uid, volume).await;
                endless |= measured.counted == Counted::Endless;
                total = total.saturating_add(used(&measured));
            }
            // Whoever hides files behind more of them uses nobody knows how much.
            candidate.used = (!endless).then_some(total);
        }
    }
    candidate
}
