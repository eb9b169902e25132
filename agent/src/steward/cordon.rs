//! Keeps pods off the node where operators say so, and ends those that run.
//!
//! ```text
//!   command --> written to flash --> pods are held, or let go --> each that has ended is told of
//! ```
//! What flash does not take has not happened: it is answered so, and nothing is held or let go.

use std::collections::BTreeMap;

use mote_protocol::command::{Answer, Reply};
use mote_protocol::cordon::{CordonRequest, DrainRequest, DrainStep, PodRef};
use mote_protocol::event::EventType;
use mote_protocol::name::{ObjectKey, RequestId, Uid};
use mote_protocol::text::printable;

use super::commands::{refused, reply};
use super::{Gone, Steward, ToPresence, World};
use crate::cordon::{Cordon, Taking};
use crate::events::Report;
use crate::pod::Pod;
use crate::pod::machine::{Event, Machine, Stage, UNSCHEDULABLE_MESSAGE};
use crate::store::{Life, Order};

/// Operators that are told at the same time how far the node is with its pods.
const MAX_DRAINS: usize = 4;

/// What the steward knows of it.
#[derive(Debug, Default)]
pub(super) struct Cordons {
    /// What flash has.
    kept: Cordon,
    /// What is being written, for whom, and what follows.
    asked: Option<(RequestId, Next)>,
    /// Who is told of pods that end.
    drains: Vec<Drain>,
}

impl Cordons {
    /// That of a node that comes back.
    pub(super) fn new(kept: Cordon) -> Self {
        Self { kept, ..Self::default() }
    }

    /// The connection is gone: who asked hears no more.
    pub(super) fn lost(&mut self) {
        self.drains.clear();
    }
}

/// What follows when flash has it.
#[derive(Debug)]
enum Next {
    /// This is answered.
    Answer(Answer),
    /// Pods end.
    Drain { already: bool, stay: Vec<PodRef>, force: bool, grace_s: Option<u32> },
}

/// Somebody who waits for pods to end.
#[derive(Debug)]
struct Drain {
    id: RequestId,
    /// Parts of the answer so far.
    parts: u32,
    ends: BTreeMap<Uid, PodRef>,
}

/// The pods of a node.
#[derive(Debug, Default)]
struct Pods {
    /// Those that go on on a node that is drained.
    daemons: Vec<PodRef>,
    /// Those of the others that would not run again.
    once: Vec<PodRef>,
    /// All that end.
    others: BTreeMap<Uid, PodRef>,
}

impl<W: World> Steward<W> {
    /// Whether the node lets nothing of a life run.
    pub(super) fn holds(&self, life: &Life) -> bool {
        let tolerates = life.pod.stays();
        let goes_down = self.books.reboot.is_some_and(|reboot| reboot.ends(&life.pod));
        let held = goes_down || self.books.cordons.kept.holds(life.came_under, tolerates);
        life.grace_s.is_none() && held
    }

    /// Keeps new pods off the node, or lets all go on.
    pub(super) fn cordon(&mut self, id: &RequestId, asked: &CordonRequest) -> Vec<Reply> {
        let kept = self.books.cordons.kept;
        let cordon = if asked.cordoned { kept.cordoned() } else { kept.uncordoned() };
        let answer = Answer::Cordoned { already: cordon == kept };
        self.write_cordon(id, cordon, Next::Answer(answer), &asked.by)
    }

    /// Ends the node's pods, or tells why not.
    pub(super) fn drain(&mut self, id: &RequestId, asked: &DrainRequest) -> Vec<Reply> {
        if !self.books.looked || !self.books.silent.pods.is_empty() {
            return refused("NotReady", "the node does not know yet what runs: try again");
        }
        if self.books.cordons.drains.len() == MAX_DRAINS {
            return refused("TooManyRequests", "others wait for its pods to end: try again later");
        }
        let kept = self.books.cordons.kept;
        let already = kept.is_cordoned();
        let Pods { daemons, once, others } = self.to_drain();
        let daemons_block = !daemons.is_empty() && !asked.ignore_daemon_sets;
        if daemons_block || !once.is_empty() && !asked.force {
            let daemons = if daemons_block { daemons } else { Vec::new() };
            let once = if asked.force { Vec::new() } else { once };
            let answer = Answer::Drain(DrainStep::Blocked { already, daemons, once });
            if asked.dry_run {
                return vec![reply(0, true, answer)];
            }
            return self.write_cordon(id, kept.cordoned(), Next::Answer(answer), &asked.by);
        }
        if asked.dry_run {
            let end = sorted(others.into_values());
            let begun = Answer::Drain(DrainStep::Begun { already, stay: daemons, end });
            return vec![reply(0, false, begun), reply(1, true, Answer::Drain(DrainStep::Drained))];
        }
        let (force, grace_s) = (asked.force, asked.grace_s);
        let next = Next::Drain { already, stay: daemons, force, grace_s };
        self.write_cordon(id, kept.drained(), next, &asked.by)
    }

