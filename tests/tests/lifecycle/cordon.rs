//! Nodes that are kept free of pods.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mote_protocol::command::{Answer, Reply};
use mote_protocol::node::NodeStatus;
use mote_protocol::status::{ContainerStatus, Phase, PodCondition, PodStatus};
use mote_tests::manifest::{Manifest, pod};
use mote_tests::node::Node;
use mote_tests::observer::Message;
use mote_tests::wait::{Deadline, Watched};
use mote_tests::world::{BUSYBOX, World, container, topic, waiting};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

const MESSAGE: &str = "0/1 nodes are available: 1 node(s) were unschedulable.";

fn sleeper(name: &str) -> Manifest {
    pod(name).container("main", BUSYBOX, &["sleep", "1001"])
}

fn mote(world: &World, words: &[&str]) -> Result<String> {
    world.operator.run(words)?.succeeded()
}

fn is_unschedulable(status: &PodStatus) -> bool {
    let scheduled = status.conditions.is_true(PodCondition::PodScheduled);
    !scheduled && waiting(status, "main") == Some(("Unschedulable", MESSAGE))
}

fn wait_for_schedulable(world: &World, node: &Node, schedulable: bool) -> Result<()> {
    let topic = topic(node, "status/node");
    world.observer.wait(&format!("a node that is schedulable: {schedulable}"), |view| {
        let status = view.body::<NodeStatus>(&topic)?;
        (status.unschedulable != schedulable).then_some(())
    })
}

#[test]
fn new_pods_wait_on_a_cordoned_node_and_what_runs_goes_on() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    world.operator.apply(&sleeper("old"), &node)?;
    let before = world.wait_for_phase(&node, "old", Phase::Running)?;
    assert_eq!(mote(&world, &["cordon", "n1"])?, "node/n1 cordoned\n");
    assert_eq!(mote(&world, &["cordon", "n1"])?, "node/n1 already cordoned\n");
    assert!(
        world.wait_for_event(&node, "NodeNotSchedulable")?.starts_with("Node n1 status is now")
    );
    wait_for_schedulable(&world, &node, false)?;
    assert!(mote(&world, &["get", "nodes"])?.contains("Ready,SchedulingDisabled"));
    let described = mote(&world, &["describe", "node", "n1"])?;
    let taint = "node.kubernetes.io/unschedulable:NoSchedule";
    assert!(described.contains(taint), "{described}");
    let unschedulable = described.lines().find(|line| line.starts_with("Unschedulable:"));
    assert!(unschedulable.is_some_and(|line| line.ends_with("true")), "{described}");

    world.operator.apply(&sleeper("new"), &node)?;
    let status = world.wait_for(&node, "new", "that it waits", is_unschedulable)?;
    assert_eq!(status.phase, Phase::Pending);
    assert_eq!(world.wait_for_event(&node, "FailedScheduling")?, MESSAGE);
    let toleration = json!([{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]);
    let tolerant = sleeper("tolerant").spec("tolerations", toleration);
    world.operator.apply(&tolerant, &node)?;
    world.wait_for_phase(&node, "tolerant", Phase::Running)?;

    // As a power cut would end it.
    world.replace_agent(&mut node)?;
    wait_for_schedulable(&world, &node, false)?;
    world.operator.apply(&sleeper("newer"), &node)?;
    world.wait_for(&node, "newer", "that it waits", is_unschedulable)?;
    world.wait_for(&node, "new", "that it still waits", is_unschedulable)?;
    let after = world.wait_for_phase(&node, "old", Phase::Running)?;
    assert_eq!(container(&after, "main")?.restarts, 0, "it went on: {before:?}");
    assert_eq!(node.pauses()?.len(), 2, "those that run, and no other");

    assert_eq!(mote(&world, &["uncordon", "n1"])?, "node/n1 uncordoned\n");
    assert_eq!(mote(&world, &["uncordon", "n1"])?, "node/n1 already uncordoned\n");
    for name in ["new", "newer"] {
        let status = world.wait_for_phase(&node, name, Phase::Running)?;
        assert!(status.conditions.is_true(PodCondition::PodScheduled));
    }
    wait_for_schedulable(&world, &node, true)?;
    // What began meanwhile is none that waits when it is cordoned once more.
    mote(&world, &["cordon", "n1"])?;
    world.replace_agent(&mut node)?;
    wait_for_schedulable(&world, &node, false)?;
    let ready = |status: &PodStatus| container(status, "main").is_ok_and(ContainerStatus::ready);
    world.wait_for(&node, "new", "that it goes on", ready)?;
    assert_eq!(node.processes("sleep 1001")?.len(), 4);
    Ok(())
}

