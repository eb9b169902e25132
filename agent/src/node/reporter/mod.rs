//! Says on the broker what this node is and how it fares.
//!
//! One task. It hears from the steward what happens on the connection and with the objects, looks
//! at the machine once a minute, or every ten seconds while little of something is left, and tells the steward what belongs on the broker: the birth with
//! each connection, the node's status when it changed, a heartbeat now and then. It sleeps in
//! between, and without a connection it only looks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mote_protocol::frame::{self, Body};
use mote_protocol::name::GroupName;
use mote_protocol::node::{
    Birth, Devices, Heartbeat, NodeAddress, NodeCondition, NodeStatus, ObjectDigest, Resources,
    Session, Taint, Will,
};
use mote_protocol::object::Pod;
use mote_protocol::text::Short;
use mote_protocol::topic::Topic;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{info, warn};

use super::board::Ailments;
use super::conditions::{Change, Conditions, condition};
use super::machine::Machine;
use super::presence::{Effect, Presence};
use super::readings::Reading;
use crate::daytime::{Daytime, Doubt, unix_s};
use crate::events::{About, Report};
use crate::eviction::{Pressures, Settings, Shortage, Watch};
use crate::link::Delivery;
use crate::pod::Moment;
use crate::ports::{Clock, WallClock};
use crate::steward::{FromPresence, NodePressure, ToPresence};

mod wording;

#[cfg(test)]
mod tests;

/// Time between two looks at the machine. That programs wait for memory the kernel tells at once;
/// disk and process ids fill slowly, and that somebody keeps the clock nobody tells.
const LOOK: Duration = Duration::from_mins(1);

/// The same while something is short, or may soon be (the kubelet's `monitoringInterval`).
const NEAR: Duration = Duration::from_secs(10);

/// A boot time that moved by more than this (somebody set the clock) is told anew: statuses count
/// from it.
const DRIFT_S: u64 = 5;

/// What does not change while the agent runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The machine.
    pub machine: Machine,
    /// This node's hostname.
    pub hostname: String,
    /// Addresses that the world knows it by.
    pub external_ips: Vec<IpAddr>,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// All taints.
    pub taints: Vec<Taint>,
    /// The groups whose objects it runs beside its own.
    pub groups: Vec<GroupName>,
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// `status.capacity`.
    pub capacity: Resources,
    /// `status.allocatable`.
    pub allocatable: Resources,
    /// Where shortages begin and end.
    pub eviction: Settings,
    /// Limits on memory can be enforced.
    pub cgroup_memory: bool,
}

/// What is looked at anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Amounts.
    pub reading: Reading,
    /// Our addresses.
    pub addresses: Vec<IpAddr>,
    /// Devices that containers can have.
    pub devices: Devices,
    /// What ails the board.
    pub ailments: Ailments,
}

/// The channels of the task.
pub struct Channels {
    /// From the steward.
    pub inbox: mpsc::UnboundedReceiver<ToPresence>,
    /// To the steward.
    pub outbox: mpsc::UnboundedSender<FromPresence>,
    /// The number of this start of the agent; raised where the broker keeps a greater one.
    pub start: watch::Sender<u32>,
    /// When the clock was right last, in Unix seconds; later times are to be kept.
    pub seen: watch::Sender<i64>,
    /// The conditions that hold, as a heartbeat tells them.
    pub conditions: watch::Sender<u32>,
}

/// See the module.
pub struct Reporter<C, W, L> {
    facts: Facts,
    clock: C,
    wall: W,
    look: L,
    channels: Channels,
    presence: Presence,
    conditions: Conditions,
    watch: Watch,
    /// The last look that the steward asked for.
    asked: u64,
    /// What the steward was told of shortages last: what holds, and whether something is short.
    pressed: (Pressures, bool),
    objects: ObjectDigest,
    unschedulable: bool,
    sight: Sight,
    /// Why the clock does not count.
    doubt: Option<Doubt>,
    /// The status that was told last.
    told: Option<NodeStatus>,
    /// Boot time and trust in the clock, as the birth told them.
    born: Option<(i64, bool)>,
    sequence: u32,
    next_look: Moment,
    next_heartbeat: Moment,
    buffer: Vec<u8>,
}

