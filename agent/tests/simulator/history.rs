//! One history: a storm of random length, then calm.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use crate::calm;
use crate::delays::LOCK;
use crate::medium::Failure;
use crate::node::Agent;
use crate::operator::Operator;
use crate::ports::START;
use crate::shortage;
use crate::universe::Shared;

/// What came out.
pub(crate) struct History {
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<String>,
}

/// Steps of the longest storm.
const LONGEST: u64 = 60;

impl History {
    pub(crate) fn run(seed: u64, trace: bool) -> Self {
        simulate(seed, trace, async |shared| {
            let agent = storm(&shared).await;
            calm::check(&shared, agent).await;
            let universe = shared.get();
            Self { violation: universe.judge.verdict().cloned(), trace: universe.trace() }
        })
    }
}

/// Lets something happen in a universe of its own.
pub(crate) fn simulate<T>(seed: u64, trace: bool, what: impl AsyncFnOnce(Shared) -> T) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O");
    LocalSet::new().block_on(&runtime, async {
        let shared = Shared::new(seed, trace);
        let universe = spawn_local(shared.clone().go_on());
        let result = what(shared).await;
        assert!(!universe.is_finished(), "the universe ended");
        universe.abort();
        result
    })
}

async fn storm(shared: &Shared) -> Agent {
    let mut operator = Operator::new(&mut shared.get());
    let mut agent = Agent::start(shared);
    let steps = 8 + shared.get().chance.below(LONGEST);
    for _ in 0..steps {
        agent = step(shared, &mut operator, agent).await;
        if agent.ended() {
            shared.get().judge.violation("the agent ended by itself".into());
        }
        if shared.get().judge.verdict().is_some() {
            break;
        }
        shared.rest(1 << 17).await;
    }
    agent
}

async fn step(shared: &Shared, operator: &mut Operator, agent: Agent) -> Agent {
    let what = shared.get().chance.below(32);
    match what {
        0..=2 => {
            let reboot = what == 2;
            if shared.get().chance.one_in(2) {
                operator.act(&mut shared.get());
                shared.stirred.notify_one();
                meet_doom(shared).await;
            }
            return restart(shared, agent, reboot).await;
        }
        3 => {
            let mut universe = shared.get();
            universe.broker_restarts();
            universe.note(|| "broker: restarts".into());
            drop(universe);
            shared.stirred.notify_one();
        }
        4..=6 => flip(shared, "network", |universe| &mut universe.broker.network),
        7 => {
            let mut universe = shared.get();
            let fails = universe.card.failure.is_some();
            let failures = [Failure::Errors, Failure::Errors, Failure::Full, Failure::ReadOnly];
            let failure = universe.chance.pick(&failures).copied().filter(|_| !fails);
            universe.card.failure = failure;
            universe.note(|| format!("world: the card's failure is {failure:?}"));
        }
        8 => flip(shared, "images failing", |universe| &mut universe.images_failing),
        9 => {
            shared.get().broker_forgets();
            shared.stirred.notify_one();
        }
        10 => sandbox_dies(shared),
        11 => {
            let mut universe = shared.get();
            let error = universe.chance.below(1 << 33).cast_signed() - (1 << 32);
            // Now and then the clock is as on a board that has no battery.
            universe.wall_error_ms =
                if error % 4 == 0 { -1000 * START.cast_signed() } else { error };
            universe.judge.clock_set = Some(Instant::now());
            universe.note(|| format!("world: the clock is {error} ms wrong"));
            shared.clock_set.notify_one();
        }
        12 => shared.get().rules_change(),
        13 => {
            let mut universe = shared.get();
            let held = !universe.locks.contains(LOCK);
            universe.lock(held);
            shared.locks_changed.notify_one();
        }
        14 => shortage::strike(shared),
        _ => {
            operator.act(&mut shared.get());
            shared.stirred.notify_one();
        }
    }
    agent
}

fn flip(shared: &Shared, what: &str, of: impl FnOnce(&mut crate::universe::Universe) -> &mut bool) {
    let mut universe = shared.get();
    let flag = of(&mut universe);
    *flag = !*flag;
    let now = *flag;
    universe.note(|| format!("world: {what} {now}"));
    shared.stirred.notify_one();
}

fn sandbox_dies(shared: &Shared) {
    let mut universe = shared.get();
    let uids: Vec<_> = universe.kernel.pods.keys().copied().collect();
    if let Some(uid) = universe.chance.pick(&uids).copied() {
        universe.kill_sandbox(uid);
    }
}

/// Awaits of ports until the node dies, at most.
const FAR: u32 = 48;

/// Longest time until then: a node that has nothing to do gets nowhere.
const LONG: Duration = Duration::from_mins(1);

/// Lets the node go on until it waits for one of its ports, at an instant that nothing else chooses.
async fn meet_doom(shared: &Shared) {
    let left = shared.get().chance.small(FAR);
    shared.get().doom = Some(left);
    let _ = tokio::time::timeout(LONG, shared.doomed.notified()).await;
    shared.get().doom = None;
}

async fn restart(shared: &Shared, agent: Agent, reboot: bool) -> Agent {
    agent.crash(shared).await;
    if reboot {
        shared.get().reboot();
    }
    if shared.get().misfortune(4) {
        shared.get().spoil_a_file();
    }
    if shared.get().misfortune(4) {
        shared.get().newer_agent_was_here();
    }
    let pause = Duration::from_millis(shared.get().chance.below(4000));
    tokio::time::sleep(pause).await;
    Agent::start(shared)
}