#[test]
fn a_pod_that_is_replaced_waits_and_one_that_learns_to_tolerate_begins() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&sleeper("web"), &node)?;
    let before = world.wait_for_phase(&node, "web", Phase::Running)?;
    mote(&world, &["cordon", "n1"])?;
    let other = pod("web").container("main", BUSYBOX, &["sleep", "1002"]);
    let words = ["apply", "-f", "-", "--node", "n1", "--force"];
    world.operator.run_with(&words, &other.text())?.succeeded()?;
    let status = world.wait_for(&node, "web", "that the next one waits", |status| {
        status.uid != before.uid && is_unschedulable(status)
    })?;
    assert_eq!(status.phase, Phase::Pending);
    assert!(node.processes("sleep 1001")?.is_empty(), "the one before has ended");
    let toleration = json!([{"operator": "Exists"}]);
    world.operator.apply(&other.spec("tolerations", toleration), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    Ok(())
}

#[test]
fn a_node_that_is_not_there_is_not_cordoned() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    node.terminate()?;
    for words in [["cordon", "n1"], ["uncordon", "n1"], ["drain", "n1"]] {
        let error = world.operator.run(&words)?.refused()?;
        assert!(error.contains("node n1 is offline"), "{error}");
    }
    let error = world.operator.run(&["cordon", "n2"])?.refused()?;
    assert!(error.contains("nodes \"n2\" not found"), "{error}");
    Ok(())
}

/// A pod that notes how it ends in a volume, and that it came back.
fn keeper(name: &str) -> Manifest {
    let script = "trap 'echo ended >> /data/log; exit 0' TERM; echo began >> /data/log; \
                  while :; do sleep 0.1; done";
    pod(name)
        .container("main", BUSYBOX, &["sh", "-c", script])
        .with("volumeMounts", json!([{"name": "data", "mountPath": "/data"}]))
        .spec("volumes", json!([{"name": "data", "emptyDir": {}}]))
}

fn notes(world: &World, name: &str) -> Result<String> {
    mote(world, &["exec", name, "--", "cat", "/data/log"])
}

#[test]
fn a_drained_node_holds_its_pods_and_gives_them_back() -> Result<()> {
    let world = World::new()?;
    let mut options = world.options("n1");
    options.extra = "[streams]\nexec = true\n".into();
    let mut node = world.node_with(options)?;
    world.operator.apply(&keeper("web"), &node)?;
    let batch = keeper("batch").spec("restartPolicy", json!("OnFailure"));
    world.operator.apply(&batch, &node)?;
    for name in ["web", "batch"] {
        world.wait_for(&node, name, "its first life", |status| {
            container(status, "main").is_ok_and(ContainerStatus::ready)
        })?;
    }
    let dry = mote(&world, &["drain", "n1", "--dry-run"])?;
    assert_eq!(
        dry,
        "node/n1 cordoned (dry run)\nevicting pod default/batch (dry run)\n\
         evicting pod default/web (dry run)\nnode/n1 drained (dry run)\n"
            .to_owned()
    );
    wait_for_schedulable(&world, &node, true)?;
    let told = mote(&world, &["drain", "n1"])?;
    let lines: Vec<_> = told.lines().collect();
    let [cordoned, evicting @ .., drained] = &lines[..] else { anyhow::bail!("{told}") };
    assert_eq!((*cordoned, *drained), ("node/n1 cordoned", "node/n1 drained"), "{told}");
    for line in ["evicting pod default/web", "pod/web evicted", "pod/batch evicted"] {
        assert!(evicting.contains(&line), "{told}");
    }
    assert_eq!(node.footprint().processes()?, [], "nothing runs");
    for name in ["web", "batch"] {
        let status = world.wait_for(&node, name, "that it waits", is_unschedulable)?;
        assert_eq!(status.phase, Phase::Running, "a phase never goes back");
    }
    // Once more there is nothing to do.
    assert_eq!(mote(&world, &["drain", "n1"])?, "node/n1 already cordoned\nnode/n1 drained\n");

    world.replace_agent(&mut node)?;
    world.operator.apply(&sleeper("new"), &node)?;
    world.wait_for(&node, "new", "that it waits", is_unschedulable)?;
    for name in ["web", "batch"] {
        world.wait_for(&node, name, "that it still waits", is_unschedulable)?;
    }
    assert_eq!(node.footprint().processes()?, [], "nothing runs");

    mote(&world, &["uncordon", "n1"])?;
    for name in ["web", "batch", "new"] {
        world.wait_for(&node, name, "its second life", |status| {
            container(status, "main").is_ok_and(ContainerStatus::ready)
        })?;
    }
    for name in ["web", "batch"] {
        assert_eq!(notes(&world, name)?, "began\nended\nbegan\n", "{name}");
    }
    Ok(())
}

