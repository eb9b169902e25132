//! What an exec probe costs, beside `crun exec` of the same program in the same kind of container.
//!
//! Processor time of everything that takes part, as the kernel's cgroups count it: some processes
//! of either side are nobody's children when they end, so that asking for those of a parent misses them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mote_protocol::status::PodCondition;
use serde_json::json;

use super::crun::Resident;
use crate::host::{cgroup_time, process_time};
use crate::manifest::pod;
use crate::node::Node;
use crate::wait::let_pass;
use crate::world::World;

/// Containers that are probed once a second each, which is as often as a probe may be.
const CONTAINERS: u32 = 10;

/// How long.
const WATCHED: Duration = Duration::from_secs(20);

/// Processor time of one, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Of a probe: agent, helper and command.
    pub probe_ms: f64,
    /// Of `crun exec`: crun and command.
    pub crun_ms: f64,
}

/// Measures both, one after the other, at the same pace. `program` is what `image` has as
/// `/workload`.
pub fn cost(world: &World, node: &Node, image: &str, program: &Path) -> Result<Cost> {
    Ok(Cost { probe_ms: probe(world, node, image)?, crun_ms: crun(world.directory(), program)? })
}

fn probe(world: &World, node: &Node, image: &str) -> Result<f64> {
    let mut probed = pod("probed");
    let probe = json!({"exec": {"command": ["/workload", "mark"]}, "periodSeconds": 1});
    for number in 0..CONTAINERS {
        probed = probed.container(&format!("c{number}"), image, &["/workload", "rest"]);
        probed = probed.with("readinessProbe", probe.clone());
    }
    world.operator.apply(&probed, node)?;
    world.wait_for(node, "probed", "Ready", |status| {
        status.conditions.is_true(PodCondition::Ready)
    })?;
    let marks = marks(node)?;
    ensure!(marks.len() == CONTAINERS as usize, "{} containers run", marks.len());
    let (cgroup, agent) = (&node.footprint().cgroup, node.pid()?);
    let seen = || -> Result<(u64, Duration)> {
        Ok((count(&marks)?, cgroup_time(cgroup)? + process_time(agent)?))
    };
    let (first, before) = seen()?;
    let_pass(WATCHED);
    let (last, after) = seen()?;
    world.operator.delete("probed", node)?;
    world.wait_until_gone(node, "probed")?;
    each(after.saturating_sub(before), last - first)
}

/// The files in which the containers' commands leave their marks.
fn marks(node: &Node) -> Result<Vec<PathBuf>> {
    let processes = node.processes("/workload rest")?;
    let path = |pid: rustix::process::Pid| format!("/proc/{}/root/mark", pid.as_raw_nonzero());
    Ok(processes.into_iter().map(path).map(PathBuf::from).collect())
}

fn count(marks: &[PathBuf]) -> Result<u64> {
    let len = |path: &PathBuf| {
        fs::metadata(path).map(|file| file.len()).with_context(|| path.display().to_string())
    };
    marks.iter().map(len).sum()
}

fn crun(directory: &Path, program: &Path) -> Result<f64> {
    let mut crun = Resident::new(directory, program)?;
    let before = cgroup_time(crun.cgroup())?;
    let mut commands = 0;
    for _ in 0..WATCHED.as_secs() * u64::from(CONTAINERS) {
        let_pass(Duration::from_secs(1) / CONTAINERS);
        crun.exec(&["/workload", "mark"])?;
        commands += 1;
    }
    each(cgroup_time(crun.cgroup())?.saturating_sub(before), commands)
}

#[allow(clippy::cast_precision_loss, reason = "a few hundred")]
fn each(time: Duration, commands: u64) -> Result<f64> {
    ensure!(commands > 0, "no command ran");
    Ok(time.as_secs_f64() * 1000.0 / commands as f64)
}
