//! Runs a command beside a container's first process, and keeps what it prints.

use std::io;
use std::mem;
use std::os::fd::AsFd;

use mote_pause::wire::{Exit as Ended, Role};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::cgroup::Group;
use super::pod::{Pod, code, key};
use super::start::{last, reports, running};
use super::{OciRuntime, cause, cgroup_error, io_error, process};
use crate::runtime::op::order::{self, Order, REPORT_FD};
use crate::runtime::op::report::Report;
use crate::runtime::{ContainerId, ExecOutcome, ExecRequest, Retry, RuntimeError};

/// How often a family that grows while it is killed is gone through: each round leaves fewer.
const KILL_ROUNDS: usize = 16;

impl OciRuntime {
    pub(super) async fn execute(&self, request: &ExecRequest) -> Result<ExecOutcome, RuntimeError> {
        let group = self.tree.container(&request.id);
        let mut command = Command::new(group, request.output_limit);
        let executed = self.converse(request, &mut command);
        let code = match request.timeout {
            None => Some(executed.await?),
            Some(limit) => match timeout(limit, executed).await {
                Ok(code) => Some(code?),
                Err(_) => None,
            },
        };
        Ok(ExecOutcome { code, output: mem::take(&mut command.output) })
    }

    async fn converse(
        &self,
        request: &ExecRequest,
        command: &mut Command,
    ) -> Result<i32, RuntimeError> {
        let id = &request.id;
        let missing = || RuntimeError::NotRunning { id: id.clone() };
        let container = running(&self.layout, id).ok_or_else(missing)?;
        let pod = self.pod(&id.pod).await.ok_or(RuntimeError::NoSandbox { uid: id.pod })?;
        let key = key(id).ok_or_else(missing)?;
        let failed = |error: io::Error| failure(id, cause(&error), Retry::Soon);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|error| io_error("create a pipe")(error.into()))?;
        let order = Order::Exec(order::Exec {
            attempt: self.layout.attempt(id),
            container,
            args: request.args.clone(),
        });
        let entrances = command.group.entrances_beside(container.pid);
        let entrances = entrances.map_err(cgroup_error)?;
        let (reports, report) = reports().map_err(failed)?;
        let reports = command.reports.insert(reports);
        let fds = [(REPORT_FD, report.as_fd()), (1, writer.as_fd()), (2, writer.as_fd())];
        self.run(&pod, key, &entrances, &order, None, &fds).await.map_err(failed)?;
        drop((writer, report));
        let mut output = Receiver::from_owned_fd(reader).map_err(failed)?;
        let reported = last(reports).await.map_err(failed)?;
        command.reports = None;
        let process = match reported {
            Report::Started { process, .. } => process,
            // It ended while it was being entered.
            Report::Failed { .. } if running(&self.layout, id).is_none() => return Err(missing()),
            Report::Failed { cause, permanent, .. } => {
                let retry = if permanent { Retry::Never } else { Retry::Soon };
                return Err(failure(id, cause, retry));
            }
            Report::Created { .. } => return Err(failed(io::Error::other("helper was killed"))),
        };
        command.leader = Some(process.pid);
        let pid = process.pid.unsigned_abs();
        let exit = Claim { pod: &pod, pid, told: pod.exit_of(pid) };
        let watched = pod.sandbox.watch(key, Role::Exec, pid).await;
        watched.map_err(|error| failure(id, cause(&error), Retry::Soon))?;
        command.listen(&mut output, exit).await.ok_or_else(missing)
    }
}

/// An exit somebody waits for.
struct Claim<'a> {
    pod: &'a Pod,
    pid: u32,
    told: oneshot::Receiver<Ended>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.pod.forget(self.pid);
    }
}

/// A command and what it printed so far. Nobody waits for it once this is dropped, and it ends.
struct Command {
    output: Vec<u8>,
    limit: usize,
    /// Of its container.
    group: Group,
    /// Where its helper will say what became of it.
    reports: Option<Receiver>,
    /// It runs, as the leader of a session.
    leader: Option<i32>,
}

impl Command {
    fn new(group: Group, limit: usize) -> Self {
        Self { output: Vec::new(), limit, group, reports: None, leader: None }
    }

    /// Reads until the command has ended. What others it left behind print later is theirs.
    async fn listen(&mut self, output: &mut Receiver, mut exit: Claim<'_>) -> Option<i32> {
        let mut buffer = [0; 4096];
        let mut open = true;
        let ended = loop {
            tokio::select! {
                biased;
                read = output.read(&mut buffer), if open => match read {
                    Ok(len) if len > 0 => self.keep(buffer.get(..len).unwrap_or_default()),
                    _ => open = false,
                },
                ended = &mut exit.told => break ended.ok()?,
            }
        };
        self.leader = None;
        while let Ok(len @ 1..) = output.try_read(&mut buffer) {
            self.keep(buffer.get(..len).unwrap_or_default());
        }
        Some(code(&ended))
    }

    fn keep(&mut self, printed: &[u8]) {
        let room = self.limit.saturating_sub(self.output.len());
        self.output.extend_from_slice(printed.get(..room).unwrap_or(printed));
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            return kill(leader, &self.group);
        }
        // What the helper says may be on its way: it ends a command by itself only where nobody
        // can hear it any more.
        let (Some(mut reports), Ok(runtime)) = (self.reports.take(), Handle::try_current()) else {
            return;
        };
        let group = self.group.clone();
        runtime.spawn(async move {
            if let Ok(Report::Started { process, .. }) = last(&mut reports).await {
                kill(process.pid, &group);
            }
        });
    }
}

/// Kills a command and all that it started, also what is being forked meanwhile.
///
/// They are looked for in the container's cgroup only: whatever the command's number means by
/// now, nothing outside of its container is hit.
fn kill(leader: i32, container: &Group) {
    let mut killed = Vec::new();
    for _ in 0..KILL_ROUNDS {
        let family = process::family(leader, &container.processes().unwrap_or_default());
        let fresh: Vec<_> = family.into_iter().filter(|pid| !killed.contains(pid)).collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh.iter().copied().filter_map(Pid::from_raw) {
            // The only failure is that it has just ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
        killed.extend(fresh);
    }
}

fn failure(id: &ContainerId, cause: String, retry: Retry) -> RuntimeError {
    match retry {
        Retry::Never => RuntimeError::Start { id: id.clone(), cause },
        _ => RuntimeError::Create { id: id.clone(), cause, retry },
    }
}