#[test]
fn what_would_not_come_back_or_not_go_is_in_the_way_of_a_drain() -> Result<()> {
    let world = World::new()?;
    let node = world.node("n1")?;
    world.operator.apply(&sleeper("web"), &node)?;
    world.operator.apply(&sleeper("job").once(), &node)?;
    let toleration = json!([{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]);
    world.operator.apply(&sleeper("log").spec("tolerations", toleration), &node)?;
    for name in ["web", "job", "log"] {
        world.wait_for_phase(&node, name, Phase::Running)?;
    }
    let answer = world.operator.run(&["drain", "n1"])?;
    assert_eq!(answer.output, "node/n1 cordoned\n");
    let error = answer.refused()?;
    assert!(error.contains("--ignore-daemonsets to ignore): default/log"), "{error}");
    assert!(error.contains("--force to override): default/job"), "{error}");
    wait_for_schedulable(&world, &node, false)?;
    assert_eq!(node.processes("sleep 1001")?.len(), 3, "nothing has ended");

    let words = ["drain", "n1", "--force", "--ignore-daemonsets", "--grace-period=2"];
    let answer = world.operator.run(&words)?;
    assert!(answer.error.contains("Warning: ignoring"), "{}", answer.error);
    let told = answer.succeeded()?;
    assert!(told.starts_with("node/n1 already cordoned\n"), "{told}");
    assert!(told.ends_with("node/n1 drained\n") && told.contains("pod/job evicted"), "{told}");
    let status = world.wait_for_phase(&node, "job", Phase::Failed)?;
    assert_eq!(status.cause.context("why")?.0, *"Evicted");
    world.wait_for(&node, "web", "that it waits", is_unschedulable)?;
    assert_eq!(node.processes("sleep 1001")?.len(), 1, "one stays");
    mote(&world, &["uncordon", "n1"])?;
    let ready = |status: &PodStatus| container(status, "main").is_ok_and(ContainerStatus::ready);
    world.wait_for(&node, "web", "its second life", ready)?;
    assert_eq!(node.processes("sleep 1001")?.len(), 2, "the job was the job's last");
    Ok(())
}

#[test]
fn whoever_does_not_wait_for_a_drain_does_not_stop_it() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"];
    let manifest = pod("deaf")
        .container("main", BUSYBOX, &deaf)
        .spec("terminationGracePeriodSeconds", json!(600));
    world.operator.apply(&manifest, &node)?;
    world.wait_for_phase(&node, "deaf", Phase::Running)?;
    let error = world.operator.run(&["drain", "n1", "--timeout=2s"])?.refused()?;
    assert!(error.contains("global timeout reached: 2s"), "{error}");
    // The next agent knows that it is to end, and a second order shortens what the first gave.
    world.replace_agent(&mut node)?;
    let told = mote(&world, &["drain", "n1", "--grace-period=2"])?;
    assert!(told.ends_with("pod/deaf evicted\nnode/n1 drained\n"), "{told}");
    world.wait_for(&node, "deaf", "that it waits", is_unschedulable)?;
    Ok(())
}

/// Reboots nothing, but tells that it was run: a line in a file, and one to whoever listens at a pipe.
struct FakeReboot {
    program: PathBuf,
    lines: PathBuf,
    told: Arc<Watched<bool>>,
}

impl FakeReboot {
    fn new(world: &World) -> Result<Self> {
        let below = |name: &str| world.directory().join(name);
        let (program, lines, pipe) = (below("reboot"), below("rebooted"), below("pipe"));
        let script =
            format!("#!/bin/sh\necho rebooted >> {}\necho > {}\n", lines.display(), pipe.display());
        fs::write(&program, script)?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RWXU, 0)?;
        let told = Arc::new(Watched::new(false));
        let tell = Arc::clone(&told);
        thread::spawn(move || {
            if fs::read(&pipe).is_ok() {
                tell.update(|told| *told = true);
            }
        });
        Ok(Self { program, lines, told })
    }

    fn wait(&self) -> Result<()> {
        self.told.wait(Deadline::patient(), "the reboot", |told| told.then_some(()))
    }
}

/// Three pods that note in a file that they end, the critical one at once, the others after a while.
fn run_three(world: &World, node: &Node) -> Result<PathBuf> {
    let order = world.directory().join("order");
    fs::create_dir(&order)?;
    for (name, pause, class) in
        [("a", "0.5", ""), ("last", "0", "system-node-critical"), ("z", "0.5", "")]
    {
        let script = format!(
            "trap 'sleep {pause}; echo {name} >> /order/log; exit 0' TERM; while :; do sleep 0.1; done"
        );
        let manifest = pod(name)
            .container("main", BUSYBOX, &["sh", "-c", &script])
            .with("volumeMounts", json!([{"name": "order", "mountPath": "/order"}]))
            .spec("volumes", json!([{"name": "order", "hostPath": {"path": order}}]))
            .spec("priorityClassName", json!(class));
        world.operator.apply(&manifest, node)?;
        world.wait_for(node, name, "that it runs", |status| {
            container(status, "main").is_ok_and(ContainerStatus::ready)
        })?;
    }
    Ok(order.join("log"))
}

