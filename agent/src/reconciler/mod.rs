//! Keeps what runs equal to what is wanted.
//!
//! Owns the machine of every pod on this node and the work that is under way for each. Facts come
//! in through [`Reconciler::step`] and [`Reconciler::report`]; after each, the plan of the pod it was
//! about is compared with what is under way, and what is missing is begun. Nothing polls: between two facts there is only [`Reconciler::deadline`].

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mote_protocol::command::Reply;
use mote_protocol::name::{RequestId, Uid};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use crate::eviction::{Candidate, Resource};
use crate::image::{ImageError, Swept};
use crate::pod::machine::{Event, LEAST_GRACE, Machine, Note, Slot, Stage};
use crate::pod::process::{SIGTERM, Tag};
use crate::pod::{Container, Moment, Pod};
use crate::runtime::{
    Observed, ObservedContainer, ObservedPod, ObservedState, Runtime, RuntimeError, RuntimeEvent,
};
use crate::world::{SharedEdges, World};

mod beside;
mod contents;
pub mod plan;
mod probes;
mod worker;

use beside::{Beside, Measuring, Taken};
use plan::{Action, Lane};
use probes::Probes;

pub use beside::Surroundings;

/// What a task under way tells.
#[derive(Debug)]
pub enum Report {
    /// Something about a pod.
    Pod {
        /// Which.
        uid: Uid,
        /// The lane that is free again, and the work that held it; none where it goes on.
        freed: Option<(Lane, u64)>,
        /// What happened.
        event: Event,
    },
    /// What exists on this node.
    Listed {
        /// What was known when it was looked at: newer knowledge is better.
        since: u64,
        /// What exists.
        result: Result<Observed, RuntimeError>,
    },
    /// Images were removed to make room.
    Swept(Result<Swept, ImageError>),
    /// What no pod needs was removed, for the node is short of something.
    Reclaimed(Result<Swept, ImageError>),
    /// What pods use of what the node is short of.
    Weighed {
        /// Of what.
        resource: Resource,
        /// Who may be evicted.
        candidates: Vec<Candidate>,
    },
    /// Images were imported, by these full references.
    ImagesCame(BTreeSet<String>),
    /// Flash has what happened until the machine goes down, or does not take it.
    LastWordsKept,
    /// The machine could not be rebooted, and why.
    NotRebooted {
        /// When that should have been over.
        until: Moment,
        /// Why.
        why: String,
    },
    /// The node was examined.
    Examined {
        /// The command's id.
        id: RequestId,
        /// What is answered.
        replies: Vec<Reply>,
    },
    /// Something that was asked about images is done.
    Answered {
        /// The command's id.
        id: RequestId,
        /// What is answered.
        replies: Vec<Reply>,
    },
    /// A pod that belonged to nobody was removed, or not.
    OrphanRemoved {
        /// Which.
        uid: Uid,
        /// Whether it is gone.
        result: Result<(), RuntimeError>,
    },
}

struct Work {
    number: u64,
    action: Action,
    task: JoinHandle<()>,
}

struct Entry {
    machine: Machine,
    work: BTreeMap<Lane, Work>,
    probes: Probes,
    /// When something was begun or learned last, counted by [`Reconciler::numbers`].
    touched: u64,
}

impl Entry {
    /// Nothing that says what exists in the kernel is under way, or was learned after `since`.
    fn is_idle(&self, since: u64) -> bool {
        self.touched <= since && self.work.keys().all(|lane| lane.can_be_cut())
    }
}

/// What the reconciler tells of a pod after a fact was taken in.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What people should hear.
    pub notes: Vec<Note>,
    /// Nothing is left of the pod: it was dropped here.
    pub gone: bool,
    /// A container that had a device has ended.
    pub device_freed: bool,
}

/// The pods of this node and the work that is under way for them.
pub struct Reconciler<W: World> {
    edges: SharedEdges<W>,
    surroundings: Rc<Surroundings>,
    entries: BTreeMap<Uid, Entry>,
    /// Pods that belong to nobody and are being removed.
    orphans: BTreeSet<Uid>,
    reports: mpsc::UnboundedSender<Report>,
    numbers: u64,
    /// When this agent started: attempts from before it are adopted ones.
    started: Moment,
}

/// How many containers of a pod have a device.
fn holders(machine: &Machine) -> usize {
    let holds =
        |container: &Container, slot: &Slot| !container.devices.is_empty() && slot.is_live();
    machine.containers().filter(|(_, container, slot)| holds(container, slot)).count()
}

