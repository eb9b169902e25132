//! The life of one pod, as this node sees it.
//!
//! ```text
//!   Active -- all ended, deadline passed, evicted -----> Stopping --> Finished
//!     |                                                    |            |
//!     +--------------- deleted or replaced ----------------+------------+--> Removing --> Gone
//!
//!   Absent --> Ready --> Lost --> Absent        the sandbox; Lost ends by removing what is left,
//!                |                  ^           and so does Ready once the pod is Finished
//!                +------------------+
//!
//!   Idle --> Starting --> Running --> Ended     each container; Ended leads back to Starting
//!                            |                  where the restart policy says so
//!                            v
//!        PreStop --> Turn --> Ask --> Asked     how a running one is ended ([`StopStep`])
//! ```
//! Only [`Machine::step`] moves a pod along an arrow, so this folder is the whole truth about
//! what a pod does next. It decides and does nothing: `reconciler::plan` reads from it what must
//! be done now, [`Machine::deadline`] says when to look again. A stage never goes back.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use mote_protocol::pod::RestartPolicy;
use mote_protocol::status::{ContainerRole, Phase};

use super::Moment;
use super::phase;
use super::spec::{Container, Pod};

mod adopt;
mod devices;
mod ending;
mod event;
mod facts;
mod health;
mod held;
mod images;
mod progress;
mod record;
mod sandbox;
mod slot;
mod stale;
mod stop;
mod storage;
#[cfg(test)]
mod tests;
mod transitions;
mod volumes;

pub use adopt::Remains;
pub use devices::{Given, Health};
pub use event::{Event, Hook, Note, StartFailure};
pub use held::UNSCHEDULABLE_MESSAGE;
pub use progress::Progress;
pub use record::{Record, SlotRecord};
pub use sandbox::NETWORK_NOT_READY;
pub use slot::{EndReason, Ended, Hold, PostStart, Renewal, Run, Running, Slot};
pub use stop::{Stop, StopStep};
pub use storage::GRACE as EVICTION_GRACE;
pub use transitions::Transitions;
pub use volumes::{MountFailure, VolumeImage};

/// Pause before a sandbox that could not be made, or removed, is tried again.
pub const SANDBOX_RETRY: Duration = Duration::from_secs(10);

/// Pause before a kill that ended nothing is repeated, and before a failed write to flash is.
pub const KILL_RETRY: Duration = Duration::from_secs(5);

/// Least time between asking a container to end and killing it, whatever grace was given.
pub const LEAST_GRACE: Duration = Duration::from_secs(2);

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It runs, or is on the way.
    Active,
    /// It is over: what still runs of it is being ended, at this instant by force.
    Stopping {
        /// When grace is over.
        deadline: Moment,
    },
    /// Nothing of it runs, and nothing ever will again.
    Finished,
    /// It should go: what runs of it is being ended, at this instant by force.
    Removing {
        /// Seconds it was given.
        grace_s: u32,
        /// When grace is over.
        deadline: Moment,
    },
    /// Nothing is left of it but its name.
    Gone,
}

/// The pod's namespaces and their holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// There is none.
    Absent,
    /// It stands.
    Ready,
    /// Its holder died; what is left must be removed.
    Lost,
}

/// How a pod ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Succeeded or Failed.
    pub phase: Phase,
    /// Why and why for a person, where containers do not tell.
    pub cause: Option<(Cow<'static, str>, Cow<'static, str>)>,
}

/// What is known to be on flash of what should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    changed: u32,
    saved: u32,
    /// The last write failed; when to try again.
    retry: Option<Moment>,
}

