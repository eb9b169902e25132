//! 200 MB from a registry onto the disk: `mote-agent pull` as it is shipped, beside `skopeo` with
//! `umoci` and beside `podman`, in one run and in turn. Ours has everything on the disk when it ends;
//! the others leave that to the kernel.
//!
//! A program of its own and not a module of `images`: what runs beside it would be measured, too.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mote_agent::image::pull::frame::{self, Job, Report, Request};
use mote_agent::image::{Puller, PullerConfig};
use mote_cross::release;
use mote_cross::target::Target;
use mote_protocol::status::Phase;
use mote_registry::{Host, PullSecrets, Settings};
use mote_tests::host::{command_line, memory};
use mote_tests::image::{Builder, Image, Layer};
use mote_tests::manifest::pod;
use mote_tests::node::Node;
use mote_tests::process::sealed_command;
use mote_tests::registry::Registry;
use mote_tests::verify::say;
use mote_tests::wait::{Deadline, let_pass};
use mote_tests::world::World;
use rustix::process::Pid;

/// How often each is measured, in turn; the least counts, since nothing makes a program faster than it
/// is. What else the machine does has to disturb every round of one and spare a round of another to
/// change the order.
const ROUNDS: usize = 5;

/// How much longer than another's the least time may be and still count as no longer: that of one
/// program differs by some percent from run to run, also on a machine that does nothing else.
const NOISE: f64 = 1.05;

/// The most that agent and pull may take together, KiB.
const GOAL: u64 = 12 * 1024;

/// The window that `zstd -19` asks to be held, KiB, and what it takes around that. Such a layer takes it
/// in addition to what others take: the goal is not that of both.
const WINDOW: u64 = 8 * 1024 + 1536;

/// Between two looks at a node's memory.
const LOOK: Duration = Duration::from_millis(5);

/// Bytes in each of the image's three layers.
const LAYER: usize = 67_000_000;

/// What one program needed.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: f64,
    processor: f64,
    peak_kib: u64,
}

impl Cost {
    /// Reads what `time` has written.
    fn read(report: &Path) -> Result<Self> {
        let text = fs::read_to_string(report)?;
        let mut words = text.lines().last().context("an empty report")?.split(' ');
        let mut next = || words.next().with_context(|| format!("an odd report: {text}"));
        let (wall, user, system) = (next()?.parse()?, next()?, next()?);
        let processor = user.parse::<f64>()? + system.parse::<f64>()?;
        Ok(Self { wall, processor, peak_kib: next()?.parse()? })
    }

    /// The least of each.
    fn least(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            processor: self.processor.min(other.processor),
            peak_kib: self.peak_kib.min(other.peak_kib),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wall, processor, peak_kib } = self;
        write!(f, "{wall:6.2} s, {processor:6.2} s of processor, {peak_kib:7} KiB at most")
    }
}

/// A command whose time, the time of all that it starts, and greatest resident memory go to a file.
/// `getrusage` here would not do: a process inherits the peak of the one that starts it.
fn timed(report: &Path) -> Command {
    let mut timed = sealed_command("time");
    timed.args(["--format", "%e %U %S %M", "--output"]).arg(report);
    timed
}

/// Bytes that hardly pack.
fn noise(state: &mut u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // The lower bits of such a sequence repeat soon.
        bytes.extend_from_slice(&state.to_be_bytes()[..4]);
    }
    bytes.truncate(length);
    bytes
}

/// Words that pack about as well as programs and texts do.
fn prose(state: &mut u64, length: usize) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "image",
        "layer",
        "the ",
        "0x00",
        "node",
        "\n",
        "    ",
        "return",
        "struct",
        "pod",
        "of ",
        "status",
        "= ",
        ";\n",
        "registry",
        "container",
    ];
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        for byte in noise(state, 64) {
            let word = WORDS.get(usize::from(byte % 16)).copied().unwrap_or_default();
            bytes.extend_from_slice(word.as_bytes());
            // A name now and then that was not there before.
            if byte > 230 {
                bytes.extend(byte.to_string().bytes());
            }
        }
    }
    bytes.truncate(length);
    bytes
}

