//! Processes of others.

use anyhow::{Context, Result};
use mote_protocol::status::{Phase, PodCondition};
use mote_tests::manifest::pod;
use mote_tests::process::{Process, command};
use mote_tests::world::{BUSYBOX, World, terminated};
use rustix::process::Pid;
use serde_json::json;

use super::{Expected, IMAGE, inside, node, try_both_ways};

/// It has capabilities that the attacker has not, so nothing of it is shown.
const REFUSED: &Expected = &[
    ("seize", &["EPERM"]),
    ("read-memory", &["EPERM"]),
    ("open-memory", &["EACCES"]),
    ("enter-root", &["EACCES"]),
    ("follow-file", &["EACCES"]),
    ("open-program", &["EACCES"]),
    ("read-environment", &["EACCES"]),
    ("take-file", &["EPERM"]),
];

const ALLOWED: &Expected = &[
    ("seize", &["done"]),
    // Nothing is mapped where it reads.
    ("read-memory", &["EFAULT"]),
    ("open-memory", &["done"]),
    ("enter-root", &["done"]),
    ("follow-file", &["done"]),
    ("open-program", &["done"]),
    ("read-environment", &["done"]),
    ("take-file", &["done"]),
];

#[test]
fn who_sees_the_host_cannot_enter_it() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let prey = Process::spawn("prey", command("sleep").arg("1000"))?;
    let seeing = |target: Pid, privileged: bool| {
        let target = target.as_raw_nonzero().to_string();
        move |name: &str, words: &[&str]| {
            pod(name)
                .container("main", IMAGE, words)
                .with("env", json!([{"name": "TARGET", "value": target}]))
                .with("securityContext", json!({"privileged": privileged}))
                .spec("hostPID", json!(true))
        }
    };
    try_both_ways(&world, &node, "agent", seeing(node.pid()?, false), REFUSED)?;
    try_both_ways(&world, &node, "prey", seeing(prey.pid(), false), REFUSED)?;
    try_both_ways(&world, &node, "privileged", seeing(prey.pid(), true), ALLOWED)
}

/// Runs a program that no other container has, and that is everybody's: one byte longer than busybox.
const OTHER: &str = "{ cat /bin/busybox; echo; } > /tmp/busybox; chmod 755 /tmp/busybox; \
                     exec /tmp/busybox sleep 1002";

/// Containers that begin, and commands in them, while somebody looks.
const MANY: usize = 12;

#[test]
fn nobody_reaches_a_command_that_begins() -> Result<()> {
    let world = World::new()?;
    let node = node(&world)?;
    let mut manifest = pod("watched")
        .once()
        .spec("shareProcessNamespace", json!(true))
        .container("watcher", IMAGE, &["/attacker", "watch", "-"])
        .container("other", BUSYBOX, &["sh", "-c", OTHER]);
    for number in 0..MANY {
        let nothing = json!({"exec": {"command": ["true"]}});
        manifest = manifest
            .container(&format!("c{number}"), BUSYBOX, &["sleep", "1001"])
            .with("lifecycle", json!({"postStart": nothing.clone()}))
            .with("readinessProbe", nothing);
    }
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "watched", Phase::Running)?;
    world.wait_for(&node, "watched", "Ready", |status| {
        let ready = |c: &mote_protocol::status::ContainerStatus| c.ready();
        status.containers.iter().all(ready) || status.conditions.is_true(PodCondition::Ready)
    })?;
    std::fs::write(inside(&node, "/attacker watch -", "/enough")?, "")?;
    let status = world.wait_for(&node, "watched", "the watcher's end", |status| {
        terminated(status, "watcher").is_ok()
    })?;
    let report = node.printed(&status.uid.context("a uid")?, "watcher")?;
    // It is able to: what belongs to no agent it finds, and nothing else.
    let other = format!("a program of {} bytes", std::fs::metadata("/bin/busybox")?.len() + 1);
    let reached: Vec<_> = report.lines().filter_map(|l| l.strip_prefix("reached ")).collect();
    assert!(!reached.is_empty(), "{report}");
    assert!(reached.iter().all(|what| what.starts_with(&other)), "{report}");
    let seen = report.lines().find_map(|line| line.strip_prefix("saw ")).context("a count")?;
    // Each container's own process at least, and some of what came and went.
    assert!(seen.parse::<usize>()? >= MANY, "{report}");
    Ok(())
}
