//! One history: a storm of random length, then calm.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

use crate::calm;
use crate::node::Agent;
use crate::operator::Operator;
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
        shared.pause(1 << 17).await;
    }
    agent
}

async fn step(shared: &Shared, operator: &mut Operator, agent: Agent) -> Agent {
    let what = shared.get().chance.below(32);
    match what {
        0..=2 => return restart(shared, agent, false).await,
        3 => return restart(shared, agent, true).await,
        4..=6 => flip(shared, "network", |universe| &mut universe.broker.network),
        7 => flip(shared, "card failing", |universe| &mut universe.card.failing),
        8 => flip(shared, "images failing", |universe| &mut universe.images_failing),
        9 => {
            shared.get().broker_forgets();
            shared.stirred.notify_one();
        }
        10 => sandbox_dies(shared),
        11 => {
            let mut universe = shared.get();
            let error = universe.chance.below(1 << 33).cast_signed() - (1 << 32);
            universe.wall_error_ms = error;
        }
        12 => shared.get().rules_change(),
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

async fn restart(shared: &Shared, agent: Agent, reboot: bool) -> Agent {
    agent.crash(shared).await;
    if reboot {
        shared.get().reboot();
    }
    if shared.get().misfortune(4) {
        shared.get().spoil_a_file();
    }
    let pause = Duration::from_millis(shared.get().chance.below(4000));
    tokio::time::sleep(pause).await;
    Agent::start(shared)
}
