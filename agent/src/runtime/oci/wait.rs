//! Waiting for processes to end, without polling.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::time::timeout;

use super::cgroup::Group;
use super::{cgroup_error, io_error};
use crate::runtime::RuntimeError;
use crate::sys;

/// How long killed processes have to disappear. One that hangs in the kernel longer needs a
/// person, or a reboot.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a group has no processes. They must have been killed before.
pub(super) async fn until_empty(group: &Group) -> Result<(), RuntimeError> {
    let emptied = async {
        loop {
            let pids = group.processes().map_err(cgroup_error)?;
            let Some(pid) = pids.first() else { return Ok(()) };
            until_ended(*pid).await.map_err(io_error(format!("wait for process {pid}")))?;
        }
    };
    match timeout(PATIENCE, emptied).await {
        Ok(emptied) => emptied,
        Err(_) => Err(io_error("wait for killed processes")(io::ErrorKind::TimedOut.into())),
    }
}

/// Waits until a process has ended, be it reaped or not.
pub(super) async fn until_ended(pid: i32) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(()) };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    sys::event::register(process, Interest::READABLE)?.readable().await.map(drop)
}