fn assert_critical_last(log: &Path) -> Result<()> {
    let log = fs::read_to_string(log)?;
    let ended: Vec<_> = log.lines().collect();
    assert_eq!((ended.len(), ended.last()), (3, Some(&"last")), "{ended:?}");
    Ok(())
}

#[test]
fn critical_pods_end_last_where_the_machine_is_switched_off() -> Result<()> {
    let world = World::new()?;
    let mut node = world.node("n1")?;
    let order = run_three(&world, &node)?;
    node.terminate()?;
    assert_eq!(node.halt()?, "pods ended; 0 processes had to be killed\n");
    assert_critical_last(&order)
}

#[test]
fn what_does_not_heed_the_end_of_the_machine_has_as_long_as_the_configuration_says() -> Result<()> {
    let world = World::new()?;
    let mut options = world.options("n1");
    options.extra = "[shutdown]\ngrace_s = 3\ngrace_critical_s = 1\n".into();
    let mut node = world.node_with(options)?;
    let deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 1001; done"];
    world.operator.apply(&pod("deaf").container("main", BUSYBOX, &deaf), &node)?;
    world.wait_for_phase(&node, "deaf", Phase::Running)?;
    node.terminate()?;
    let begun = Instant::now();
    let told = node.halt()?;
    let took = begun.elapsed();
    assert!(!told.contains(" 0 processes"), "{told}");
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(25), "{took:?}");
    Ok(())
}

#[test]
fn a_node_is_rebooted_after_its_pods_have_ended_and_once() -> Result<()> {
    let world = World::new()?;
    let fake = FakeReboot::new(&world)?;
    let mut options = world.options("n1");
    options.extra =
        format!("[shutdown]\nreboot = true\nreboot_program = \"{}\"\n", fake.program.display());
    let mut node = world.node_with(options)?;
    let order = run_three(&world, &node)?;
    assert_eq!(mote(&world, &["reboot", "n1"])?, "node/n1 rebooting\n");
    assert!(world.wait_for_event(&node, "Rebooting")?.starts_with("Node n1 is rebooted, says"));
    fake.wait()?;
    assert_critical_last(&order)?;
    assert_eq!(node.footprint().processes()?, [], "nothing runs");
    // What was asked is said again to the agent that comes after the reboot.
    let asked = |message: &&Message| message.topic.starts_with("mote/v1/test/n1/command/");
    let command = world.observer.look(|view| view.history.iter().find(asked).cloned());
    let command = command.context("the command was seen")?;
    world.replace_agent(&mut node)?;
    world.observer.publish(&command.topic, &command.payload, false)?;
    let replies = command.topic.replace("/command/", "/reply/");
    world.observer.wait("that it is refused", |view| {
        let replies = view.bodies::<Reply>(&replies).into_iter();
        replies.map(|reply| reply.answer).find(
            |answer| matches!(answer, Answer::Refused { reason, .. } if *reason == *"WrongSession"),
        )
    })?;
    world.wait_for(&node, "a", "that it runs again", |status| {
        container(status, "main").is_ok_and(ContainerStatus::ready)
    })?;
    assert_eq!(fs::read_to_string(&fake.lines)?, "rebooted\n");
    Ok(())
}

#[test]
fn a_node_is_rebooted_only_where_it_says_so_and_goes_on_where_it_cannot_be() -> Result<()> {
    let world = World::new()?;
    let closed = world.node("n1")?;
    let error = world.operator.run(&["reboot", "n1"])?.refused()?;
    assert!(error.contains("`reboot = true` in section [shutdown]"), "{error}");
    drop(closed);
    let mut options = world.options("n2");
    options.extra = "[shutdown]\nreboot = true\nreboot_program = \"/bin/false\"\n".into();
    let node = world.node_with(options)?;
    world.operator.apply(&sleeper("web"), &node)?;
    world.wait_for_phase(&node, "web", Phase::Running)?;
    mote(&world, &["reboot", "n2"])?;
    assert!(world.wait_for_event(&node, "RebootFailed")?.contains("/bin/false"));
    world.wait_for(&node, "web", "its second life", |status| {
        container(status, "main").is_ok_and(|main| main.restarts == 1 && main.ready())
    })?;
    Ok(())
}
