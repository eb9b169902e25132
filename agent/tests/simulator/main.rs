//! The whole node in a simulated world: random histories from one seed each.
//!
//! The real steward, reconciler, store, outbox and machines run on simulated ports, with paused
//! time. People say things, the machine reboots, the agent dies wherever it happens to be, the card fails,
//! the broker forgets; the [`judge`] checks after every step what must hold. In the end everything
//! is calm, and the node must be what the last word on each name asks for.
//!
//! `MOTE_SEED=17 cargo test -p mote-agent --test simulator` repeats one history and prints it;
//! `MOTE_SEEDS=100000` runs that many.

mod broker;
mod calm;
mod chance;
mod handlers;
mod history;
mod judge;
mod kernel;
mod marker;
mod node;
mod operator;
mod ports;
mod universe;

use std::time::Instant;

use history::History;

/// Histories run by default.
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn the_node_keeps_its_promises_in_every_history() {
    if let Some(seed) = number("MOTE_SEED") {
        let history = History::run(seed, true);
        history.trace.iter().for_each(|line| println!("{line}"));
        assert_eq!(history.violation, None, "seed {seed}");
        return;
    }
    let seeds = number("MOTE_SEEDS").unwrap_or(SEEDS);
    let first = number("MOTE_FIRST_SEED").unwrap_or(0);
    let start = Instant::now();
    for seed in first..first + seeds {
        if let Some(violation) = History::run(seed, false).violation {
            panic!(
                "{violation}\nrepeat it: MOTE_SEED={seed} cargo test -p mote-agent --test simulator"
            );
        }
    }
    let each = start.elapsed() / u32::try_from(seeds).unwrap_or(u32::MAX);
    println!("{seeds} histories, {each:?} each");
}

#[test]
fn a_seed_gives_the_same_history_every_time() {
    for seed in 0..5 {
        let (one, other) = (History::run(seed, true), History::run(seed, true));
        assert!(one.trace.len() > 10);
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
