//! `mote top`, `mote-agent ctl top`, and what nodes report by themselves.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use mote_protocol::node::Usage;
use mote_tests::node::NodeOptions;
use mote_tests::wait::Deadline;
use mote_tests::world::{World, topic};

use crate::{HELD, busy, idle};

/// What a busy pod may be seen to use of CPU, in thousandths of a core: one, where nobody else wants it.
const WORKS: std::ops::RangeInclusive<u64> = 100..=1100;

/// What it may be seen to hold, in MiB: that, and what busybox and the kernel need for it.
const HOLDS: std::ops::RangeInclusive<u64> = HELD..=HELD + 16;

/// Cells of a table by the name in the first column: cores and memory.
fn rows(table: &str) -> Result<BTreeMap<String, (u64, u64)>> {
    let row = |line: &str| -> Result<_> {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [name, cpu, memory, ..] = cells[..] else { anyhow::bail!("cells of {line:?}") };
        let number = |cell: &str, unit| -> Result<u64> {
            Ok(cell.strip_suffix(unit).with_context(|| format!("{cell} of {line:?}"))?.parse()?)
        };
        Ok((name.to_owned(), (number(cpu, "m")?, number(memory, "Mi")?)))
    };
    table.lines().map(row).collect()
}

#[test]
fn who_works_is_seen() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    idle(&world, &node)?;
    busy(&world, &node)?;
    let top = |words: &[&str]| world.operator.run(&[&["top"], words].concat())?.succeeded();
    // It may still be filling its memory.
    let deadline = Deadline::patient();
    let pods = loop {
        deadline.remaining().context("it never holds what it should")?;
        let pods = rows(&top(&["pods", "--no-headers", "--sort-by=cpu"])?)?;
        if pods.get("busy").is_some_and(|(_, memory)| HOLDS.contains(memory)) {
            break pods;
        }
        println!("not yet: {pods:?}");
    };
    let ((cpu, memory), (idle_cpu, idle_memory)) = (pods["busy"], pods["idle"]);
    println!("busy {cpu}m {memory}Mi, idle {idle_cpu}m {idle_memory}Mi");
    ensure!(WORKS.contains(&cpu), "{pods:?}");
    ensure!(idle_cpu <= 50 && idle_memory <= 8, "{pods:?}");
    let table = top(&["pods", "--containers", "--sort-by=cpu"])?;
    println!("{table}");
    let words: Vec<&str> = table.split_whitespace().collect();
    ensure!(words[..4] == ["POD", "NAME", "CPU(cores)", "MEMORY(bytes)"], "{table}");
    ensure!(words[4..6] == ["busy", "main"], "who works most comes first: {table}");

    let table = top(&["nodes"])?;
    println!("{table}");
    let head = ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"];
    ensure!(table.split_whitespace().take(5).eq(head), "{table}");
    let (_, row) = table.split_once('\n').context("a row")?;
    let without_share = row.split_whitespace().enumerate().filter(|(at, _)| *at != 2);
    let row: Vec<&str> = without_share.map(|(_, cell)| cell).collect();
    let (cpu, memory) = rows(&row.join(" "))?["n1"];
    ensure!(
        cpu >= *WORKS.start() && memory >= HELD,
        "the whole node uses what its pods do: {table}"
    );

    let here = node.ctl(&["top"])?;
    println!("{here}");
    let line = here.lines().find(|line| line.starts_with("default     busy")).context("its row")?;
    let (cpu, memory) = rows(line.trim_start_matches("default").trim_start())?["busy"];
    ensure!(WORKS.contains(&cpu) && HOLDS.contains(&memory), "{here}");
    Ok(())
}

#[test]
fn a_node_reports_by_itself() -> Result<()> {
    let world = World::new()?;
    let extra = "[reports]\nusage = \"10s\"\nusage_bytes_per_day = 10485760\n".to_owned();
    let node = world.node_with(NodeOptions { extra, ..world.options("n1") })?;
    busy(&world, &node)?;
    let topic = topic(&node, "usage");
    // The first look that knows the pod tells no rate of it.
    let usage = world.observer.wait("a report with a rate", |view| {
        view.bodies::<Usage>(&topic).into_iter().rev().find(|usage| {
            let metrics = usage.metrics();
            let pod = metrics.iter().flat_map(|metrics| &metrics.pods).next();
            pod.is_some_and(|pod| pod.used.cpu_milli.is_some())
        })
    })?;
    let metrics = usage.metrics().context("rates")?;
    println!("{usage:?} {metrics:?}");
    let pod = metrics.pods.first().context("the pod")?;
    ensure!((pod.name.as_str(), metrics.pods.len()) == ("busy", 1), "{metrics:?}");
    ensure!((10_000..15_000).contains(&metrics.window_ms), "{metrics:?}");
    ensure!(pod.used.cpu_milli.is_some_and(|cpu| WORKS.contains(&cpu.into())), "{pod:?}");
    let memory = pod.used.memory_kib.map(|kib| kib / 1024);
    ensure!(memory.is_some_and(|memory| HOLDS.contains(&memory)), "{pod:?}");
    ensure!(metrics.cpu_milli >= pod.used.cpu_milli.map(|cpu| cpu / 2), "{metrics:?}");
    ensure!(usage.pids > 10 && usage.disk_kib > 0 && pod.containers.is_empty(), "{usage:?}");
    let kept = world
        .observer
        .look(|view| view.history.iter().any(|one| one.topic == topic && one.retained));
    ensure!(!kept, "nobody wants to know of what was used once");
    Ok(())
}