    fn write_cordon(&mut self, id: &RequestId, cordon: Cordon, next: Next, by: &str) -> Vec<Reply> {
        if self.books.cordons.asked.is_some() {
            return refused("Busy", "another such command is being written down: try again");
        }
        let kept = self.books.cordons.kept;
        if cordon.is_cordoned() != kept.is_cordoned() {
            let word = if cordon.is_cordoned() { "NodeNotSchedulable" } else { "NodeSchedulable" };
            let (node, by) = (&self.identity.node, printable(by));
            let message = format!("Node {node} status is now: {word}, says {by}");
            self.record(Report::node_normal(word, message));
        }
        self.books.cordons.asked = Some((id.clone(), next));
        if cordon == kept {
            self.cordon_kept(cordon);
        } else {
            self.order(Order::Cordon(cordon));
        }
        Vec::new()
    }

    /// Whether the node takes pods was written, or not.
    pub(super) fn cordon_told(&mut self, cordon: Cordon, result: std::io::Result<()>) {
        self.storage(result.is_err());
        match result {
            Ok(()) => self.cordon_kept(cordon),
            Err(error) => {
                let message = format!("write whether the node takes pods: {error}");
                self.node_event("StorageErrors", message.clone());
                if let Some((id, _)) = self.books.cordons.asked.take() {
                    self.reply(&id, refused("Failed", &message));
                }
            }
        }
    }

    /// Flash has it: now it is so.
    fn cordon_kept(&mut self, cordon: Cordon) {
        let asked = self.books.cordons.asked.take();
        let Pods { once, others, .. } = self.to_drain();
        if let Some((id, Next::Drain { already, force: false, .. })) = &asked
            && !once.is_empty()
        {
            // They began while it was written.
            let blocked = DrainStep::Blocked { already: *already, daemons: Vec::new(), once };
            let next = Next::Answer(Answer::Drain(blocked));
            self.books.cordons.asked = Some((id.clone(), next));
            return self.order(Order::Cordon(cordon.not_drained()));
        }
        self.books.cordons.kept = cordon;
        self.tell_cordon();
        let mut grace_s = None;
        match asked {
            Some((id, Next::Answer(answer))) => self.reply(&id, vec![reply(0, true, answer)]),
            Some((id, Next::Drain { already, stay, grace_s: asked, .. })) => {
                grace_s = asked;
                let end = sorted(others.values().cloned());
                let begun = Answer::Drain(DrainStep::Begun { already, stay, end });
                self.reply(&id, vec![reply(0, false, begun)]);
                self.books.cordons.drains.push(Drain { id, parts: 1, ends: others });
            }
            None => {}
        }
        if cordon.taking() != Taking::Drained {
            self.drains_are_off();
        }
        self.hold_or_let_go_all(|_| grace_s);
        self.look_at_drains();
    }

    /// Makes all machines know whether they may run, each with the seconds that it gets to end, where not those of
    /// its pod.
    pub(super) fn hold_or_let_go_all(&mut self, grace_s: impl Fn(&Pod) -> Option<u32>) {
        for key in self.keys_of(|desired| desired.gone == Gone::No) {
            let grace_s = self.books.desired.get(&key).and_then(|one| grace_s(&one.life.pod));
            self.hold_or_let_go(&key, grace_s);
        }
    }

    /// Whoever waits for pods to end hears that they do not any more.
    fn drains_are_off(&mut self) {
        for drain in std::mem::take(&mut self.books.cordons.drains) {
            let mut replies = refused("Uncordoned", "the node was uncordoned meanwhile");
            for reply in &mut replies {
                reply.part = drain.parts;
            }
            self.reply(&drain.id, replies);
        }
    }

