//! Against the kernel: needs root. Each test has a tree of its own.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::*;
use crate::runtime::Limits;

struct Scratch {
    tree: Tree,
    pod: Uid,
}

impl Scratch {
    fn new(name: &str) -> Self {
        let root = format!("mote-test-{}-{name}", std::process::id());
        let tree = Tree::detect(&root).expect("mounted cgroups");
        Self { tree, pod: Uid::from_random([7; 16]) }
    }

    fn id(&self) -> ContainerId {
        ContainerId { pod: self.pod, name: "web".into(), attempt: 0 }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.tree.root().kill();
        await_ends(&self.tree.root().processes().unwrap_or_default());
        let _ = self.tree.root().remove();
        for (_, directory) in self.tree.root().directories() {
            assert!(!directory.exists(), "left behind: {}", directory.display());
        }
    }
}

/// Waits until none of them runs any more.
fn await_ends(pids: &[i32]) {
    for pid in pids.iter().copied().filter_map(Pid::from_raw) {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        poll(&mut [PollFd::new(&process, PollFlags::IN)], None).expect("poll");
    }
}

/// A shell that forks a child and waits for it; it starts once told so.
fn forking() -> Child {
    let script = "read go; sleep 1000 & sleep 1000 & wait";
    Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().expect("a shell")
}

#[test]
fn a_limited_group_is_created_twice_and_removed_twice() {
    let scratch = Scratch::new("limits");
    let limits = Limits {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        memory_bytes: Some(64 << 20),
        pids: Some(100),
    };
    let pod = scratch.tree.pod(&scratch.pod);
    let container = scratch.tree.container(&scratch.id());
    for _ in 0..2 {
        let unenforced = pod.create(&limits, Level::Pod).expect("pod");
        assert_eq!(unenforced, scratch.tree.missing());
        container.create(&limits, Level::Container).expect("container");
        container.restrict_devices(&[]).expect("devices");
    }
    assert_eq!(pod.children(), ["web-0"]);
    assert_eq!(container.oom_kills(), 0);
    for _ in 0..2 {
        pod.remove().expect("an empty pod goes with its containers");
    }
    assert!(pod.children().is_empty());
}

#[test]
fn kill_reaches_every_child_and_remove_waits_for_nobody() {
    let scratch = Scratch::new("kill");
    let limits = Limits::default();
    scratch.tree.pod(&scratch.pod).create(&limits, Level::Pod).expect("pod");
    let container = scratch.tree.container(&scratch.id());
    container.create(&limits, Level::Container).expect("container");
    let mut shell = forking();
    let pid = i32::try_from(shell.id()).unwrap();
    container.enter(pid).expect("enter");
    assert_eq!(container.processes().unwrap(), [pid]);
    assert!(container.remove().is_err(), "a group with processes is busy");
    drop(shell.stdin.take());
    container.kill().expect("kill");
    assert_eq!(shell.wait().unwrap().signal(), Some(9));
    container.kill().expect("nothing left to kill");
}

#[test]
fn a_group_that_a_container_made_threaded_hides_nobody() {
    let scratch = Scratch::new("threaded");
    let limits = Limits::default();
    scratch.tree.pod(&scratch.pod).create(&limits, Level::Pod).expect("pod");
    let container = scratch.tree.container(&scratch.id());
    container.create(&limits, Level::Container).expect("container");
    let Some(directory) = container
        .directories()
        .find_map(|(hierarchy, directory)| hierarchy.unified.then_some(directory))
    else {
        return;
    };
    let threads = directory.join("threads");
    std::fs::create_dir(&threads).expect("a group below");
    std::fs::write(threads.join("cgroup.type"), "threaded").expect("threaded");
    let mut shell = forking();
    let pid = shell.id().cast_signed();
    std::fs::write(directory.join("cgroup.procs"), pid.to_string()).expect("enter");
    std::fs::write(threads.join("cgroup.threads"), pid.to_string()).expect("enter");
    let found = container.processes();
    container.kill().expect("kill");
    shell.wait().expect("it ended");
    assert_eq!(found.expect("the group is read"), [pid]);
}

#[test]
fn a_group_that_never_was_is_empty_and_gone() {
    let scratch = Scratch::new("never");
    let container = scratch.tree.container(&scratch.id());
    assert!(container.processes().unwrap().is_empty());
    container.kill().expect("nothing to kill");
    container.remove().expect("nothing to remove");
}
