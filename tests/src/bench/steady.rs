//! What a node costs while nothing happens: bytes on the wire, writes to its card, wakeups.
//!
//! The node, its broker and its registry are alone in a network of their own. There the kernel counts the packets
//! of the agent's one connection, headers of TCP and IP included, which others of the same machine are not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use mote_cross::release;
use mote_cross::target::Target;
use mote_protocol::frame::{self, Body};
use mote_protocol::node::{Heartbeat, NodeStatus};
use mote_protocol::status::Phase;
use rustix::process::Pid;
use serde_json::Value;

use super::Subject;
use super::cost::switches;
use crate::manifest::pod;
use crate::network::OwnNetwork;
use crate::wait::let_pass;
use crate::world::topic;

/// Goals, as they are promised of a steady node with ten pods and no probes.
const DAY_BYTES: f64 = 1e6;
const HEARTBEAT_BYTES: usize = 32;
const STATUS_BYTES: usize = 512;

/// Until all is over that a start sets in motion, and every file that is read now and then was read once: a file
/// system that keeps times of access notes them the first time.
const SETTLE: Duration = Duration::from_mins(3);

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// Measures and prints; fails where a goal is missed.
pub(super) fn run(minutes: u32, pods: u32) -> Result<()> {
    let target = Target::here()?;
    println!("building the release for {target}");
    let (agent, mote) = (release::agent(target)?, release::mote(target)?);
    let network = OwnNetwork::enter()?;
    let (subject, _registry) = Subject::new(&agent, &mote)?;
    for number in 0..pods {
        let name = format!("m{number}");
        let rests = pod(&name).container("main", &subject.image, &["/workload", "rest"]);
        subject.world.operator.apply(&rests, &subject.node)?;
        subject.world.wait_for_phase(&subject.node, &name, Phase::Running)?;
    }
    let counter = Counter::of(&network, subject.node.pid()?)?;
    println!(
        "{pods} pods run; at rest in {} s, then watched for {minutes} minutes",
        SETTLE.as_secs()
    );
    let_pass(SETTLE);
    let watched = Duration::from_secs(60 * u64::from(minutes));
    let begun = SystemTime::now();
    let before = (counter.bytes()?, written(&subject)?, switches(&subject)?);
    let_pass(watched);
    let after = (counter.bytes()?, written(&subject)?, switches(&subject)?);
    let seconds = watched.as_secs_f64();
    let day = (after.0 - before.0) as f64 * DAY / seconds;
    let (flash, awoke) = (after.1 - before.1, (after.2 - before.2) as f64 / seconds);
    let sizes = Sizes::of(&subject)?;
    println!("\n{:<46} {:>12}  goal", "a steady node", "measured");
    let row = |name: &str, value: f64, goal: String| println!("{name:<46} {value:>12.1}  {goal}");
    row("bytes on the wire per day (TCP/IP included)", day, format!("<= {DAY_BYTES}"));
    row("bytes written to its card meanwhile", flash as f64, "0".into());
    row("wakeups per second, agent and pods' pauses", awoke, "<= 1".into());
    row("bytes of a heartbeat", sizes.heartbeat as f64, format!("< {HEARTBEAT_BYTES}"));
    row("bytes of its NodeStatus", sizes.status as f64, format!("< {STATUS_BYTES}"));
    row("the same node as a kubelet's JSON", sizes.json as f64, String::new());
    for path in changed(&subject.node.footprint().directory, begun)? {
        println!("written: {}", path.display());
    }
    ensure!(day <= DAY_BYTES, "{day:.0} bytes a day");
    ensure!(flash == 0, "{flash} bytes were written");
    ensure!(awoke <= 1.0, "{awoke:.2} wakeups a second");
    ensure!(sizes.heartbeat < HEARTBEAT_BYTES && sizes.status < STATUS_BYTES, "too long");
    Ok(())
}

/// What the kernel counts of one connection.
struct Counter<'a> {
    network: &'a OwnNetwork,
}

impl<'a> Counter<'a> {
    /// Of the one that a process has to its broker.
    fn of(network: &'a OwnNetwork, agent: Pid) -> Result<Self> {
        let sockets = network.run("ss", &["-Htnp", "state", "established"])?;
        let own = format!("pid={},", agent.as_raw_nonzero());
        let lines: Vec<_> = sockets.lines().filter(|line| line.contains(&own)).collect();
        let [line] = lines[..] else { anyhow::bail!("not one connection of the agent: {sockets}") };
        let local = line.split_whitespace().nth(2).context("an address")?;
        let port = local.rsplit(':').next().context("a port")?;
        network.run("nft", &["add", "table", "inet", "count"])?;
        let chain = "{ type filter hook input priority 0; }";
        network.run("nft", &["add", "chain", "inet", "count", "c", chain])?;
        for end in ["sport", "dport"] {
            let rule = format!("tcp {end} {port} counter");
            network.run("nft", &["add", "rule", "inet", "count", "c", &rule])?;
        }
        Ok(Self { network })
    }

    fn bytes(&self) -> Result<u64> {
        let listed = self.network.run("nft", &["-j", "list", "table", "inet", "count"])?;
        let listed: Value = serde_json::from_str(&listed)?;
        let all = listed["nftables"].as_array().context("what nft lists")?;
        let rules = all.iter().filter_map(|one| one["rule"]["expr"].as_array());
        let counters = rules.flatten().filter_map(|part| part["counter"]["bytes"].as_u64());
        Ok(counters.sum())
    }
}

/// Bytes that the agent and the pauses have caused to be written to a disk so far (`proc_pid_io(5)`).
fn written(subject: &Subject) -> Result<u64> {
    let mut sum = 0;
    for pid in subject.node.pauses()?.into_iter().chain([subject.node.pid()?]) {
        let path = format!("/proc/{}/io", pid.as_raw_nonzero());
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        sum += line.context("write_bytes")?.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// Files that were written since.
fn changed(directory: &Path, since: SystemTime) -> Result<Vec<PathBuf>> {
    let (mut left, mut found) = (vec![directory.to_owned()], Vec::new());
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let Ok(about) = path.symlink_metadata() else { continue };
            if about.is_dir() {
                left.push(path);
            } else if about.is_file() && about.modified()? > since {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// What the node tells of itself, in bytes.
struct Sizes {
    heartbeat: usize,
    status: usize,
    json: usize,
}

impl Sizes {
    fn of(subject: &Subject) -> Result<Self> {
        let retained = subject.world.observer.retained()?;
        let told = |below: &str| {
            let topic = topic(&subject.node, below);
            retained.get(&topic).cloned().with_context(|| format!("nothing on {topic}"))
        };
        let status = told("status/node")?;
        frame::decode::<NodeStatus>(&status)?;
        let heartbeat = match told("heartbeat") {
            Ok(heartbeat) => heartbeat,
            // A minute may pass without one.
            Err(_) => frame::encode(&Heartbeat { at: 864_000, ..Heartbeat::default() })?,
        };
        ensure!(Heartbeat::MAX >= heartbeat.len(), "a heartbeat");
        let words = ["get", "nodes", "-o", "json"];
        let json: Value = serde_json::from_str(&subject.world.operator.run(&words)?.succeeded()?)?;
        let node = json["items"].get(0).context("a node")?;
        Ok(Self { heartbeat: heartbeat.len(), status: status.len(), json: node.to_string().len() })
    }
}