/// One pod on this node.
#[derive(Clone, Debug)]
pub struct Machine {
    pod: Rc<Pod>,
    accepted: Moment,
    stage: Stage,
    /// The node lets it run no more: what runs has ended by then.
    held: Option<Moment>,
    sandbox: Sandbox,
    sandbox_retry: Option<Moment>,
    /// What the sandbox has for its own.
    addresses: Box<[IpAddr]>,
    /// Why there is no sandbox, where that is for want of a network.
    no_network: Option<Box<str>>,
    /// Containers may have been started. On flash before that is so, where it matters.
    begun: bool,
    begun_saved: bool,
    /// Its first sandbox is being made, and flash is told meanwhile that the pod has begun: then
    /// nobody waits for flash afterwards. Taken back where the sandbox cannot be made.
    begins: bool,
    /// Init containers are done in this sandbox.
    initialized: bool,
    slots: Vec<Slot>,
    /// It ran into its deadline.
    exceeded: bool,
    storage: storage::Storage,
    verdict: Option<Verdict>,
    /// The furthest phase that was reached, and the furthest that may be told.
    peak: Phase,
    told: Phase,
    /// What an earlier agent told is not known: it may have told more than it could write down.
    unsure: bool,
    marks: Marks,
    transitions: Transitions,
    contents: volumes::Contents,
    /// What is known of the images of `volumes`, in their order.
    volume_images: Vec<VolumeImage>,
}

impl Machine {
    /// A pod that was just accepted.
    pub fn new(pod: Rc<Pod>, accepted: Moment) -> Self {
        let slots = pod.containers.iter().map(|container| Slot::new(container.role)).collect();
        let mut machine = Self {
            accepted,
            stage: Stage::Active,
            held: None,
            sandbox: Sandbox::Absent,
            sandbox_retry: None,
            addresses: Box::default(),
            no_network: None,
            begun: false,
            begun_saved: false,
            begins: false,
            initialized: false,
            slots,
            exceeded: false,
            storage: storage::Storage::default(),
            verdict: None,
            peak: Phase::Pending,
            told: Phase::Pending,
            unsure: false,
            marks: Marks::default(),
            transitions: Transitions::new(accepted),
            contents: volumes::Contents::default(),
            volume_images: volumes::images(&pod),
            pod,
        };
        machine.settle(accepted, &mut Vec::new());
        machine
    }

    /// Takes in what happened. What people should hear of it is added to `notes`.
    pub fn step(&mut self, event: Event, now: Moment, notes: &mut Vec<Note>) {
        self.take(event, now, notes);
        self.settle(now, notes);
    }

    /// Draws the conclusions from a changed state.
    fn settle(&mut self, now: Moment, notes: &mut Vec<Note>) {
        self.advance_init();
        self.conclude(now, notes);
        self.end_running(now, notes);
        self.advance_stops(now);
        let phase = self.phase_reached();
        if phase > self.peak {
            self.peak = phase;
            self.touch();
        }
        self.update_transitions(now);
    }

    /// What is asked of it.
    pub fn pod(&self) -> &Rc<Pod> {
        &self.pod
    }

    /// Where it is in its life.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// Its sandbox.
    pub const fn sandbox(&self) -> Sandbox {
        self.sandbox
    }

    /// Its containers, in the order of [`Pod::containers`].
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Containers with their specification.
    pub fn containers(&self) -> impl Iterator<Item = (usize, &Container, &Slot)> {
        let pairs = self.pod.containers.iter().zip(&self.slots);
        pairs.enumerate().map(|(place, (container, slot))| (place, container, slot))
    }

    /// How it ended, once it did.
    pub const fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// The phase that may be told: it never goes back, and a terminal one is on flash.
    pub const fn phase(&self) -> Phase {
        self.told
    }

    /// Whether there is anything to tell yet.
    pub const fn may_tell(&self) -> bool {
        !self.unsure
    }

    /// When it was accepted: its `startTime`.
    pub const fn accepted(&self) -> Moment {
        self.accepted
    }

    /// Its init containers are done.
    pub const fn initialized(&self) -> bool {
        self.initialized
    }

    /// Since when its conditions are what they are.
    pub const fn transitions(&self) -> &Transitions {
        &self.transitions
    }

    /// Whether any process of it may exist.
    pub fn is_live(&self) -> bool {
        self.slots.iter().any(Slot::is_live)
    }

    /// Whether the sandbox may be tried (again) now.
    pub fn sandbox_due(&self, now: Moment) -> bool {
        self.sandbox_retry.is_none_or(|retry| retry <= now)
    }

