//! mote on whole machines: a kernel of its own, cgroup v2, another processor, and the agent as it
//! is shipped, over TLS.
//!
//! One pod goes the whole way on each: it runs, one of its containers runs out of memory, the
//! agent is killed, the next one adopts the pod and sees it end. Another is given variables and
//! volumes, and may open no device but its own. Others have more rights and fewer,
//! and one is confined by `AppArmor`. Other boards run out of memory, again and again. On another a
//! whole Debian with systemd runs pods from its first boot on.

mod app_armor;
mod node;
mod pressure;
mod rights;
mod systemd;

use anyhow::{Context, Result, bail, ensure};
use mote_protocol::status::{ContainerState, Phase, PodStatus};
use mote_tests::board::machine::Machine;
use mote_tests::manifest::{Manifest, config_map, pod, secret};
use mote_tests::world::{container, terminated};
use serde_json::json;

use node::{BUSYBOX, BoardNode, SERVICE};

/// The most an emulator may take, MiB.
const MEMORY: u64 = 1024;

/// What the container that runs out of memory may have, in bytes.
const LIMIT: u64 = 32 * 1024 * 1024;

/// What the container that stays does.
const STEADY: &str = "while :; do sleep 1; done";

#[test]
#[ignore = "boots a virtual machine: cargo verify --only boards"]
fn x86_64_with_cgroup_v2() -> Result<()> {
    one_pod(Machine::Pc)
}

#[test]
#[ignore = "boots a virtual machine: cargo verify --only boards"]
fn aarch64_with_cgroup_v2() -> Result<()> {
    one_pod(Machine::CortexA53)
}

#[test]
#[ignore = "boots a virtual machine: cargo verify --only boards"]
fn a_debian_with_systemd_runs_pods_from_its_first_boot_on() -> Result<()> {
    systemd::from_its_first_boot_on(Machine::Pc)
}

fn one_pod(machine: Machine) -> Result<()> {
    let mut node = BoardNode::boot(machine)?;
    controllers_are_those_of_cgroup_v2(&mut node)?;
    node.start()?;
    node.apply(&pair())?;
    one_container_runs_out_of_memory_and_the_other_stays(&mut node)?;
    a_pull_has_bounds_of_its_own(&mut node)?;
    the_kernel_holds_the_limits(&mut node)?;
    a_container_has_what_it_is_given_and_no_more(&mut node)?;
    rights::rights_are_those_asked_for(&mut node)?;
    rights::limits_are_seen_and_kept(&mut node)?;
    app_armor::profiles_confine_who_asks_for_them(&mut node)?;
    the_next_agent_adopts_what_runs(&mut node)?;
    nothing_is_left_of_a_deleted_pod(&mut node)?;
    let peak = node.guest.peak_memory_kib()? / 1024;
    ensure!(peak <= MEMORY, "the emulator took {peak} MiB, more than {MEMORY}");
    node.guest.leave()
}

/// A container that stays until it is asked to end, and then ends with 7, beside one that wants
/// more memory than it may have.
fn pair() -> Manifest {
    let greedy = format!("exec busybox dd if=/dev/zero of=/dev/null bs={} count=1", 4 * LIMIT);
    pod("pair")
        .once()
        .container("steady", BUSYBOX, &["sh", "-c", &format!("trap 'exit 7' TERM; {STEADY}")])
        .with("resources", json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}))
        .container("greedy", BUSYBOX, &["sh", "-c", &greedy])
        .with("resources", json!({"limits": {"memory": LIMIT.to_string()}}))
}

fn controllers_are_those_of_cgroup_v2(node: &mut BoardNode) -> Result<()> {
    let controllers = node.guest.run("cat /sys/fs/cgroup/cgroup.controllers")?;
    for wanted in ["cpu", "memory", "pids"] {
        let found = controllers.split_whitespace().any(|name| name == wanted);
        ensure!(found, "no {wanted} among {controllers}");
    }
    Ok(())
}

fn one_container_runs_out_of_memory_and_the_other_stays(node: &mut BoardNode) -> Result<()> {
    let status = node.wait_for("pair", "greedy has ended, steady runs", |status| {
        terminated(status, "greedy").is_ok() && runs(status, "steady")
    })?;
    let end = terminated(&status, "greedy")?;
    ensure!(&*end.reason == "OOMKilled" && end.exit_code == 137, "greedy ended so: {end:?}");
    ensure!(status.phase == Phase::Running, "the pod is {:?}", status.phase);
    let shown = node.field("pair", ".status.phase")?;
    ensure!(shown == "Running", "mote get shows {shown}");
    Ok(())
}

/// The image that the pod has came through a pull, which may hold up the node's memory no more than this.
fn a_pull_has_bounds_of_its_own(node: &mut BoardNode) -> Result<()> {
    let mut read = |file: &str| node.guest.run(&format!("cat {SERVICE}/{file}"));
    let (high, weight) = (read("pull/memory.high")?, read("pull/cpu.weight")?);
    let numbers = (high.trim().parse::<u64>()?, weight.trim());
    ensure!(numbers == (48 * 1024 * 1024, "20"), "memory.high {high}, cpu.weight {weight}");
    let peak: u64 = read("pull/memory.peak")?.trim().parse()?;
    println!("pulls took {} KiB of memory at most, page cache included", peak / 1024);
    ensure!(peak > 100 * 1024 && peak <= 49 * 1024 * 1024, "{peak} bytes");
    ensure!(!read("agent/cgroup.procs")?.trim().is_empty(), "the agent is beside it");
    Ok(())
}

