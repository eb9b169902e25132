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
use crate::pod::spec::Requests;
use crate::reconciler::{Report, plan};
use crate::runtime::{ContainerId, Runtime};
use crate::store::Order;
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
    /// What no pod needs is gone already.
    reclaimed: bool,
    /// People know of this shortage.
    told: bool,
}

impl Evictions {
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
        let Some(shortage) = told.shortage else {
            (known.reclaimed, known.told) = (false, false);
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
        let disk = matches!(shortage.resource(), Resource::EphemeralStorage | Resource::Inodes);
        if disk && !self.books.evictions.reclaimed && self.knows_all() {
            self.reclaim();
        } else {
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
        let weighed = machines.filter_map(|(_, machine)| weighed(machine, shortage.resource()));
        let weighed: Vec<_> = weighed.collect();
        let (edges, reports) = (Rc::clone(&self.edges), self.books.reports.clone());
        spawn_local(async move {
            let mut candidates = Vec::new();
            for one in weighed {
                candidates.push(measure(&edges, one, shortage.resource()).await);
            }
            let _ = reports.send(Report::Weighed { shortage, candidates });
        });
    }

    /// Evicts the first of the ranking that still lives.
    pub(super) fn weighed(&mut self, shortage: &Shortage, mut candidates: Vec<Candidate>) {
        self.books.evictions.round = Round::Rest;
        rank(shortage.resource(), &mut candidates);
        let lives = |one: &&Candidate| {
            let machine = self.books.reconciler.machine(&one.uid);
            machine.is_some_and(|machine| machine.stage() == Stage::Active)
        };
        let Some(victim) = candidates.iter().find(lives) else { return };
        let (uid, now) = (victim.uid, self.now());
        let grace = if shortage.soft {
            let pods = self.books.reconciler.machine(&uid).map_or(0, |one| one.pod().grace_s);
            Duration::from_secs(pods.min(self.identity.max_evicted_grace_s).into())
        } else {
            EVICTION_GRACE
        };
        let why = message(shortage, victim);
        self.books.evictions.round = Round::Ending { uid, until: now.after(CLEANUP) };
        (self.books.evictions.reclaimed, self.books.evictions.told) = (false, false);
        self.step(uid, Event::Evict { why, grace }, now);
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

/// A pod that something is to be had from: one without a sandbox uses nothing but images.
fn weighed(machine: &Machine, resource: Resource) -> Option<Weighed> {
    let pod = machine.pod();
    let uses = machine.stage() == Stage::Active && machine.sandbox() == Sandbox::Ready;
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
            let inodes = resource == Resource::Inodes;
            let mut total = 0_u64;
            for (id, request) in &containers {
                let measured = edges.runtime.written(id).await;
                let used = if inodes { measured.names } else { measured.bytes };
                total = total.saturating_add(used);
                candidate.containers.push(eater(id, used, *request));
            }
            for volume in &volumes {
                let measured = edges.volumes.written(&uid, volume).await;
                let used = if inodes { measured.names } else { measured.bytes };
                total = total.saturating_add(used);
            }
            candidate.used = Some(total);
        }
    }
    candidate
}
