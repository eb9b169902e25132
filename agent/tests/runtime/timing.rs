//! How long things take: `cargo test -p mote-agent --test runtime timing -- --ignored --nocapture`.
//!
//! `MOTE_TEST_AGENT` names the program that helpers are; a release build tells more than a test's.

use std::time::{Duration, Instant};

use mote_agent::runtime::Runtime;

use crate::node::Node;

const ROUNDS: usize = 20;

#[tokio::test]
#[ignore = "measures, and asserts nothing"]
async fn of_each_step_of_a_pod() {
    let mut steps: [Vec<Duration>; 5] = Default::default();
    for _ in 0..ROUNDS {
        let mut node = Node::new();
        let sandbox = node.sandbox();
        let request = node.request("once", &["true"]);
        let mut clock = Instant::now();
        let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed();
        node.runtime.create_sandbox(&sandbox).await.expect("sandbox");
        let created = lap();
        node.runtime.start(&request).await.expect("start");
        let started = lap();
        node.exit(&request.id).await;
        let ended = lap();
        node.runtime.remove_container(&request.id).await.expect("remove");
        let removed = lap();
        node.runtime.remove_sandbox(&node.uid).await.expect("remove");
        let gone = lap();
        for (step, took) in steps.iter_mut().zip([created, started, ended, removed, gone]) {
            step.push(took);
        }
    }
    let names = ["sandbox", "start", "exit", "remove", "remove sandbox"];
    for (name, mut step) in names.into_iter().zip(steps) {
        step.sort();
        println!("{name:15} min {:6.2?}  median {:6.2?}", step[0], step[ROUNDS / 2]);
    }
}