/// What cgroup v2 calls the requests and limits, read back from the kernel.
fn the_kernel_holds_the_limits(node: &mut BoardNode) -> Result<()> {
    let steady = node.process(STEADY)?;
    let group = node.guest.run(&format!("cut -d: -f3 /proc/{}/cgroup", steady.pid))?;
    let container = format!("/sys/fs/cgroup{}", group.trim());
    for (file, wanted) in [
        // Half a processor, in microseconds of each 100,000.
        ("cpu.max", "50000 100000"),
        // 102 shares of 1024, on v2's scale.
        ("cpu.weight", "17"),
        // The pod's: what the node's configuration allows by default.
        ("../pids.max", "1024"),
    ] {
        let found = node.guest.run(&format!("cat {container}/{file}"))?;
        ensure!(found.trim() == wanted, "{file} is {found}, not {wanted}");
    }
    Ok(())
}

/// Volumes and variables, and a device that no rule allows: on v2 a program of ours refuses it.
fn a_container_has_what_it_is_given_and_no_more(node: &mut BoardNode) -> Result<()> {
    node.apply(&config_map("settings", json!({"level": "info"})))?;
    node.apply(&secret("login", json!({"word": "hunter2"})))?;
    let opens = |node: &str| format!("busybox dd if=/dev/{node} of=/dev/null bs=1 count=1 2>&1");
    let checks = [
        "[ \"$LEVEL\" = info ]".to_owned(),
        "[ \"$(busybox cat /settings/level)\" = info ]".to_owned(),
        "[ \"$(busybox cat /login/word)\" = hunter2 ]".to_owned(),
        "[ \"$(busybox stat -c %g /data)\" = 2000 ]".to_owned(),
        // Everybody may make nodes; `full` is what every container may open, and nobody this.
        "busybox mknod /dev/full2 c 1 7".to_owned(),
        opens("full2"),
        "busybox mknod /dev/none c 240 7".to_owned(),
        format!("{} | busybox grep -q 'not permitted'", opens("none")),
    ];
    let from = json!({"configMapKeyRef": {"name": "settings", "key": "level"}});
    let manifest = pod("given")
        .once()
        .container("main", BUSYBOX, &["sh", "-c", &checks.join(" && ")])
        .with("env", json!([{"name": "LEVEL", "valueFrom": from}]))
        .volume("settings", json!({"configMap": {"name": "settings"}}), "/settings")
        .volume("login", json!({"secret": {"secretName": "login"}}), "/login")
        .volume("data", json!({"emptyDir": {"medium": "Memory"}}), "/data")
        .spec("securityContext", json!({"fsGroup": 2000}));
    node.apply(&manifest)?;
    let status = node.wait_for("given", "its end", |status| status.phase.is_terminal())?;
    if status.phase == Phase::Failed {
        let log = node.guest.run("cat /run/mote/pods/*/logs/main/*.log")?;
        bail!("something is not as it was asked for: {log}");
    }
    node.delete("given").context("delete the pod")
}

fn the_next_agent_adopts_what_runs(node: &mut BoardNode) -> Result<()> {
    let before = node.process(STEADY)?;
    node.kill()?;
    let orphan = node.process(STEADY)?;
    ensure!(orphan == before, "without an agent: {before:?} became {orphan:?}");
    node.start()?;
    let adopted = node.process(STEADY)?;
    ensure!(adopted == before, "under the next agent: {before:?} became {adopted:?}");
    // It has adopted what it did not start if it learns how that ends.
    node.guest.run(&format!("kill -TERM {}", adopted.pid))?;
    let status = node.wait_for("pair", "failed", |status| status.phase == Phase::Failed)?;
    let end = terminated(&status, "steady")?;
    ensure!(end.exit_code == 7, "steady ended so: {end:?}");
    let end = terminated(&status, "greedy")?;
    ensure!(&*end.reason == "OOMKilled", "greedy is remembered so: {end:?}");
    for name in ["steady", "greedy"] {
        let restarts = container(&status, name)?.restarts;
        ensure!(restarts == 0, "{name} was started again {restarts} times");
    }
    Ok(())
}

fn nothing_is_left_of_a_deleted_pod(node: &mut BoardNode) -> Result<()> {
    node.delete("pair").context("delete the pod")?;
    for (what, command) in [
        ("cgroups", "find /sys/fs/cgroup/mote.slice -mindepth 1 -type d"),
        (
            "mounts",
            "grep -E 'overlay|/var/lib/mote/|/run/mote/(pods|volumes|secrets)' /proc/mounts || true",
        ),
        ("processes", "grep -ls '^mote-pause$' /proc/[0-9]*/comm; true"),
    ] {
        let left = node.guest.run(command)?;
        ensure!(left.is_empty(), "{what} are left: {left}");
    }
    Ok(())
}

fn runs(status: &PodStatus, name: &str) -> bool {
    let container = container(status, name);
    container.is_ok_and(|container| matches!(container.state, ContainerState::Running { .. }))
}
