//! The whole node in a simulated world: random histories from one seed each.
//!
//! The real steward, reconciler, store, outbox and machines run on simulated ports, with paused
//! time. People say things to the node, its groups and all, the machine reboots, the agent dies wherever
//! it happens to be, the card fails and rots, the broker forgets and refuses; the [`judge`] checks after
//! every step what must hold. In the end everything is calm, and the node must be what the nearest
//! word on each name asks for.
//!
//! `MOTE_SEED=17 cargo test -p mote-agent --test simulator` repeats one history and prints it;
//! `MOTE_SEEDS=100000` runs that many.

mod broker;
mod calm;
mod card;
mod chance;
mod handlers;
mod history;
mod judge;
mod kernel;
mod marker;
mod node;
mod operator;
mod ports;
mod scope;
mod stories;
mod universe;

use std::io::{Write as _, stdout};
use std::time::Duration;

use history::History;
use rustix::time::{ClockId, clock_gettime};

/// Histories run by default.
const SEEDS: u64 = 1000;

/// What a history may cost on average: a thousand are to fit into every change's checks.
const GOAL: Duration = Duration::from_millis(5);

/// A history fails the test at so many times its goal: shared machines run at half their speed at
/// times. What must not creep up is counted in `tests/budget.toml`, in instructions.
const SLACK: u32 = 3;

/// Seeds that found something once. A change of the simulator gives each another history; they cost
/// nothing, and the tests beside the mended code hold the bugs down.
const FOUND: &[u64] = &[36, 90, 114, 132, 307, 617, 622];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// What this thread has worked so far. Waiting for a processor is nobody's fault.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("time goes forward")
}

fn check(seed: u64) {
    if let Some(violation) = History::run(seed, false).violation {
        panic!(
            "{violation}\nrepeat it: MOTE_SEED={seed} cargo test -p mote-agent --test simulator"
        );
    }
}

#[test]
fn the_node_keeps_its_promises_in_every_history() {
    if let Some(seed) = number("MOTE_SEED") {
        let history = History::run(seed, true);
        history.trace.iter().for_each(|line| println!("{line}"));
        assert_eq!(history.violation, None, "seed {seed}");
        return;
    }
    let asked = number("MOTE_SEEDS");
    let first = number("MOTE_FIRST_SEED").unwrap_or(0);
    if let Some(seeds) = asked {
        // Whoever asks for a number of them counts something, or wants many.
        return (first..first + seeds).for_each(check);
    }
    let start = worked();
    (first..first + SEEDS).for_each(check);
    let each = worked().saturating_sub(start) / u32::try_from(SEEDS).expect("a small number");
    // Past the capture of tests that pass: `cargo verify` shows it.
    let _ = writeln!(stdout(), "\nfigure: {SEEDS} histories, {each:.1?} each (goal {GOAL:?})");
    assert!(each <= GOAL * SLACK, "a history takes {each:?}, its goal is {GOAL:?}");
}

#[test]
fn seeds_that_found_something_stay_mended() {
    FOUND.iter().copied().for_each(check);
}

#[test]
fn a_seed_gives_the_same_history_every_time() {
    for seed in 0..5 {
        let (one, other) = (History::run(seed, true), History::run(seed, true));
        assert!(one.trace.len() > 10);
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