/// Files of one size, as many as a layer holds.
fn files(name: &str, size: usize, mut content: impl FnMut(usize) -> Vec<u8>) -> Layer {
    let layer = Layer::default().directory(name, 0o755);
    (0..LAYER / size)
        .fold(layer, |layer, number| layer.file(&format!("{name}/{number}"), 0o644, &content(size)))
}

/// Many small texts, a few large files that do not pack, and some of both in between.
fn image() -> Result<Image> {
    let state = &mut 1;
    let texts = files("texts", 16_000, |size| prose(state, size));
    let large = files("large", 22_000_000, |size| noise(state, size));
    let mixed = files("mixed", 500_000, |size| {
        let mut content = noise(state, size / 2);
        content.extend(prose(state, size / 2));
        content
    });
    Builder::busybox()?.layer(texts).layer(large).layer(mixed).build()
}

/// As tight as people pack without being asked for more memory: a window of 8 MiB, several times over.
fn tight() -> Result<Image> {
    let state = &mut 1;
    let layer = Layer::default().directory("tight", 0o755);
    let layer = (0..40).fold(layer, |layer, number| {
        let mut content = noise(state, 250_000);
        content.extend(prose(state, 250_000));
        layer.file(&format!("tight/{number}"), 0o644, &content)
    });
    Builder::busybox()?.layer(layer.zstd()).build()
}

/// One way to pull the image into a directory.
type Way = fn(&Bench, &Path) -> Result<Cost>;

/// Where all of it happens, and what is pulled.
struct Bench {
    world: World,
    registry: Registry,
    reference: String,
    agent: PathBuf,
}

impl Bench {
    fn new() -> Result<Self> {
        let agent = release::agent(Target::here()?)?;
        let world = World::new()?;
        let registry = world.registry()?;
        let reference = registry.push(&image()?, "speed", "1")?;
        Ok(Self { world, registry, reference, agent })
    }

    /// Measures one way to pull, in a directory that is gone afterwards.
    fn measure(&self, pull: Way) -> Result<Cost> {
        let directory =
            tempfile::Builder::new().prefix("speed-").tempdir_in(self.world.directory())?;
        // What others have left to be written is not this one's work.
        rustix::fs::sync();
        pull(self, directory.path())
    }

    fn ours(&self, directory: &Path) -> Result<Cost> {
        let report = directory.join("report");
        let mut pull = timed(&report);
        pull.arg(&self.agent).arg("pull").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut pull = pull.spawn().context("start a pull")?;
        let host = self.registry.host();
        let hosts = vec![Host { host, plain_http: true, ..Host::default() }];
        let config = PullerConfig::new(directory.join("store"));
        let request = Request {
            // Between us and the pull stands `time`.
            parent: pull.id(),
            store: config.store.clone(),
            cgroup: None,
            reserve: config.reserve,
            registries: Settings { hosts, ..Settings::default() },
            job: Job::Pull { reference: self.reference.clone(), secrets: PullSecrets::default() },
        };
        // As the agent does it when it starts.
        Puller::open(config)?;
        frame::write(&mut pull.stdin.take().context("its input")?, &request)?;
        let mut reports = pull.stdout.take().context("its output")?;
        loop {
            match frame::read(&mut reports)? {
                Report::Failed(error) => bail!("the pull fails: {}", error.message()),
                Report::Done => break,
                _ => {}
            }
        }
        ensure!(pull.wait()?.success(), "the pull does not end well");
        Cost::read(&report)
    }

    fn umoci(&self, directory: &Path) -> Result<Cost> {
        let report = directory.join("report");
        let script = "skopeo --insecure-policy copy --quiet --src-tls-verify=false docker://$0 \
                      oci:layout:it && umoci unpack --image layout:it bundle";
        run(timed(&report).args(["sh", "-c", script, &self.reference]), directory)?;
        Cost::read(&report)
    }

    fn podman(&self, directory: &Path) -> Result<Cost> {
        let report = directory.join("report");
        let mut pull = timed(&report);
        pull.args(["podman", "--root", "storage", "--runroot", "run", "--tmpdir", "tmp"]);
        pull.args(["--network-config-dir", "net", "--storage-driver", "overlay"]);
        pull.args(["pull", "--quiet", "--tls-verify=false", &self.reference]);
        run(&mut pull, directory)?;
        Cost::read(&report)
    }

