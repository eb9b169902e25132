//! `runtime exec`: a command beside a container's first process, with exactly its rights.
//!
//! libcontainer would run it as root, in `/`, without limits and without a filter. So it gets the
//! whole process of the container's own configuration, only with other arguments.

use std::fs;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::{Process, Spec};
use libcontainer::syscall::syscall::SyscallType;

use super::order::{CONFIG, Exec, STATE};
use super::report::Phase;
use super::start::executor;
use super::{Failure, Reporter, now, process_id, rootfs};
use crate::runtime::ProcessId;

/// Sockets that libcontainer leaves in the container's state directory after each command.
const LITTER: [&str; 2] = ["tenant-notify-", "tenant-tty-"];

pub(super) fn run(order: &Exec, reporter: &Reporter) -> Result<(), Failure> {
    let failed = |doing| move |error: std::io::Error| Failure::of(doing, &error);
    rootfs::unshare().map_err(failed("create a mount namespace"))?;
    rootfs::hide_cgroups().map_err(failed("hide the machine's cgroups"))?;
    let spec = Spec::load(order.attempt.join(CONFIG)).map_err(|error| Failure::chain(&error))?;
    let process = Written::new(order, &spec)?;
    let (mut outcome, executor) = executor(&spec)?;
    let built = ContainerBuilder::new(STATE.to_owned(), SyscallType::default())
        .with_executor(executor)
        .with_root_path(&order.attempt)
        .map_err(|error| Failure::chain(&error))?
        .as_tenant()
        .with_detach(true)
        .as_sibling(true)
        .with_process(Some(&process.0))
        .build();
    drop(process);
    sweep(&order.attempt.join(STATE));
    let cause = if built.is_ok() { outcome.wait() } else { outcome.so_far() };
    if let Some(cause) = cause {
        return Err(Failure { phase: Phase::Start, cause, permanent: true });
    }
    let pid = built.map_err(|error| Failure::chain(&error))?.as_raw();
    // A short command is over already: then nobody will look for it by its start time.
    let process = process_id(pid).unwrap_or(ProcessId { pid, start_ticks: 0 });
    reporter.started(process, now());
    Ok(())
}

/// The file that describes the command's process; removed when dropped.
struct Written(PathBuf);

impl Written {
    fn new(order: &Exec, spec: &Spec) -> Result<Self, Failure> {
        let mut process: Process = spec.process().clone().unwrap_or_default();
        process.set_args(Some(order.args.clone()));
        let text = serde_json::to_vec(&process).map_err(|error| Failure::permanent(&error))?;
        let path = order.attempt.join(format!("exec-{}.json", std::process::id()));
        fs::write(&path, text).map_err(|error| Failure::of("describe the command", &error))?;
        Ok(Self(path))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // Goes with the attempt's directory otherwise.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes the sockets of commands. That of a command being started just now is connected by then
/// or will be missed by its helper only, which reports it.
fn sweep(state: &Path) {
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    let litter = entries.filter(|entry| {
        let name = entry.file_name();
        LITTER.iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
    });
    for socket in litter {
        let _ = fs::remove_file(socket.path());
    }
}