    /// Tells presence whether the node takes pods.
    pub(super) fn tell_cordon(&self) {
        let unschedulable = self.books.cordons.kept.is_cordoned();
        self.tell_presence(ToPresence::Unschedulable(unschedulable));
    }

    /// A pod that came and waits: a scheduler would say so.
    pub(super) fn tell_of_hold(&mut self, key: &ObjectKey) {
        let desired = self.books.desired.get(key);
        if desired.is_some_and(|desired| self.holds(&desired.life)) {
            let (reason, message) = ("FailedScheduling".into(), UNSCHEDULABLE_MESSAGE.into());
            self.object_event(key, EventType::Warning, reason, message);
        }
    }

    /// Makes the machine of a name know whether it may run.
    pub(super) fn hold_or_let_go(&mut self, key: &ObjectKey, grace_s: Option<u32>) {
        let now = self.now();
        let Some(desired) = self.books.desired.get(key) else { return };
        let (uid, held) = (desired.life.pod.name.uid, self.holds(&desired.life));
        let Some(machine) = self.books.reconciler.machine(&uid) else { return };
        let is_held = machine.is_held();
        if held && (!is_held || grace_s.is_some()) {
            self.step(uid, Event::Hold { grace_s }, now);
        } else if !held && is_held {
            let desired = self.books.desired.get_mut(key);
            if let Some(tried) = desired.and_then(|desired| desired.trial.as_mut()) {
                tried.on.trial.begin_anew();
            }
            self.step(uid, Event::LetGo, now);
        }
    }

    /// What runs here, or would.
    fn to_drain(&self) -> Pods {
        let mut pods = Pods::default();
        for desired in self.books.desired.values().filter(|desired| desired.gone == Gone::No) {
            let lives = desired.previous.iter().chain(std::iter::once(&desired.life));
            let machines =
                lives.filter_map(|life| self.books.reconciler.machine(&life.pod.name.uid));
            for machine in machines.filter(|machine| !has_ended(machine)) {
                let pod = machine.pod();
                let (namespace, name) = (pod.name.namespace.clone(), pod.name.name.clone());
                let named = PodRef { namespace, name };
                let goes = matches!(machine.stage(), Stage::Removing { .. });
                if pod.stays() && !goes {
                    // Nobody needs to be asked about what its file keeps here.
                    pods.daemons.extend((!pod.is_static).then_some(named));
                    continue;
                }
                if machine.has_had_its_run() && machine.stage() == Stage::Active {
                    pods.once.push(named.clone());
                }
                pods.others.insert(pod.name.uid, named);
            }
        }
        pods
    }

    /// Something happened to a pod: whoever waits for its end hears of that.
    pub(super) fn look_at_drains(&mut self) {
        let cordons = &mut self.books.cordons;
        if cordons.drains.is_empty() {
            return;
        }
        let reconciler = &self.books.reconciler;
        let over = |uid: &Uid| reconciler.machine(uid).is_none_or(has_ended);
        let mut replies = Vec::new();
        for drain in &mut cordons.drains {
            let ended: Vec<_> = drain.ends.extract_if(.., |uid, _| over(uid)).collect();
            let mut steps: Vec<_> =
                ended.into_iter().map(|(_, pod)| DrainStep::Ended(pod)).collect();
            let last = drain.ends.is_empty();
            steps.extend(last.then_some(DrainStep::Drained));
            for step in steps {
                let is_last = step == DrainStep::Drained;
                replies.push((drain.id.clone(), reply(drain.parts, is_last, Answer::Drain(step))));
                drain.parts += 1;
            }
        }
        cordons.drains.retain(|drain| !drain.ends.is_empty());
        for (id, part) in replies {
            self.reply(&id, vec![part]);
        }
    }
}

fn sorted(pods: impl Iterator<Item = PodRef>) -> Vec<PodRef> {
    let mut pods: Vec<_> = pods.collect();
    pods.sort();
    pods
}

/// Nothing of it runs, nor will before the node lets it.
pub(super) fn has_ended(machine: &Machine) -> bool {
    match machine.stage() {
        Stage::Finished | Stage::Gone => !machine.is_live(),
        Stage::Active => machine.waits_for_node(),
        Stage::Stopping { .. } | Stage::Removing { .. } => false,
    }
}