impl<C, W, L> Reporter<C, W, L>
where
    C: Clock,
    W: WallClock,
    L: FnMut() -> Sight,
{
    /// Ready to run; `look` reads the machine.
    pub fn new(facts: Facts, clock: C, wall: W, look: L, channels: Channels) -> Self {
        let now = Moment::from(clock.now());
        Self {
            presence: Presence::new(facts.machine.board),
            conditions: Conditions::new(facts.eviction.transition, now),
            watch: Watch::new(&facts.eviction.thresholds),
            asked: 0,
            pressed: (Pressures::default(), false),
            facts,
            clock,
            wall,
            look,
            channels,
            objects: ObjectDigest::default(),
            unschedulable: false,
            sight: Sight::default(),
            doubt: None,
            told: None,
            born: None,
            sequence: 0,
            next_look: now,
            next_heartbeat: Moment::NEVER,
            buffer: Vec::new(),
        }
    }

    /// Runs until the steward is gone.
    pub async fn run(mut self) {
        let missing = !self.facts.cgroup_memory;
        self.set(NodeCondition::CgroupMemoryMissing, missing, "");
        loop {
            self.tick();
            self.channels.conditions.send_replace(self.conditions.bits());
            self.tell_status();
            let wait = self.next_wake().since(self.now());
            tokio::select! {
                // A fixed order makes a simulated history repeat.
                biased;
                message = self.channels.inbox.recv() => match message {
                    Some(message) => self.hear(message),
                    None => return,
                },
                () = sleep(wait) => {}
            }
            // What came meanwhile makes one status, not several.
            while let Ok(message) = self.channels.inbox.try_recv() {
                self.hear(message);
            }
        }
    }

    fn now(&self) -> Moment {
        Moment::from(self.clock.now())
    }

    fn next_wake(&self) -> Moment {
        let deadline = self.presence.deadline().unwrap_or(Moment::NEVER);
        self.next_look.min(self.next_heartbeat).min(deadline)
    }

    fn hear(&mut self, message: ToPresence) {
        let now = self.now();
        match message {
            ToPresence::Connected { session } => {
                let effect = self.presence.connected(session, now);
                self.next_heartbeat = now.after(self.facts.heartbeat);
                self.carry_out(effect);
            }
            ToPresence::Lost { taken_over } => {
                self.presence.lost(taken_over, now);
                self.next_heartbeat = Moment::NEVER;
            }
            ToPresence::Received { topic, payload, retained } => {
                self.receive(&topic, &payload, retained);
            }
            ToPresence::Devices(devices) => self.sight.devices = *devices,
            // What depends on it is told by the look that follows.
            ToPresence::ClockSet | ToPresence::Alarm => self.next_look = now,
            ToPresence::Look(asked) => (self.asked, self.next_look) = (asked, now),
            ToPresence::Objects(objects) => self.objects = objects,
            ToPresence::Unschedulable(unschedulable) => self.unschedulable = unschedulable,
            ToPresence::Network { missing } => {
                let truth = missing.is_some();
                let (reason, message) = missing.map(|m| (m.reason, m.message)).unwrap_or_default();
                self.set_for(NodeCondition::NetworkUnavailable, truth, reason, &message);
            }
            ToPresence::Storage { failing } => {
                self.set(NodeCondition::StorageErrors, failing, "writing to flash fails");
            }
        }
        self.note_conflict();
    }

    fn receive(&mut self, topic: &Topic, payload: &[u8], kept: bool) {
        match topic {
            Topic::Birth => match frame::decode::<Birth>(payload) {
                Ok(birth) => {
                    for effect in self.presence.birth(&birth, kept) {
                        self.carry_out(effect);
                    }
                }
                Err(error) => log_unreadable("birth", &error),
            },
            Topic::Will => match frame::decode::<Will>(payload) {
                Ok(will) => {
                    if let Some(effect) = self.presence.will(&will, kept, self.now()) {
                        self.carry_out(effect);
                    }
                }
                Err(error) => log_unreadable("will", &error),
            },
            // Nobody subscribes to anything else of ours.
            _ => {}
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Birth => self.tell_birth(),
            Effect::Forgot => self.tell(FromPresence::BrokerForgot),
            Effect::Renew { above } => {
                let start = above.saturating_add(1);
                info!(start, "the broker keeps a later session of this node: taking a greater one");
                self.channels.start.send_replace(start);
            }
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        if let Some(effect) = self.presence.tick(now) {
            self.carry_out(effect);
        }
        self.note_conflict();
        if self.next_look <= now {
            self.sight = (self.look)();
            let found = self.watch.observe(&self.sight.reading.levels(), now);
            self.next_look = now.after(if found.near { NEAR } else { LOOK });
            let changes = self.conditions.observe(&found, now);
            for change in changes {
                self.announce(&change);
            }
            self.note_ailments(now);
            self.tell_pressure(found.shortage);
            self.look_at_clock();
            if self.born.is_some_and(|born| self.moved(born)) {
                self.tell_birth();
            }
        }
        if self.next_heartbeat <= now {
            self.next_heartbeat = now.after(self.facts.heartbeat);
            self.tell_heartbeat(now);
        }
    }

    fn note_ailments(&mut self, now: Moment) {
        let Ailments { under_voltage, throttled, wear } = std::mem::take(&mut self.sight.ailments);
        for (condition, why) in [
            (NodeCondition::UnderVoltage, under_voltage),
            (NodeCondition::ThermalThrottled, throttled),
            (NodeCondition::StorageWear, wear),
        ] {
            if let Some(change) = self.conditions.lasting(condition, why, now) {
                self.announce(&change);
            }
        }
    }

    /// Says what is short: each time that something is, and once when it is no more.
    fn tell_pressure(&mut self, shortage: Option<Shortage>) {
        let held = Pressures::of(|pressure| self.conditions.is_true(condition(pressure)));
        let pressed = (held, shortage.is_some());
        if std::mem::replace(&mut self.pressed, pressed) != pressed || shortage.is_some() {
            let look = self.asked;
            self.tell(FromPresence::Pressure(NodePressure { held, shortage, look }));
        }
    }

    fn note_conflict(&mut self) {
        let conflict = self.presence.conflict();
        if conflict != self.conditions.is_true(NodeCondition::IdentityConflict) {
            let message = if conflict { self.presence.describe() } else { String::new() };
            self.set(NodeCondition::IdentityConflict, conflict, &message);
        }
    }

    fn set(&mut self, condition: NodeCondition, truth: bool, message: &str) {
        self.set_for(condition, truth, "", if truth { message } else { "" });
    }

    fn set_for(&mut self, condition: NodeCondition, truth: bool, reason: &str, message: &str) {
        let now = self.now();
        if let Some(change) = self.conditions.set(condition, truth, reason, message, now) {
            self.announce(&change);
        }
    }

    fn announce(&self, change: &Change) {
        let Change { condition, truth, message } = change;
        let (event_type, reason) = wording::event(*condition, *truth);
        let condition = condition.as_str();
        info!(condition, truth, why = message.as_str(), "node condition changed");
        let message = if message.is_empty() {
            format!("node condition {condition} is now {truth}")
        } else {
            message.clone()
        };
        let report = Report { event_type, about: About::Node, reason: reason.into(), message };
        self.tell(FromPresence::Report(report));
    }

    fn look_at_clock(&mut self) {
        let daytime = Daytime::read(&self.wall, *self.channels.seen.borrow());
        self.doubt = daytime.doubt();
        let told = |doubt: Doubt| (doubt.reason(), daytime.describe(doubt));
        let (reason, message) = self.doubt.map(told).unwrap_or_default();
        self.set_for(NodeCondition::ClockNotTrusted, self.doubt.is_some(), reason, &message);
        if let Some(seen) = daytime.to_remember() {
            self.channels.seen.send_replace(seen);
        }
    }

    fn boot_epoch(&self) -> i64 {
        unix_s(self.wall.now()).saturating_sub(self.now().seconds())
    }

    fn moved(&self, (epoch, trusted): (i64, bool)) -> bool {
        let drift = self.boot_epoch().abs_diff(epoch);
        drift > DRIFT_S || trusted != self.doubt.is_none()
    }

    fn tell_birth(&mut self) {
        let Some(session) = self.presence.session() else { return };
        let (boot_epoch, clock_trusted) = (self.boot_epoch(), self.doubt.is_none());
        self.born = Some((boot_epoch, clock_trusted));
        let board = self.facts.machine.board;
        let mut birth = Birth {
            session,
            identity: board.identity,
            boot_id: board.boot_id,
            boot_epoch,
            clock_trusted,
            heartbeat_s: u32::try_from(self.facts.heartbeat.as_secs()).unwrap_or(u32::MAX),
            pod_schemas: (1, Pod::SCHEMA),
            info: self.facts.machine.info.clone(),
            labels: self.facts.labels.clone(),
            ..Birth::default()
        };
        birth.set_groups(&self.facts.groups);
        birth.set_taints(&self.facts.taints);
        self.owe(Topic::Birth, &birth, Delivery::AtLeastOnce);
    }

    fn tell_heartbeat(&mut self, now: Moment) {
        let Some(session) = self.presence.session() else { return };
        self.sequence = self.sequence.wrapping_add(1);
        let heartbeat = Heartbeat {
            session,
            sequence: self.sequence,
            at: now.seconds(),
            conditions: self.conditions.bits(),
            objects: self.objects,
        };
        self.owe(Topic::Heartbeat, &heartbeat, Delivery::AtMostOnce);
    }

    /// Tells the node's status where it is another one than before.
    fn tell_status(&mut self) {
        let Some(session) = self.presence.session() else { return };
        let status = self.status(session);
        if self.told.as_ref() != Some(&status) {
            self.owe(Topic::NodeStatus, &status, Delivery::AtLeastOnce);
            self.told = Some(status);
        }
    }

    fn status(&self, session: Session) -> NodeStatus {
        let internal = self.sight.addresses.iter().copied().map(NodeAddress::InternalIp);
        let external = self.facts.external_ips.iter().copied().map(NodeAddress::ExternalIp);
        let hostname = NodeAddress::Hostname(Short::new(&self.facts.hostname));
        NodeStatus {
            session,
            addresses: internal.chain(external).chain([hostname]).collect(),
            conditions: self.conditions.to_wire().collect(),
            capacity: self.with_devices(&self.facts.capacity),
            allocatable: self.with_devices(&self.facts.allocatable),
            objects: self.objects,
            unschedulable: self.unschedulable,
            ..NodeStatus::default()
        }
    }

    fn with_devices(&self, amounts: &Resources) -> Resources {
        Resources { devices: self.sight.devices.clone(), ..amounts.clone() }
    }

    fn owe<B: Body>(&mut self, topic: Topic, body: &B, delivery: Delivery) {
        match frame::encode_into(body, &mut self.buffer) {
            Ok(()) => {
                let payload = self.buffer.clone();
                self.tell(FromPresence::Owe { topic, payload, retain: true, delivery });
            }
            // Only labels without bound could do it, and the configuration bounds them.
            Err(error) => warn!(%topic, %error, "cannot encode what the node says of itself"),
        }
    }

    fn tell(&self, told: FromPresence) {
        // Nobody listens only while the agent ends.
        let _ = self.channels.outbox.send(told);
    }
}

/// An empty payload is how `mote delete node` clears the topic of a dead node.
fn log_unreadable(what: &str, error: &frame::FrameError) {
    if *error != frame::FrameError::Empty {
        let reason = error.reason();
        warn!(what, reason, "somebody publishes what no node would");
    }
}
