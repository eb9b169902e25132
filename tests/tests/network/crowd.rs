//! As many pods as a node may have: what the last of them costs, and what is left when all are gone.

use std::fs;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mote_agent::network::{Share, link};
use mote_protocol::status::{Phase, PodStatus};
use mote_tests::host::{Remains, open_files};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::network::OwnNetwork;
use mote_tests::node::{Node, NodeOptions};
use mote_tests::process::{Process, command};
use mote_tests::verify::say;
use mote_tests::world::{BUSYBOX, status_topic};
use rustix::process::Signal;
use serde_json::json;

use crate::services::until;
use crate::{BOTH, Machine};

/// The pods whose cost is looked at. The last is as many as a node may be told to take.
const LOOKS: [usize; 3] = [1, 50, 110];

/// How often each is counted, and timed. The least counts: a look at the whole node, which comes every
/// some minutes, is no part of a pod, and nothing makes a machine faster than it is.
const TRIES: usize = 2;

/// How often the cable alone is timed.
const CABLES: usize = 20;

/// How much more the last pod may take than the first, in percent: less than one list of addresses or
/// interfaces of them all, which is a hundred times what one pod has of those.
const TOLERANCE: u64 = 10;

/// What the network of one pod takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Bytes to and from the kernel by netlink.
    bytes: u64,
    /// Calls that they went by.
    calls: u64,
    /// Times that `nft` was started.
    rules: usize,
}

/// What a node holds of the machine.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    /// Interfaces, addresses, routes, rules with what their sets and maps hold, and numbers of network
    /// namespaces that interfaces lead to or led to: the kernel forgets one together with its namespace.
    network: Vec<String>,
    descriptors: Vec<String>,
    remains: Remains,
}

/// All of one length: the kernel is told of them.
fn name(number: usize) -> String {
    format!("p{number:03}")
}

fn cheap(number: usize) -> Manifest {
    // Process 1 of a namespace hears no SIGTERM.
    let pod = pod(&name(number)).spec("terminationGracePeriodSeconds", json!(0));
    pod.container("main", BUSYBOX, &["sleep", "1000001"])
}

impl Machine {
    /// Starts pods, all at once, and waits until they run.
    fn fill(&self, node: &Node, numbers: Range<usize>) -> Result<()> {
        let topics: Vec<_> =
            numbers.clone().map(|number| status_topic(node, &name(number))).collect();
        if topics.is_empty() {
            return Ok(());
        }
        // What begins so is not taken for one object of JSON.
        let all: Vec<String> = numbers.map(|number| cheap(number).text()).collect();
        let words = ["apply", "-f", "-", "--node", node.name()];
        self.world
            .operator
            .run_with(&words, &format!("---\n{}", all.join("\n---\n")))?
            .succeeded()?;
        self.world.observer.wait(&format!("{} pods to run", topics.len()), |view| {
            let runs = |topic: &String| {
                view.body::<PodStatus>(topic).is_some_and(|status| status.phase == Phase::Running)
            };
            topics.iter().all(runs).then_some(())
        })
    }

    fn delete(&self, node: &Node, words: &[&str]) -> Result<()> {
        let all = [&["delete", "pod", "--node", node.name()], words].concat();
        self.world.operator.run(&all)?.succeeded().map(drop)
    }

    /// Starts one pod while what it takes is counted.
    fn count(&self, node: &Node, number: usize) -> Result<Cost> {
        let report = self.world.directory().join("strace");
        let pid = node.pid()?.as_raw_nonzero().to_string();
        let mut strace = command("strace");
        // Descriptors are told by what they are.
        strace.args(["-f", "-yy", "-e", "trace=sendto,recvfrom,sendmsg,recvmsg,execve"]);
        strace.args(["-p", &pid, "-o"]).arg(&report);
        let mut strace = Process::spawn("strace", &mut strace)?;
        strace.wait_for_line("attached")?;
        self.fill(node, number..number + 1)?;
        strace.signal(Signal::INT)?;
        strace.wait()?;
        let text = fs::read_to_string(&report)?;
        cost(&text)
    }

