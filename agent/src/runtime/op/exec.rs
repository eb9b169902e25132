//! `runtime exec`: a command beside a container's first process, with exactly its rights.
//!
//! libcontainer would run it as root, in `/`, without limits and without a filter unless it is
//! given a whole configuration, which it parses several times, and it starts three processes for
//! one. A probe runs for years. So this is done here, in the order in which libcontainer sets a
//! container's own process up:
//!
//! ```text
//! helper    join the namespaces, directory, groups, user, capabilities, filter, then fork
//! child     new session, execute
//! ```
//! Everything is given up before the fork: the child is the first process that the container can
//! see, and has no right by then that the container has not. Only a filter of the node's own, which
//! may well deny a fork, is installed by the child.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, kill_process_group, pidfd_open,
    set_dumpable_behavior, setsid,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, ThreadNameSpaceType, clear_ambient_capability_set,
    move_into_thread_name_spaces, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use super::executor::{NOT_EXECUTED, Program};
use super::identity;
use super::order::Exec;
use super::report::Phase;
use super::seccomp::Filter;
use super::start::outcome;
use super::tenant::Tenant;
use super::{Failure, Reporter, now, output, terminal};
use crate::runtime::oci::process;
use crate::runtime::{ProcessId, apparmor};
use crate::sys;
use crate::sys::process::Forked;

pub(super) fn run(
    order: &Exec,
    socket: Option<OwnedFd>,
    reporter: &Reporter,
) -> Result<(), Failure> {
    let failed = |doing: &'static str| move |error: io::Error| Failure::of(doing, &error);
    let mut tenant = Tenant::read(&order.attempt)
        .map_err(failed("read with what the container's processes begin"))?;
    // Before the container is entered: where its users are its own, they have no power over it.
    output::give_to(tenant.uid_on_host).map_err(failed("give the command its output"))?;
    if let Some(profile) = &tenant.app_armor {
        // While `/proc` is the host's. The kernel remembers it for the next program.
        apparmor::enter_by_executing(profile).map_err(failed("ask for the AppArmor profile"))?;
    }
    join(order.container, &tenant).map_err(failed("enter the container"))?;
    // Before the user's rights are given up, as for the container's own process: who asks for a
    // directory may name one that the user cannot enter.
    let entered = std::env::set_current_dir(&tenant.cwd);
    confine(&tenant).map_err(failed("give up the agent's rights"))?;
    entered
        .or_else(|_| std::env::set_current_dir(&tenant.cwd))
        .and_then(|()| is_inside())
        .map_err(failed("change to the container's working directory"))?;
    // With the user's rights: it belongs to who opens it.
    let terminal = match (order.terminal, socket) {
        (Some(size), Some(socket)) => {
            terminal::name(&mut tenant.env);
            Some(
                terminal::open(size, &socket)
                    .map_err(failed("open a terminal in the container"))?,
            )
        }
        _ => None,
    };
    let refused = |phase| move |cause| Failure { phase, cause, permanent: true };
    let program = Program::find(&order.args, &tenant.env).map_err(refused(Phase::Create))?;
    let (mut outcome, broken) = outcome()?;
    let (late, early) = tenant.filter.as_ref().map_or((None, None), |filter| {
        if filter.is_strict() { (Some(filter), None) } else { (None, Some(filter)) }
    });
    if let Some(filter) = early {
        filter.install().map_err(failed("install the filter of system calls"))?;
    }
    let pid = match sys::process::fork_beside().map_err(failed("fork"))? {
        Forked::Child => execute(&program, terminal.as_ref(), late, &broken),
        Forked::Parent(pid) => pid,
    };
    drop(broken);
    if let Some(cause) = outcome.wait() {
        return Err(refused(Phase::Start)(cause));
    }
    // When it was started is told by a /proc that is out of reach by now.
    if reporter.started(ProcessId { pid, start_ticks: 0 }, now()).is_err() {
        stop(pid);
    }
    Ok(())
}

/// Enters the container's namespaces; that of process ids is entered by the next fork.
fn join(container: ProcessId, tenant: &Tenant) -> io::Result<()> {
    let pid = Pid::from_raw(container.pid).ok_or(io::ErrorKind::NotFound)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    // Checked after the handle was opened: from then on the number cannot change its meaning.
    if !process::is_running(container) {
        return Err(io::ErrorKind::NotFound.into());
    }
    if let Some(score) = tenant.oom_score_adj {
        fs::write("/proc/self/oom_score_adj", score.to_string())?;
    }
    // A container in the host's namespace of process ids sees this process.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let mut kinds = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP;
    if tenant.user_namespace {
        kinds |= ThreadNameSpaceType::USER;
    }
    Ok(move_into_thread_name_spaces(handle.as_fd(), kinds)?)
}

/// Gives up what the container's processes have not.
fn confine(tenant: &Tenant) -> io::Result<()> {
    if tenant.no_new_privileges {
        set_no_new_privs(true)?;
    }
    bound(tenant.bounding)?;
    identity::assume(tenant.uid, tenant.gid, &tenant.groups)?;
    let permitted = CapabilitySet::from_bits_retain(tenant.permitted);
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: permitted, permitted, inheritable })?;
    clear_ambient_capability_set()?;
    // Another user is what the machine's `fs.suid_dumpable` says, which may let the container's
    // processes look into this one, and it still holds files of the agent.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Takes every capability that this kernel knows from the bounding set, but for `kept`.
fn bound(kept: u64) -> io::Result<()> {
    for number in 0..u64::BITS {
        let bit = 1 << number;
        if kept & bit == 0 {
            let capability = CapabilitySet::from_bits_retain(bit);
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // Beyond the last one.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// A working directory that is not below the root leads out of the container.
fn is_inside() -> io::Result<()> {
    std::env::current_dir().map(drop)
}

/// The child's part.
fn execute(
    program: &Program,
    terminal: Option<&OwnedFd>,
    filter: Option<&Filter>,
    broken: &OwnedFd,
) -> ! {
    // It has just been born and leads no group, so this cannot fail.
    let _ = setsid();
    let cause = match terminal.map(terminal::control) {
        Some(Err(error)) => format!("take the terminal: {error}"),
        _ => program.execute(filter),
    };
    let _ = rustix::io::write(broken, cause.as_bytes());
    sys::process::end(NOT_EXECUTED)
}

/// Ends a command that nobody waits for any more: its time was over before it began.
fn stop(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It leads a session of its own, and may have ended by itself.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}
