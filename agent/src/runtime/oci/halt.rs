//! Ends everything that runs in pods, with no agent: when the machine is switched off, or mote is
//! removed from it.
//!
//! Each process of a container is asked by SIGTERM, as the service manager asks those of a service,
//! and has [`GRACE`]; then all of the tree is killed, with each `mote-pause`, which ends for nothing else.
//! Hooks are not run, and no pod is told to be over: what starts again is what the next agent decides.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroup::{CgroupError, Group, PAUSE, Tree, is_below};

/// Time between asking and killing: Kubernetes' default for a pod.
pub const GRACE: Duration = Duration::from_secs(30);

/// Time for what was killed to be gone. What hangs in the kernel longer is nobody's to wait for.
const DEATH: Duration = Duration::from_secs(5);

/// Ends all that runs below the cgroup `root`; returns how many processes had to be killed, those
/// of `mote-pause` not counted. A group that cannot be looked into keeps no other from being ended: the
/// first error is told afterwards.
pub fn all(root: &str, grace: Duration) -> Result<usize, CgroupError> {
    let tree = Tree::detect(root)?;
    let deadline = Instant::now() + grace;
    let mut first = None;
    let mut held = |group: &Group| match processes(group) {
        Ok(pidfds) => pidfds,
        Err(error) => {
            first.get_or_insert(error);
            Vec::new()
        }
    };
    let mut asked: Vec<OwnedFd> = Vec::new();
    for group in containers(&tree) {
        for pidfd in held(&group) {
            // One that is gone needs no asking.
            let _ = pidfd_send_signal(&pidfd, Signal::TERM);
            asked.push(pidfd);
        }
    }
    for pidfd in &asked {
        wait(pidfd, deadline);
    }
    // Whatever was forked meanwhile gets what is left of the time.
    let mut left = 0;
    for group in containers(&tree) {
        for pidfd in held(&group) {
            left += usize::from(!wait(&pidfd, deadline));
        }
    }
    let last = held(&tree.root());
    let killed = tree.root().kill();
    let deadline = Instant::now() + DEATH;
    for pidfd in &last {
        wait(pidfd, deadline);
    }
    first.map_or(killed, Err).map(|()| left)
}

/// The groups of containers, not those of `mote-pause`.
fn containers(tree: &Tree) -> Vec<Group> {
    let pods = tree.root().children().into_iter().map(|pod| tree.root().child(&pod));
    let below = pods.flat_map(|pod| {
        let names = pod.children().into_iter().filter(|name| name != PAUSE);
        names.map(|name| pod.child(&name)).collect::<Vec<_>>()
    });
    below.collect()
}

/// The processes in a group and below, held: no other can come to be called by their numbers.
fn processes(group: &Group) -> Result<Vec<OwnedFd>, CgroupError> {
    let hold = |number: i32| {
        let pidfd = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok()?;
        // The number may have become another's before it was held.
        let lines = fs::read(format!("/proc/{number}/cgroup")).ok()?;
        is_below(&lines, group.path()).then_some(pidfd)
    };
    Ok(group.processes()?.into_iter().filter_map(hold).collect())
}

/// Waits for a process to end; whether it did.
fn wait(pidfd: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.is_ok_and(|count| count > 0),
        }
    }
}