    /// Whether containers may be started, as far as flash is concerned: a pod that runs once must
    /// be known to have begun, or a power cut would let it run twice.
    pub fn may_begin(&self) -> bool {
        self.begun_saved || self.pod.restart_policy != RestartPolicy::Never
    }

    /// The next instant at which the answer to "what now" may change by itself, after `now`.
    pub fn deadline(&self, now: Moment) -> Option<Moment> {
        let stop = |slot: &Slot| slot.running().and_then(|running| running.stop);
        let stops = self.slots.iter().filter_map(stop).map(|stop| stop.due());
        let holds = self.slots.iter().filter_map(|slot| slot.hold.as_ref().map(|hold| hold.until));
        let active = match self.stage {
            Stage::Active if !self.is_to_begin() => {
                self.pod.active_deadline.map(|limit| self.accepted.after(limit))
            }
            _ => None,
        };
        let waiting = self.volume_images.iter().filter_map(|image| image.until);
        let (contents, storage) = (self.contents_retry(), self.storage_deadline());
        let single = [self.sandbox_retry, self.marks.retry, active, contents, storage];
        stops
            .chain(holds)
            .chain(waiting)
            .chain(single.into_iter().flatten())
            .filter(|at| *at > now)
            .min()
    }

    /// Containers to start next, in order: those whose turn it is, held back or not.
    pub fn next_starts(&self) -> Vec<usize> {
        if self.stage != Stage::Active || self.is_held() {
            return Vec::new();
        }
        let policy = self.pod.restart_policy;
        let mut starts = Vec::new();
        for (place, slot) in self.slots.iter().enumerate() {
            let done = self.initialized && slot.role == ContainerRole::Init;
            if !done && slot.wants_start(policy) {
                starts.push(place);
            }
            // Whatever comes after it in the spec waits until its postStart hook returned.
            let hooked = slot.is_running() && !slot.is_up();
            if hooked || !self.initialized && !init_done(slot) {
                break;
            }
        }
        starts
    }

    /// Running containers that are made from another image than the spec names now.
    pub fn outdated(&self) -> impl Iterator<Item = usize> {
        let active = self.stage == Stage::Active && !self.is_held();
        let changed = move |(place, container, slot): (usize, &Container, &Slot)| {
            let running = slot.running().filter(|running| running.stop.is_none())?;
            let tag = running.made_of.as_ref()?;
            let changed = tag.reference != container.image && slot.role != ContainerRole::Init;
            (active && changed).then_some(place)
        };
        self.containers().filter_map(changed)
    }

    /// A container by name.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.get(self.place(name)?)
    }

    /// The place of a container by name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.pod.containers.iter().position(|container| container.name == name)
    }

    /// Notes that the record on flash is out of date.
    const fn touch(&mut self) {
        self.marks.changed = self.marks.changed.wrapping_add(1);
    }

    /// Once every init container is done, app containers may start. A sidecar holds up those after
    /// it until it is up for the first time in this sandbox; when it crashes later, only itself.
    fn advance_init(&mut self) {
        let init = |slot: &&Slot| slot.role != ContainerRole::App;
        let mut later = self.initialized;
        for slot in self.slots.iter_mut().rev().filter(|slot| slot.role != ContainerRole::App) {
            slot.passed |= slot.role == ContainerRole::Sidecar && (later || slot.is_started());
            later |= slot.run != Run::Idle;
        }
        if !self.initialized && self.slots.iter().filter(init).all(init_done) {
            self.initialized = true;
        }
    }

    fn phase_reached(&self) -> Phase {
        if let Some(verdict) = &self.verdict {
            return verdict.phase;
        }
        let phase = phase::of(self.pod.restart_policy, &self.slots);
        // A terminal phase is a verdict: it is given when nothing runs any more.
        if phase.is_terminal() { self.peak } else { phase }
    }
}

/// Whether the next init container may start after this one.
fn init_done(slot: &Slot) -> bool {
    match slot.role {
        ContainerRole::Init => slot.ended().is_some_and(Ended::succeeded),
        ContainerRole::Sidecar => slot.passed,
        ContainerRole::App => false,
    }
}
