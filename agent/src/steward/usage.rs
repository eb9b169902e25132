//! Looks at what the node and its pods use: for a report that is due, and for who asks.
//!
//! Rates take two looks. Reports compare with the look of the report before, however long ago that
//! was; who asks wants to know of now, and waits for a second. Without a connection nobody looks, and
//! nothing is kept: what was used an hour ago is of use to nobody.

use std::time::Duration;

use mote_protocol::command::Answer;
use mote_protocol::limits::MAX_METRICS_ITEMS;
use mote_protocol::name::RequestId;
use mote_protocol::node::NodeCondition;
use mote_protocol::topic::Topic;
use mote_protocol::usage::Metrics;
use tokio::sync::oneshot;

use super::commands::{parts, refused};
use super::{PodView, Steward, World};
use crate::link::Delivery;
use crate::link::outbox::{Class, Message};
use crate::metrics::{PodState, Scrape};
use crate::pod::Moment;
use crate::pod::machine::{Machine, Sandbox};
use crate::reconciler::plan;
use crate::runtime::Runtime as _;
use crate::usage::{ContainerSample, PodSample, Report, Reports, Sample, Schedule};

/// The time between the two looks for who asks.
const WINDOW: Duration = Duration::from_secs(1);

/// Who may wait for the same second look.
const ASKING: usize = 16;

/// Bytes of a packet beside topic and frame, at `QoS` 0: its head, the topic's length, no properties.
const PACKET: usize = 6;

/// Where what is used is told.
#[derive(Debug)]
pub(super) enum Asker {
    /// By a command.
    Command(RequestId),
    /// At the machine.
    Local(oneshot::Sender<Report>),
}

/// A first look, and who waits for the second.
#[derive(Debug)]
struct Asked {
    before: Sample,
    due: Moment,
    askers: Vec<Asker>,
}

/// What the steward knows of looks at what is used.
#[derive(Debug)]
pub(super) struct Gauge {
    schedule: Schedule,
    last: Option<Sample>,
    asked: Option<Asked>,
}

impl Gauge {
    pub(super) fn new(reports: Reports, now: Moment) -> Self {
        Self { schedule: Schedule::new(reports, now), last: None, asked: None }
    }
}

impl<W: World> Steward<W> {
    /// When to look again.
    pub(super) fn usage_deadline(&self) -> Option<Moment> {
        let asked = self.books.usage.asked.as_ref().map(|asked| asked.due);
        asked.into_iter().chain(self.report_due()).min()
    }

    /// When the next report is due; never while nobody would hear it.
    fn report_due(&self) -> Option<Moment> {
        let told = self.books.session.is_some() && self.books.looked;
        self.books.usage.schedule.due().filter(|_| told)
    }

    pub(super) fn look_at_usage(&mut self, now: Moment) {
        if self.usage_deadline().is_none_or(|due| due > now) {
            return;
        }
        if let Some(asked) = self.books.usage.asked.take_if(|asked| asked.due <= now) {
            let report = Report::between(&asked.before, &self.sample(true, now));
            for asker in asked.askers {
                self.tell_usage(asker, &report);
            }
        }
        if self.report_due().is_some_and(|due| due <= now) {
            self.report_usage(now);
        }
    }

    fn report_usage(&mut self, now: Moment) {
        let sample = self.sample(false, now);
        let gauge = &mut self.books.usage;
        let before = gauge.last.take().filter(|last| !gauge.schedule.is_stale(last.at, now));
        let report = before.map(|before| Report::between(&before, &sample));
        self.books.usage.last = Some(sample);
        let Some(Ok(payload)) = report.map(|report| report.frame()) else {
            return self.books.usage.schedule.looked(now);
        };
        let topic = self.topic(Topic::Usage);
        let bytes = PACKET + topic.len() + payload.len();
        self.books.usage.schedule.sent(bytes, now);
        let message = Message { payload, retain: false, delivery: Delivery::AtMostOnce };
        self.books.outbox.owe(Class::Usage, topic, message);
    }

    /// Answers in a second; why not, where too many wait.
    pub(super) fn ask_usage(&mut self, asker: Asker) {
        if let Some(asked) = &mut self.books.usage.asked {
            if asked.askers.len() < ASKING {
                asked.askers.push(asker);
            } else if let Asker::Command(id) = asker {
                self.reply(&id, refused("Busy", "others ask what is used already"));
            }
            return;
        }
        let before = self.sample(true, self.now());
        let due = before.at.after(WINDOW);
        self.books.usage.asked = Some(Asked { before, due, askers: vec![asker] });
    }

    fn tell_usage(&mut self, asker: Asker, report: &Report) {
        match asker {
            Asker::Command(id) => {
                let (_, Metrics { pods, .. }) = report.whole();
                let part = |pods| Answer::Usage(report.part(pods));
                self.reply(&id, parts(pods.clone(), MAX_METRICS_ITEMS, part));
            }
            Asker::Local(answer) => {
                // Who asked may be gone.
                let _ = answer.send(report.clone());
            }
        }
    }

    /// What the counters say now.
    fn sample(&self, containers: bool, now: Moment) -> Sample {
        let traffic = self.edges.runtime.traffic();
        let machines = self.books.reconciler.machines();
        let ready = machines.filter(|(_, machine)| machine.sandbox() == Sandbox::Ready);
        let pods = ready.map(|(uid, machine)| {
            let name = &machine.pod().name;
            let sample = PodSample {
                namespace: name.namespace.clone(),
                name: name.name.clone(),
                used: self.edges.runtime.pod_usage(uid),
                storage: machine.kept_on_disk(),
                network: traffic.get(uid).copied(),
                containers: if containers { self.containers(machine) } else { Vec::new() },
            };
            (*uid, sample)
        });
        let pods = pods.collect();
        let node = (self.identity.used)(&self.identity.state_dir);
        Sample { at: now, node, pods }
    }

    /// All that a scrape tells.
    pub(super) fn scrape(&self) -> Scrape {
        let known = self.views().into_iter().filter(|view| view.status.uid.is_some());
        let pods = known.map(|PodView { key, status }| {
            let restarts = status.containers.iter();
            let restarts = restarts.map(|one| (one.name.to_string(), one.restarts)).collect();
            ((key.namespace, key.name), PodState { phase: status.phase, restarts })
        });
        let bits = *self.channels.conditions.borrow();
        let conditions = NodeCondition::ALL.into_iter().enumerate();
        Scrape {
            node: self.identity.node.clone(),
            sample: self.sample(true, self.now()),
            memory_bytes: self.identity.memory_bytes,
            state_dir: self.identity.state_dir.display().to_string(),
            conditions: conditions.map(|(at, one)| (one, bits & (1 << at) != 0)).collect(),
            pods: pods.collect(),
            connected: self.books.session.is_some(),
            published: self.books.published,
        }
    }

    fn containers(&self, machine: &Machine) -> Vec<ContainerSample> {
        let running = machine.containers().filter(|(_, _, slot)| slot.is_running());
        let samples = running.filter_map(|(place, _, slot)| {
            let id = plan::container_id(machine, place, slot.newest())?;
            let used = self.edges.runtime.container_usage(&id);
            Some(ContainerSample { id, used })
        });
        samples.collect()
    }
}