    /// What agent and pull take together at most while node `name` pulls, and the pull of it, KiB.
    fn peak(&self, name: &str, reference: &str) -> Result<(u64, u64)> {
        let mut options = self.world.options(name);
        options.registries.push(self.registry.host());
        let mut node = self.world.prepare(options)?.with_program(&self.agent).quiet();
        node.start()?;
        self.world.wait_for_birth(&node)?;
        let sleeps = pod("pulled").container("main", reference, &["sleep", "1001"]);
        self.world.operator.apply(&sleeps, &node)?;
        let (mut both, mut alone, deadline) = (0, 0, Deadline::patient());
        while !self.runs(&node)? {
            ensure!(deadline.remaining().is_some(), "the pod does not run; log:\n{}", node.log());
            if let Some(pull) = pull_of(node.pid()?)
                // It may have ended just now.
                && let Ok(pull) = memory(pull)
            {
                both = both.max(pull.pss_kib + memory(node.pid()?)?.pss_kib);
                alone = alone.max(pull.pss_kib);
            }
            let_pass(LOOK);
        }
        Ok((both, alone))
    }

    fn runs(&self, node: &Node) -> Result<bool> {
        let last = self.world.statuses(node, "pulled").pop();
        let phase = last.map(|status| status.phase);
        ensure!(phase != Some(Phase::Failed), "the pod failed; log:\n{}", node.log());
        Ok(phase == Some(Phase::Running))
    }
}

/// Runs a tool in a directory, which is also where it keeps what it needs meanwhile.
fn run(command: &mut Command, directory: &Path) -> Result<()> {
    let output = command.current_dir(directory).env("TMPDIR", directory).output();
    let output = output.with_context(|| format!("start {command:?}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} fails:\n{told}");
    Ok(())
}

/// The pull process of an agent, if one runs.
fn pull_of(agent: Pid) -> Option<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.as_raw_nonzero())).ok()?;
    let children =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let children: Vec<_> = children.collect();
    let pids = children.iter().flat_map(|text| text.split_whitespace());
    let mut pids = pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    pids.find(|pid| command_line(*pid).ends_with(" pull"))
}

#[test]
#[ignore = "takes minutes and measures time: cargo verify --only speed"]
fn a_pull_is_as_fast_as_others_and_takes_less_memory() -> Result<()> {
    let bench = Bench::new()?;
    let ways: [(&str, Way); 3] = [
        ("mote-agent pull", Bench::ours),
        ("skopeo + umoci", Bench::umoci),
        ("podman pull", Bench::podman),
    ];
    let mut costs = Vec::new();
    for _ in 0..ROUNDS {
        for (place, (_, pull)) in ways.iter().enumerate() {
            let cost = bench.measure(*pull)?;
            match costs.get_mut(place) {
                None => costs.push(cost),
                Some(least) => *least = cost.least(*least),
            }
        }
    }
    for ((name, _), cost) in ways.iter().zip(&costs) {
        say(&format!("200 MB with {name:16} {cost}"))?;
    }
    let (both, alone) = bench.peak("n1", &bench.reference)?;
    say(&format!("200 MB on a node: agent and pull {both} KiB at most, the pull {alone}"))?;
    let tight = bench.registry.push(&tight()?, "tight", "1")?;
    let (window, alone) = bench.peak("n2", &tight)?;
    say(&format!("a window of 8 MiB: agent and pull {window} KiB at most, the pull {alone}"))?;
    let [ours, umoci, podman] = costs.as_slice() else { bail!("three ways were measured") };
    let fastest = umoci.wall.min(podman.wall);
    // The processor does not lie; the clock also shows what else the machine does.
    let cheapest = umoci.processor.min(podman.processor);
    ensure!(
        ours.processor < cheapest,
        "{:.2} s of processor, others {cheapest:.2}",
        ours.processor
    );
    ensure!(ours.wall <= fastest * NOISE, "{:.2} s, others {fastest:.2}", ours.wall);
    let least = umoci.peak_kib.min(podman.peak_kib);
    ensure!(ours.peak_kib < least, "{} KiB, others {least}", ours.peak_kib);
    ensure!(both > 0 && both <= GOAL, "{both} KiB, the goal is {GOAL}");
    ensure!(window > 8 * 1024 && window <= both + WINDOW, "{window} KiB, {both} without a window");
    Ok(())
}
