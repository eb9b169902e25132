//! `runtime exec`: a command beside a container's first process, with exactly its rights.
//!
//! libcontainer would run it as root, in `/`, without limits and without a filter. So it gets the
//! whole process of the container's own configuration, only with other arguments.

use std::fs;
use std::io;
use std::path::PathBuf;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::{Process, Spec};
use libcontainer::syscall::syscall::SyscallType;
use rustix::process::{Pid, Signal, kill_process_group};

use super::order::{CONFIG, Exec, STATE};
use super::report::Phase;
use super::start::executor;
use super::{Failure, Reporter, now, process_id, rootfs};
use crate::runtime::ProcessId;

/// The file in a container's state directory that says which process it is.
const CONTAINER: &str = "state.json";

pub(super) fn run(order: &Exec, reporter: &Reporter) -> Result<(), Failure> {
    let failed = |doing| move |error: io::Error| Failure::of(doing, &error);
    rootfs::unshare().map_err(failed("create a mount namespace"))?;
    rootfs::hide_cgroups().map_err(failed("hide the machine's cgroups"))?;
    let spec = Spec::load(order.attempt.join(CONFIG)).map_err(|error| Failure::chain(&error))?;
    let desk = Desk::new(order, &spec).map_err(failed("describe the command"))?;
    let (mut outcome, executor) = executor(&spec)?;
    let built = ContainerBuilder::new(STATE.to_owned(), SyscallType::default())
        .with_executor(executor)
        .with_root_path(&desk.0)
        .map_err(|error| Failure::chain(&error))?
        .as_tenant()
        .with_detach(true)
        .as_sibling(true)
        .with_process(Some(desk.process()))
        .build();
    drop(desk);
    let cause = if built.is_ok() { outcome.wait() } else { outcome.so_far() };
    if let Some(cause) = cause {
        return Err(Failure { phase: Phase::Start, cause, permanent: true });
    }
    let pid = built.map_err(|error| Failure::chain(&error))?.as_raw();
    // A short command is over already: then nobody will look for it by its start time.
    let process = process_id(pid).unwrap_or(ProcessId { pid, start_ticks: 0 });
    if reporter.started(process, now()).is_err() {
        stop(process);
    }
    Ok(())
}

/// Ends a command that nobody waits for any more: its time was over before it began.
fn stop(process: ProcessId) {
    let pid = Pid::from_raw(process.pid).filter(|_| process.start_ticks > 0);
    if let Some(pid) = pid {
        // It leads a session of its own, and may have ended by itself.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// A directory of this command's own, removed with it. To libcontainer it is where the container's
/// state is: the sockets it forgets there never meet those of another command.
struct Desk(PathBuf);

impl Desk {
    fn new(order: &Exec, spec: &Spec) -> io::Result<Self> {
        let desk = Self(order.attempt.join(format!("exec-{}", std::process::id())));
        let state = desk.0.join(STATE);
        fs::create_dir_all(&state)?;
        fs::copy(order.attempt.join(STATE).join(CONTAINER), state.join(CONTAINER))?;
        let mut process: Process = spec.process().clone().unwrap_or_default();
        process.set_args(Some(order.args.clone()));
        fs::write(desk.process(), serde_json::to_vec(&process)?)?;
        Ok(desk)
    }

    /// Describes the command's process.
    fn process(&self) -> PathBuf {
        self.0.join("process.json")
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Goes with the attempt's directory otherwise.
        let _ = fs::remove_dir_all(&self.0);
    }
}
