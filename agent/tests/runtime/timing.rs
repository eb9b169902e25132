//! How long things take: `cargo test -p mote-agent --test runtime timing -- --ignored --nocapture`.
//!
//! `MOTE_TEST_AGENT` names the program that helpers are; a release build tells more than a test's.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use mote_agent::runtime::oci::cgroup::{Group, Level};
use mote_agent::runtime::{Limits, Runtime};
use mote_protocol::name::Uid;
use serde_json::{Value, json};

use crate::node::Node;

const ROUNDS: usize = 20;

/// Commands on either side. Clocks of processes count hundredths of a second.
const COMMANDS: u32 = 200;

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

/// CPU time of a command, beside `crun exec` of the same program in the same kind of container, both
/// as a cgroup counts it: some of crun's processes are nobody's children when they end. crun has
/// neither cgroups to look after nor a filter of system calls to install.
#[tokio::test]
#[ignore = "measures, and asserts nothing"]
async fn of_a_command() {
    let node = Node::new();
    node.runtime.create_sandbox(&node.sandbox()).await.expect("sandbox");
    node.runtime.start(&node.request("main", &["sleep", "1000"])).await.expect("start");
    let mut crun = Crun::new(node.path(), node.tree().pod(&Uid([0xc0; 16])));
    let request = node.exec_request("main", &["true"]);
    let pods = node.tree().root();
    for round in ["cold", "warm"] {
        let (before, own) = (used(&pods), own_time());
        for _ in 0..COMMANDS {
            node.runtime.exec(&request).await.expect("exec");
        }
        let ours = (used(&pods).saturating_sub(before), own_time().saturating_sub(own));
        let before = used(&crun.group);
        for _ in 0..COMMANDS {
            crun.run("$CRUN exec floor true");
        }
        let theirs = used(&crun.group).saturating_sub(before);
        println!(
            "{round}: exec_cpu {:.2?} and {:.2?} of the agent, crun_exec_cpu {:.2?}",
            ours.0 / COMMANDS,
            ours.1 / COMMANDS,
            theirs / COMMANDS,
        );
    }
    drop(crun);
    node.finish().await;
}

/// CPU time of all processes below a group since it was made.
fn used(group: &Group) -> Duration {
    let read = |file: &str| {
        group.directories().find_map(|(_, path)| fs::read_to_string(path.join(file)).ok())
    };
    if let Some(nanos) = read("cpuacct.usage") {
        return Duration::from_nanos(nanos.trim().parse().unwrap());
    }
    let stat = read("cpu.stat").expect("a cgroup that counts");
    let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
    Duration::from_micros(micros.parse().unwrap())
}

/// CPU time of this process, which is the agent here: fields 14 and 15 of proc(5).
fn own_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// A container of crun's, under a shell in a mount namespace: crun refuses a hybrid cgroup tree
/// whose v2 half has controllers.
struct Crun {
    group: Group,
    shell: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Crun {
    fn new(directory: &Path, group: Group) -> Self {
        let bundle = directory.join("crun");
        fs::create_dir(&bundle).unwrap();
        symlink(directory.join("layers/base"), bundle.join("rootfs")).unwrap();
        let spec = Command::new("crun").arg("spec").current_dir(&bundle).status();
        assert!(spec.expect("crun is installed").success());
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["root"]["readonly"] = json!(false);
        fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
        let crun =
            format!("crun --root {}/crun-state --cgroup-manager=disabled", directory.display());
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh"]).env("CRUN", crun).current_dir(&bundle);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        group.create(&Limits::default(), Level::Pod).unwrap();
        group.enter(shell.id().cast_signed()).unwrap();
        let input = shell.stdin.take().unwrap();
        let output = BufReader::new(shell.stdout.take().unwrap());
        let mut crun = Self { group, shell, input, output };
        let half = "/sys/fs/cgroup/unified";
        crun.run(&format!("! test -d {half} || umount -l {half}"));
        crun.run("$CRUN run --detach --bundle . floor");
        crun
    }

    fn run(&mut self, line: &str) {
        writeln!(self.input, "{{ {line}; }} < /dev/null > /dev/null; echo $?").unwrap();
        let mut status = String::new();
        self.output.read_line(&mut status).unwrap();
        assert_eq!(status, "0\n", "{line}");
    }
}

impl Drop for Crun {
    fn drop(&mut self) {
        self.run("$CRUN delete --force floor");
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        self.group.remove().expect("nothing is left of crun");
    }
}
