//! Ends everything that runs in pods, with no agent: when the machine is switched off, or mote is
//! removed from it.
//!
//! Each process of a container is asked by SIGTERM, as the service manager asks those of a service,
//! and has a while; critical pods are asked once the others have ended. Then all of the tree is killed, with each `mote-pause`, which ends for nothing else.
//! Hooks are not run, and no pod is told to be over: what starts again is what the next agent decides.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mote_pause::wire::SOCKET;
use mote_protocol::name::Uid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::cgroup::{CgroupError, Group, PAUSE, Tree, is_below};
use super::layout::Layout;
use super::sandbox;

/// Time for what was killed to be gone. What hangs in the kernel longer is nobody's to wait for.
const DEATH: Duration = Duration::from_secs(5);

/// Time for one `mote-pause` to write down what ended. It takes microseconds.
const NOTING: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How long pods may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Those that are not critical.
    pub regular: Duration,
    /// The others, once those have ended.
    pub critical: Duration,
}

/// Ends all that runs below the cgroup `root`, what is of `critical` pods last, and lets the `mote-pause` of
/// each, whose files are below `run`, write down how that ended; returns how many processes
/// had to be killed, those of `mote-pause` not counted. A group that cannot be looked into keeps no
/// other from being ended: the first error is told afterwards.
pub fn all(
    root: &str,
    run: &Path,
    times: Times,
    critical: &BTreeSet<Uid>,
) -> Result<usize, CgroupError> {
    let tree = Tree::detect(root)?;
    let mut first = None;
    let mut held = |group: &Group| match processes(group) {
        Ok(pidfds) => pidfds,
        Err(error) => {
            first.get_or_insert(error);
            Vec::new()
        }
    };
    let critical: BTreeSet<_> =
        critical.iter().map(|uid| tree.pod(uid).path().to_owned()).collect();
    let is_critical = |pod: &Group| critical.contains(pod.path());
    let regular = end(&tree, |pod| !is_critical(pod), times.regular, &mut held);
    let left = regular + end(&tree, is_critical, times.critical, &mut held);
    for pod in sandboxes(run) {
        sandbox::settle(&pod, NOTING);
    }
    let last = held(&tree.root());
    let killed = tree.root().kill();
    let deadline = Instant::now() + DEATH;
    for pidfd in &last {
        wait(pidfd, deadline);
    }
    first.map_or(killed, Err).map(|()| left)
}

/// Ends the containers of some pods; returns how many of their processes had to be killed.
fn end(
    tree: &Tree,
    of: impl Fn(&Group) -> bool,
    grace: Duration,
    held: &mut impl FnMut(&Group) -> Vec<OwnedFd>,
) -> usize {
    let deadline = Instant::now() + grace;
    let mut asked: Vec<OwnedFd> = Vec::new();
    for group in containers(tree, &of) {
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
    for group in containers(tree, &of) {
        for pidfd in held(&group) {
            if !wait(&pidfd, deadline) {
                left += 1;
                // Those that end after it are not to be kept from that by what does not heed it.
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            }
        }
    }
    left
}

/// Sockets of all that may have a `mote-pause`.
fn sandboxes(run: &Path) -> Vec<PathBuf> {
    let layout = Layout::new(run, Path::new(""));
    let entries = fs::read_dir(layout.pods()).into_iter().flatten().flatten();
    let pods = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pods.map(|uid: Uid| layout.pod(&uid).join(SOCKET)).collect()
}

/// The groups of containers of some pods, not those of `mote-pause`.
fn containers(tree: &Tree, of: impl Fn(&Group) -> bool) -> Vec<Group> {
    let pods = tree.root().children().into_iter().map(|pod| tree.root().child(&pod));
    let below = pods.filter(of).flat_map(|pod| {
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