impl<W: World> Reconciler<W> {
    /// No pods yet. Reports of tasks go to the channel, and come back by [`Self::report`].
    pub fn new(
        edges: SharedEdges<W>,
        surroundings: Surroundings,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        let (entries, orphans) = (BTreeMap::new(), BTreeSet::new());
        let (started, surroundings) = (edges.now(), Rc::new(surroundings));
        Self { edges, surroundings, entries, orphans, reports, numbers: 0, started }
    }

    /// Takes on a pod.
    pub fn take(&mut self, machine: Machine, now: Moment) -> Outcome {
        let uid = machine.pod().name.uid;
        self.numbers += 1;
        let entry = Entry {
            machine,
            work: BTreeMap::new(),
            probes: Probes::default(),
            touched: self.numbers,
        };
        self.entries.insert(uid, entry);
        self.settle(uid, now, Outcome::default())
    }

    /// A pod's machine.
    pub fn machine(&self, uid: &Uid) -> Option<&Machine> {
        self.entries.get(uid).map(|entry| &entry.machine)
    }

    /// All pods.
    pub fn machines(&self) -> impl Iterator<Item = (&Uid, &Machine)> {
        self.entries.iter().map(|(uid, entry)| (uid, &entry.machine))
    }

    /// Tells a pod's machine what happened, and begins what follows from it.
    pub fn step(&mut self, uid: Uid, event: Event, now: Moment) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some(entry) = self.entries.get_mut(&uid) {
            self.numbers += 1;
            entry.touched = self.numbers;
            // One that was never started never had it.
            let had = !matches!(event, Event::StartFailed { .. });
            let before = holders(&entry.machine);
            entry.machine.step(event, now, &mut outcome.notes);
            outcome.device_freed = had && holders(&entry.machine) < before;
        }
        self.settle(uid, now, outcome)
    }

    /// Takes in the report of a task about a pod.
    pub fn report(
        &mut self,
        uid: Uid,
        freed: Option<(Lane, u64)>,
        event: Event,
        now: Moment,
    ) -> Outcome {
        if let (Some(entry), Some((lane, number))) = (self.entries.get_mut(&uid), freed)
            && entry.work.get(&lane).is_some_and(|work| work.number == number)
        {
            entry.work.remove(&lane);
        }
        self.step(uid, event, now)
    }

    /// What the runtime told by itself, as an event of the pod that it is about.
    pub fn translate(&self, event: RuntimeEvent) -> Option<(Uid, Event)> {
        match event {
            RuntimeEvent::Missed => None,
            RuntimeEvent::SandboxDied { uid } => Some((uid, Event::SandboxDied)),
            RuntimeEvent::Exited { id, exit } => {
                let place = self.entries.get(&id.pod)?.machine.place(&id.name)?;
                Some((id.pod, Event::Exited { place, attempt: id.attempt, exit }))
            }
        }
    }

    /// What each machine missed of what was observed. A pod for which something is under way, or
    /// of which something was learned meanwhile, is left alone: that is newer. So is one that gave no
    /// answer.
    pub fn missed(&self, since: u64, observed: &Observed) -> Vec<(Uid, Event)> {
        let by_uid: BTreeMap<_, _> = observed.pods.iter().map(|pod| (pod.uid, pod)).collect();
        let heard = self.entries.iter().filter(|(uid, _)| !observed.silent.contains_key(uid));
        let idle = heard.filter(|(_, entry)| entry.is_idle(since));
        idle.flat_map(|(uid, entry)| {
            let events = plan::heal(&entry.machine, by_uid.get(uid).copied());
            events.into_iter().map(|event| (*uid, event))
        })
        .collect()
    }

    /// Whether [`Self::missed`] leaves some pod alone.
    pub fn leaves_some(&self, since: u64) -> bool {
        self.entries.values().any(|entry| !entry.is_idle(since))
    }

    /// Begins to look what exists on this node.
    pub fn list(&self) {
        let (edges, reports) = (Rc::clone(&self.edges), self.reports.clone());
        let since = self.numbers;
        spawn_local(async move {
            let result = edges.runtime.list().await;
            let _ = reports.send(Report::Listed { since, result });
        });
    }

    /// Begins to remove a pod that belongs to nobody. How long it may take to end was lost with its
    /// object: it gets the least that every pod gets.
    pub fn remove_orphan(&mut self, pod: &ObservedPod) {
        let uid = pod.uid;
        if self.orphans.insert(uid) {
            let (edges, reports) = (Rc::clone(&self.edges), self.reports.clone());
            let runs =
                |one: &&ObservedContainer| matches!(one.state, ObservedState::Running { .. });
            let running: Vec<_> =
                pod.containers.iter().filter(runs).map(|one| one.id.clone()).collect();
            spawn_local(async move {
                for id in &running {
                    // One that cannot be asked is killed all the same.
                    let _ = edges.runtime.signal(id, SIGTERM).await;
                }
                if !running.is_empty() {
                    sleep(LEAST_GRACE).await;
                }
                let result = worker::remove(&edges, &uid).await;
                let _ = reports.send(Report::OrphanRemoved { uid, result });
            });
        }
    }

    /// Notes the end of that; a failure is seen again with the next list.
    pub fn orphan_removed(&mut self, uid: &Uid) {
        self.orphans.remove(uid);
    }

    /// The next instant at which some pod must be looked at again.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        self.entries.values().filter_map(|entry| entry.machine.deadline(now)).min()
    }

    /// Pods whose own deadline has come since `before`.
    pub fn due(&self, before: Moment, now: Moment) -> Vec<Uid> {
        let due = |entry: &Entry| entry.machine.deadline(before).is_some_and(|at| at <= now);
        self.entries.iter().filter(|(_, entry)| due(entry)).map(|(uid, _)| *uid).collect()
    }

    /// Begins what is planned for a pod and not under way, and cuts short what nobody wants.
    fn settle(&mut self, uid: Uid, now: Moment, mut outcome: Outcome) -> Outcome {
        let Some(entry) = self.entries.get_mut(&uid) else { return outcome };
        let actions = plan::pod(&entry.machine, now);
        entry.work.retain(|lane, work| {
            let wanted = !lane.can_be_cut() || actions.contains(&work.action);
            if !wanted {
                work.task.abort();
            }
            wanted
        });
        for action in actions {
            self.begin(uid, action, now, &mut outcome);
        }
        if let Some(entry) = self.entries.get_mut(&uid) {
            entry.probes.settle(&self.edges, &self.reports, &entry.machine, self.started);
        }
        let idle = self.entries.get(&uid).is_some_and(|entry| entry.work.is_empty());
        let gone = self.machine(&uid).is_some_and(|machine| machine.stage() == Stage::Gone);
        if idle && gone {
            self.entries.remove(&uid);
            outcome.gone = true;
        }
        outcome
    }

    /// Who has devices, where a container asks for some: containers that may live, itself not among
    /// them.
    fn taken(&self, pod: &Pod, place: usize) -> Taken {
        let mut taken = Taken::new();
        if pod.containers.get(place).is_none_or(|container| container.devices.is_empty()) {
            return taken;
        }
        for machine in self.entries.values().map(|entry| &entry.machine) {
            let same = machine.pod().name.uid == pod.name.uid;
            let others = machine.containers().filter(|(at, ..)| !same || *at != place);
            for (_, container, _) in others.filter(|(_, _, slot)| slot.is_live()) {
                for resource in &container.devices {
                    let name = machine.pod().name.describe();
                    taken.entry(resource.clone()).or_default().push(name);
                }
            }
        }
        taken
    }

    fn begin(&mut self, uid: Uid, action: Action, now: Moment, outcome: &mut Outcome) {
        let Some(entry) = self.entries.get_mut(&uid) else { return };
        let lane = action.lane();
        // What removes everything waits for everything.
        let alone = matches!(action, Action::StopSandbox { .. } | Action::RemoveSandbox);
        if entry.work.contains_key(&lane) || alone && !entry.work.is_empty() {
            return;
        }
        if let Action::Start { place, image, .. } = action {
            let pod = entry.machine.pod();
            let Some(container) = pod.containers.get(place) else { return };
            let made_of = Tag::of(pod, container, image);
            entry.machine.step(Event::Starting { place, made_of }, now, &mut outcome.notes);
        } else if action == Action::CreateSandbox {
            entry.machine.step(Event::SandboxBegun, now, &mut outcome.notes);
        }
        self.numbers += 1;
        let number = self.numbers;
        entry.touched = number;
        let (edges, reports) = (Rc::clone(&self.edges), self.reports.clone());
        let (pod, node) = (Rc::clone(entry.machine.pod()), Rc::clone(&self.surroundings));
        let images = entry.machine.volume_image_ids();
        let addresses = entry.machine.addresses().to_vec();
        let taken = match &action {
            Action::Start { place, .. } => self.taken(&pod, *place),
            _ => Taken::new(),
        };
        let Some(entry) = self.entries.get_mut(&uid) else { return };
        let to_measure = match &action {
            Action::MeasureStorage => Measuring::of(&entry.machine, now),
            _ => Measuring::default(),
        };
        let beside = Beside { taken, to_measure, images, addresses };
        let work = action.clone();
        let task = spawn_local(async move {
            let tell = |event| drop(reports.send(Report::Pod { uid, freed: None, event }));
            let event = worker::carry_out(&edges, &pod, &node, work, &beside, tell).await;
            let _ = reports.send(Report::Pod { uid, freed: Some((lane, number)), event });
        });
        entry.work.insert(lane, Work { number, action, task });
    }
}
