//! Starts helpers.

use mote_pause::wire::{
    EXIT_ARRANGE_FDS, EXIT_EXECUTE, EXIT_JOIN_CGROUP, Failure, MAX_FDS, MAX_TARGET, Run,
};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{self, Errno};

use crate::fault::{Fault, While};
use crate::sys::{self, Fork, Parent, Pointers};

/// File descriptors that came with a request, in order.
pub(crate) type Received = [Option<OwnedFd>; MAX_FDS];

/// Starts a helper with the file descriptors that came with its request, and `outputs` as stdout
/// and stderr. Returns its process id.
pub(crate) fn launch(
    run: &Run<'_>,
    received: &Received,
    outputs: Option<&[OwnedFd; 2]>,
) -> Result<u32, Fault> {
    match sys::fork(Parent::Caller).during(Failure::Fork)? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => sys::exit(become_helper(run, received, outputs)),
    }
}

/// Turns this process into the helper. If it returns, that is the exit status.
fn become_helper(run: &Run<'_>, received: &Received, outputs: Option<&[OwnedFd; 2]>) -> i32 {
    sys::unblock_signals();
    // The pod's parent is not to be killed for memory; what runs in the pod may be. The helper
    // gives containers the value their class has.
    let _ = sys::write_file(c"/proc/self/oom_score_adj", b"0");
    let (program, rest) = received.split_first().unwrap_or((&None, &[]));
    let (cgroups, given) = rest.split_at_checked(usize::from(run.cgroups)).unwrap_or_default();
    for procs in cgroups.iter().flatten() {
        if io::write(procs, b"0").is_err() {
            return EXIT_JOIN_CGROUP;
        }
    }
    let Ok(program) = program.as_ref().ok_or(Errno::BADF).and_then(away) else {
        return EXIT_ARRANGE_FDS;
    };
    let targets = run.targets.iter().copied().zip(given.iter().flatten());
    let outputs = [1, 2].into_iter().zip(outputs.into_iter().flatten());
    if arrange(targets.chain(outputs)).is_err() {
        return EXIT_ARRANGE_FDS;
    }
    let _ = sys::execute(
        program.as_fd(),
        &Pointers::new(run.strings.args()),
        &Pointers::new(run.strings.env()),
    );
    EXIT_EXECUTE
}

/// Gives each file descriptor its number. A number may be taken by another of them that has not
/// had its turn, so first all of them go where no target is.
fn arrange<'a>(wanted: impl Iterator<Item = (u8, &'a OwnedFd)>) -> Result<(), Errno> {
    let mut parked: [Option<(u8, OwnedFd)>; MAX_FDS + 2] = [const { None }; MAX_FDS + 2];
    for (place, (target, fd)) in parked.iter_mut().zip(wanted) {
        *place = Some((target, away(fd)?));
    }
    for (target, fd) in parked.iter().flatten() {
        sys::duplicate(fd.as_fd(), *target, true)?;
    }
    Ok(())
}

fn away(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    io::fcntl_dupfd_cloexec(fd, i32::from(MAX_TARGET))
}
