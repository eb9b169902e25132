//! Everything outside the node: what survives it, and what is checked about it.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use mote_agent::eviction::Signal;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::card::Card;
use crate::chance::Chance;
use crate::judge::Judge;
use crate::kernel::Kernel;

pub(crate) struct Universe {
    pub(crate) chance: Chance,
    pub(crate) card: Card,
    pub(crate) kernel: Kernel,
    pub(crate) broker: Broker,
    pub(crate) judge: Judge,
    /// Everything may fail now and then.
    pub(crate) storm: bool,
    pub(crate) images_failing: bool,
    /// What the machine is short of.
    pub(crate) short: Option<Signal>,
    /// Locks that people hold.
    pub(crate) locks: BTreeSet<String>,
    /// When the machine booted last.
    pub(crate) booted: Instant,
    /// The wall clock's error in milliseconds.
    pub(crate) wall_error_ms: i64,
    pub(crate) started: Instant,
    /// The node still gets so far: it dies where it waits for one of its ports the next time.
    pub(crate) doom: Option<u32>,
    /// What happens later, whatever becomes of the agent.
    later: BTreeMap<(Instant, u64), Deed>,
    deeds: u64,
    trace: Option<Vec<String>>,
    /// A promise was broken, and the trace says so.
    over: bool,
}

type Deed = Box<dyn FnOnce(&mut Universe)>;

/// The universe as its parts hold it.
#[derive(Clone)]
pub(crate) struct Shared {
    universe: Rc<RefCell<Universe>>,
    /// Something happened at the broker.
    pub(crate) stirred: Rc<Notify>,
    /// The instant was reached at which the node is to die.
    pub(crate) doomed: Rc<Notify>,
    /// Somebody set the clock.
    pub(crate) clock_set: Rc<Notify>,
    /// Programs wait for memory.
    pub(crate) stalled: Rc<Notify>,
    /// Somebody took a lock, or freed one.
    pub(crate) locks_changed: Rc<Notify>,
    planned: Rc<Notify>,
}

impl Shared {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let now = Instant::now();
        let universe = Universe {
            chance: Chance::new(seed),
            card: Card::default(),
            kernel: Kernel::default(),
            broker: Broker::default(),
            judge: Judge::default(),
            storm: true,
            images_failing: false,
            short: None,
            locks: BTreeSet::new(),
            booted: now,
            wall_error_ms: 0,
            started: now,
            doom: None,
            later: BTreeMap::new(),
            deeds: 0,
            trace: trace.then(Vec::new),
            over: false,
        };
        Self {
            universe: Rc::new(RefCell::new(universe)),
            stirred: Rc::default(),
            doomed: Rc::default(),
            clock_set: Rc::default(),
            stalled: Rc::default(),
            locks_changed: Rc::default(),
            planned: Rc::default(),
        }
    }

    /// Never held across an await.
    pub(crate) fn get(&self) -> RefMut<'_, Universe> {
        self.universe.borrow_mut()
    }

    /// Does something to the universe after a while.
    pub(crate) fn later(&self, after: Duration, deed: impl FnOnce(&mut Universe) + 'static) {
        let mut universe = self.get();
        universe.deeds += 1;
        let when = (Instant::now() + after, universe.deeds);
        universe.later.insert(when, Box::new(deed));
        self.planned.notify_one();
    }

    /// Does what is due, for ever.
    pub(crate) async fn go_on(self) {
        loop {
            let next = self.get().later.first_key_value().map(|((at, _), _)| *at);
            match next {
                Some(at) if at <= Instant::now() => {
                    let deed = self.get().later.pop_first();
                    if let Some((_, deed)) = deed {
                        deed(&mut self.get());
                    }
                }
                Some(at) => tokio::select! {
                    biased;
                    () = self.planned.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.planned.notified().await,
            }
        }
    }

    /// An operation of a port takes a while, and may be where the node dies.
    pub(crate) async fn pause(&self, longest_ms: u64) {
        if self.get().is_doomed() {
            self.doomed.notify_one();
            std::future::pending::<()>().await;
        }
        self.rest(longest_ms).await;
    }

    /// Time passes.
    pub(crate) async fn rest(&self, longest_ms: u64) {
        let pause = self.get().chance.pause_ms(longest_ms);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}

impl Universe {
    pub(crate) fn since_boot(&self) -> Duration {
        Instant::now() - self.booted
    }

    fn is_doomed(&mut self) -> bool {
        let Some(left) = &mut self.doom else { return false };
        let reached = *left == 0;
        *left = left.saturating_sub(1);
        reached
    }

    /// Something goes wrong once in so many times, in a storm.
    pub(crate) fn misfortune(&mut self, times: u64) -> bool {
        self.storm && self.chance.one_in(times)
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        let at = (Instant::now() - self.started).as_secs_f64();
        let Some(trace) = self.trace.as_mut().filter(|_| !self.over) else { return };
        // What follows a broken promise explains nothing.
        if let Some(violation) = self.judge.verdict() {
            trace.push(format!("{at:>12.3} judge: {violation}"));
            self.over = true;
            return;
        }
        trace.push(format!("{at:>12.3} {}", text()));
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.clone().unwrap_or_default()
    }
}
