//! What the machine is short of now and then, and what must be true of pods that are evicted for it.

use std::time::Duration;

use mote_agent::eviction::Signal;
use mote_agent::node::readings::{Amount, Reading};
use mote_agent::node::reporter::Sight;
use mote_agent::runtime::Usage;
use mote_protocol::name::Uid;
use mote_protocol::status::{Phase, PodStatus};
use tokio::time::Instant;

use crate::judge::Judge;
use crate::stories::{KEY, Story};
use crate::universe::{Shared, Universe};

/// How long new pods may still be refused when nothing is short any more: the condition lasts for
/// five minutes, and is looked at once a minute.
const LINGERS: Duration = Duration::from_mins(8);

/// What may run short.
const SIGNALS: [Signal; 4] = [
    Signal::MemoryAvailable,
    Signal::NodefsAvailable,
    Signal::NodefsInodesFree,
    Signal::PidAvailable,
];

/// What is told of shortages, and what follows for words that came meanwhile.
#[derive(Default)]
pub(crate) struct Shortages {
    now: bool,
    /// The last moment at which something was short.
    last: Option<Instant>,
}

impl Shortages {
    fn begins(&mut self) {
        (self.now, self.last) = (true, Some(Instant::now()));
    }

    fn ends(&mut self) {
        if std::mem::take(&mut self.now) {
            self.last = Some(Instant::now());
        }
    }

    /// Whether a new pod may be refused for it.
    pub(crate) fn refuses(&self) -> bool {
        self.now || self.last.is_some_and(|last| last.elapsed() < LINGERS)
    }

    /// Whether a pod may be evicted that was started then, if it was.
    fn evicts(&self, began: Option<Instant>) -> bool {
        self.now || self.last.is_some_and(|last| began.is_none_or(|began| last >= began))
    }
}

impl Universe {
    /// Something is short for a while, or is no more.
    pub(crate) fn run_short(&mut self, of: Option<Signal>) {
        self.note(|| format!("world: short of {of:?}"));
        self.short = of;
        match of {
            Some(_) => self.judge.shortages.begins(),
            None => self.judge.shortages.ends(),
        }
    }

    /// What somebody sees who looks at the machine.
    pub(crate) fn sight(&self) -> Sight {
        let amount = |signal| {
            let free = if self.short == Some(signal) { 1 } else { 1 << 19 };
            Some(Amount { free, total: 1 << 20 })
        };
        let reading = Reading {
            memory_kib: amount(Signal::MemoryAvailable),
            pods_memory_kib: None,
            disk_kib: amount(Signal::NodefsAvailable),
            inodes: amount(Signal::NodefsInodesFree),
            pids: amount(Signal::PidAvailable),
        };
        Sight { reading, ..Sight::default() }
    }
}

/// Lets something run short, for less than a minute.
pub(crate) fn strike(shared: &Shared) {
    let after = {
        let mut universe = shared.get();
        let signal = universe.chance.pick(&SIGNALS).copied();
        universe.run_short(signal);
        Duration::from_secs(1 + universe.chance.below(50))
    };
    shared.stalled.notify_one();
    shared.later(after, |universe| universe.run_short(None));
}

/// Some amount that belongs to a pod.
pub(crate) fn usage(uid: &Uid) -> Usage {
    let amount = Some(u64::from(uid.0[0]) << 20);
    Usage { memory: amount, pids: amount, cpu_us: amount }
}

impl Judge {
    /// Nobody is evicted without need, and who is critical never.
    pub(crate) fn check_eviction(&mut self, key: &str, status: &PodStatus) {
        let evicted = status.cause.as_ref().is_some_and(|(reason, _)| &**reason == "Evicted");
        let Some(uid) = status.uid.filter(|_| evicted) else { return };
        if status.phase != Phase::Failed {
            self.violation(format!("{uid} is evicted and {:?}", status.phase));
        }
        let began = self.began_at(uid);
        if !self.shortages.evicts(began) {
            self.violation(format!("{uid} of {key} is evicted and nothing was short"));
        }
        let life = self.life_of(uid).map(|life| (key.to_owned(), life));
        if life.is_some_and(|life| self.critical.contains(&life)) {
            self.violation(format!("{uid} of {key} is critical and evicted"));
        }
    }
}

#[test]
fn a_pod_is_evicted_and_taken_no_more_until_nothing_is_short() {
    crate::history::simulate(0, false, async |shared| {
        let story = Story::begin(shared);
        story.say("n", 1).await;
        assert_eq!(story.running(), [1]);
        let short = |of| {
            story.shared.get().run_short(of);
            story.shared.stalled.notify_one();
        };
        short(Some(Signal::MemoryAvailable));
        story.settle().await;
        assert_eq!(story.running(), [0; 0]);
        let status = story.status().expect("it is told");
        let (reason, why) = status.cause.expect("a cause");
        assert_eq!((status.phase, &*reason), (Phase::Failed, "Evicted"));
        assert!(why.starts_with("The node was low on resource: memory. "), "{why}");
        // One without requests is not taken meanwhile; the one that was evicted does not come back.
        story.replace("n", 2).await;
        let refusal = story.status().and_then(|status| status.refusal).expect("it is refused");
        assert_eq!(&*refusal.message, "The node had condition: [MemoryPressure]. ");
        short(None);
        tokio::time::sleep(LINGERS).await;
        assert_eq!(story.running(), [0; 0], "{KEY}");
        story.replace("n", 3).await;
        assert_eq!(story.running(), [3]);
    });
}