    /// What the pod of this number costs where all before it are there, and how long it takes to start.
    fn look(&self, node: &Node, number: usize) -> Result<(Cost, Duration)> {
        let (mut costs, mut times) = (Vec::new(), Vec::new());
        for _ in 0..TRIES {
            costs.push(self.count(node, number)?);
            self.delete(node, &[&name(number)])?;
            let begin = Instant::now();
            self.fill(node, number..number + 1)?;
            times.push(begin.elapsed());
            self.delete(node, &[&name(number)])?;
        }
        let cost = costs.into_iter().min().context("a cost")?;
        Ok((cost, times.into_iter().min().context("a time")?))
    }

    fn held(&self, node: &Node) -> Result<Held> {
        let ip = |words: &[&str]| self.network.run("ip", words);
        let network = vec![
            ip(&["-oneline", "link"])?,
            ip(&["-oneline", "address"])?,
            ip(&["-4", "route", "show", "table", "all"])?,
            ip(&["-6", "route", "show", "table", "all"])?,
            ip(&["netns", "list-id"])?,
            self.network.run("nft", &["list", "ruleset"])?,
        ];
        let descriptors = open_files(node.pid()?, &node.state())?;
        Ok(Held { network, descriptors, remains: node.footprint().remains()? })
    }
}

/// Reads what strace has written.
fn cost(text: &str) -> Result<Cost> {
    let mut cost = Cost { bytes: 0, calls: 0, rules: 0 };
    for line in text.lines() {
        if line.contains("execve(\"/") && line.contains("/nft\"") {
            cost.rules += 1;
        }
        let (call, result) = line.rsplit_once(" = ").unwrap_or((line, ""));
        let spoken = call.contains("<NETLINK:[ROUTE") || call.contains("<NETLINK:[NETFILTER");
        if let Some(bytes) = result.parse::<u64>().ok().filter(|_| spoken) {
            cost.bytes += bytes;
            cost.calls += 1;
        }
    }
    ensure!(cost.calls > 0, "nobody spoke netlink:\n{text}");
    Ok(cost)
}

/// How long one more cable takes, at best: what the agent does for it, in the network that this thread is in.
fn cable() -> Result<Duration> {
    let pod = OwnNetwork::new()?;
    let network = pod.open()?;
    let addresses = vec!["10.188.15.254".parse()?, "fd00:188::fffe".parse()?];
    let share = Share { addresses, ..Share::default() };
    let mut best = Duration::MAX;
    for _ in 0..CABLES {
        let begin = Instant::now();
        link::lay(network.as_fd(), "default/cable", &share)?;
        best = best.min(begin.elapsed());
        link::remove(&share.addresses)?;
    }
    Ok(best)
}

#[test]
fn the_last_pod_costs_what_the_first_did_and_nothing_is_left() -> Result<()> {
    let machine = Machine::new()?;
    let [first, _, most] = LOOKS;
    let extra = format!("[limits]\npods = {most}\n");
    let node = machine.world.node_with(NodeOptions { extra, ..machine.options(BOTH) })?;
    // What is made once is there.
    machine.fill(&node, 0..1)?;
    machine.delete(&node, &[&name(0)])?;
    let before = machine.held(&node)?;
    let (mut next, mut costs) = (first, Vec::new());
    for number in LOOKS {
        machine.fill(&node, next..number)?;
        next = number;
        let (cost, start) = machine.look(&node, number)?;
        let cable = cable()?;
        say(&format!(
            "pod {number}: {} bytes of netlink in {} calls, nft {} times; cable {:.2} ms, start {:.0} ms",
            cost.bytes,
            cost.calls,
            cost.rules,
            cable.as_secs_f64() * 1e3,
            start.as_secs_f64() * 1e3
        ))?;
        costs.push(cost);
    }
    machine.fill(&node, most..most + 1)?;
    ensure!(machine.cables()?.len() == most, "all are there at once: {:?}", machine.cables()?);
    machine.delete(&node, &["--all"])?;
    // The kernel takes namespaces away in its own time.
    until(|| {
        let now = machine.held(&node)?;
        ensure!(now == before, "{now:#?}\nbefore:\n{before:#?}");
        Ok(())
    })?;
    let bound = |least: u64| least * (100 + TOLERANCE) / 100;
    for cost in &costs {
        ensure!(cost.rules == 0, "no rule is about one pod without ports: {costs:?}");
        ensure!(cost.bytes <= bound(costs[0].bytes), "it grows: {costs:?}");
        ensure!(cost.calls <= bound(costs[0].calls), "it grows: {costs:?}");
    }
    Ok(())
}
