//! What a node costs and how fast it is, measured as it is shipped: `cargo bench-node`.
//!
//! A static release build speaks TLS to a real broker and pulls one image from a real registry.
//! Then: its memory without a pod, what each pod adds, its wakeups at rest, and the time from a
//! message to the container's first instruction, beside `crun create` + `start` of the same root
//! file system in the same run, in turn and paced alike (the floor depends on pacing: calls that
//! follow each other closely find everything warm). Figures go to `docs/benchmarks/`.

// Bytes and KiB of anything measured here are far below 2^52.
#![allow(clippy::cast_precision_loss)]

mod cost;
mod crun;
pub mod exec;
mod figures;
mod latency;
mod steady;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use mote_cross::release;
use mote_cross::target::Target;
use mote_protocol::status::Phase;

use crate::binaries;
use crate::broker::BrokerOptions;
use crate::manifest::pod;
use crate::node::Node;
use crate::workload;
use crate::world::World;
use figures::Figures;

/// Measures a node on this machine.
#[derive(Debug, Parser)]
#[command(name = "cargo bench-node", bin_name = "cargo bench-node --")]
pub struct Options {
    /// Starts to measure on either side.
    #[arg(long, default_value_t = 21)]
    starts: u32,
    /// Pods for the memory of one.
    #[arg(long, default_value_t = 10)]
    pods: u32,
    /// Watch a node at rest for so many minutes instead: bytes on the wire per day, writes, wakeups
    #[arg(long, value_name = "MINUTES")]
    steady: Option<u32>,
    /// Where the figures are recorded; `docs/benchmarks/ARCHITECTURE.json` by default.
    #[arg(long)]
    record: Option<PathBuf>,
}

/// A node as it is shipped, with an image from a registry, and the means to start more pods.
struct Subject {
    world: World,
    node: Node,
    image: String,
    /// The program in the image.
    program: PathBuf,
}

/// Measures, prints, records.
pub fn run(options: &Options) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("containers need root: sudo -E env \"PATH=$PATH\" cargo bench-node");
        return Ok(ExitCode::FAILURE);
    }
    if let Some(minutes) = options.steady {
        steady::run(minutes.max(1), options.pods)?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = Target::here()?;
    println!("building the release for {target}");
    let (agent, mote) = (release::agent(target)?, release::mote(target)?);
    let mut figures = Figures::new();
    figures.add("agent_binary_bytes", std::fs::metadata(&agent)?.len() as f64);
    figures.add("mote_binary_bytes", std::fs::metadata(&mote)?.len() as f64);

    let (subject, _registry) = Subject::new(&agent, &mote)?;
    cost::measure(&subject, options.pods, &mut figures)?;
    latency::measure(&subject, options.starts, &mut figures)?;
    let Subject { world, node, image, program } = &subject;
    let commands = exec::cost(world, node, image, program)?;
    figures.add("exec_probe_cpu_ms", commands.probe_ms);
    figures.add("crun_exec_cpu_ms", commands.crun_ms);
    figures.print();
    let path = options.record.clone().unwrap_or_else(|| {
        let name = format!("{}.json", std::env::consts::ARCH);
        binaries::workspace().join("docs/benchmarks").join(name)
    });
    figures.record(&path)?;
    println!("recorded in {}", path.display());
    Ok(ExitCode::SUCCESS)
}

impl Subject {
    fn new(
        agent: &std::path::Path,
        mote: &std::path::Path,
    ) -> Result<(Self, crate::registry::Registry)> {
        let mut world =
            World::with_broker(BrokerOptions { tls: true, ..BrokerOptions::default() })?;
        world.operator = world.operator.with_program(mote);
        let program = world.directory().join("workload");
        workload::compile(&program)?;
        let registry = world.registry()?;
        let image = registry.push(&workload::image(&program)?, "bench/workload", "1")?;
        let mut options = world.options("board");
        options.tls = true;
        options.registries.push(registry.host());
        let mut node = world.prepare(options)?.with_program(agent).quiet();
        node.start()?;
        world.wait_for_birth(&node)?;
        // The pull, and the first start: what is measured later finds the image present.
        let first = pod("first").container("main", &image, &["/workload", "rest"]);
        world.operator.apply(&first, &node)?;
        world.wait_for_phase(&node, "first", Phase::Running)?;
        world.operator.delete("first", &node)?;
        world.wait_until_gone(&node, "first")?;
        Ok((Self { world, node, image, program }, registry))
    }
}
