//! Runs a command beside a container's first process, and keeps what it prints.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use mote_pause::wire::{Exit as Ended, Role};
use mote_protocol::command::WindowSize;
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

/// Bytes that a pipe can hold at most: `fs.pipe-max-size`.
const PIPE: usize = 1 << 20;

impl OciRuntime {
    pub(super) async fn execute(&self, request: &ExecRequest) -> Result<ExecOutcome, RuntimeError> {
        let mut command = Command::new(self.tree.container(&request.id));
        let mut printed = Printed { output: Vec::new(), limit: request.output_limit };
        let executed = self.converse(request, &mut command, &mut printed);
        let code = match request.timeout {
            None => Some(executed.await?),
            Some(limit) => match timeout(limit, executed).await {
                Ok(code) => Some(code?),
                Err(_) => None,
            },
        };
        Ok(ExecOutcome { code, output: mem::take(&mut printed.output) })
    }

    async fn converse(
        &self,
        request: &ExecRequest,
        command: &mut Command,
        printed: &mut Printed,
    ) -> Result<i32, RuntimeError> {
        let id = &request.id;
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|error| io_error("create a pipe")(error.into()))?;
        let failed = |error: io::Error| failure(id, cause(&error), Retry::Soon);
        // Before the command begins: what is found in it at its end must have been heard of by then.
        let mut output = Receiver::from_owned_fd(reader).map_err(failed)?;
        let fds = [(1, writer.as_fd()), (2, writer.as_fd())];
        let mut exit = self.execute_beside(id, &request.args, None, &fds, command).await?;
        drop(writer);
        let ended = printed.listen(&mut output, &mut exit).await;
        let ended = ended.ok_or_else(|| RuntimeError::NotRunning { id: id.clone() })?;
        command.is_over();
        printed.rest(&mut output);
        Ok(code(&ended))
    }

    /// Has a command executed; `fds` are what it has as files of these numbers.
    pub(super) async fn execute_beside(
        &self,
        id: &ContainerId,
        args: &[String],
        terminal: Option<WindowSize>,
        fds: &[(u8, BorrowedFd<'_>)],
        command: &mut Command,
    ) -> Result<Claim, RuntimeError> {
        let missing = || RuntimeError::NotRunning { id: id.clone() };
        let container = running(&self.layout, id).ok_or_else(missing)?;
        let pod = self.pod(&id.pod).await.ok_or(RuntimeError::NoSandbox { uid: id.pod })?;
        let key = key(id).ok_or_else(missing)?;
        let failed = |error: io::Error| failure(id, cause(&error), Retry::Soon);
        let order = Order::Exec(order::Exec {
            attempt: self.layout.attempt(id),
            container,
            args: args.to_vec(),
            terminal,
        });
        let entrances = command.group.entrances_beside(container.pid);
        let entrances = entrances.map_err(cgroup_error)?;
        let (reports, report) = reports().map_err(failed)?;
        let reports = command.reports.insert(reports);
        let fds: Vec<_> =
            [(REPORT_FD, report.as_fd())].into_iter().chain(fds.iter().copied()).collect();
        self.run(&pod, key, &entrances, &order, None, &fds).await.map_err(failed)?;
        drop(report);
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
        let told = pod.exit_of(pid);
        let claim = Claim { pod, pid, told };
        let watched = claim.pod.sandbox.watch(key, Role::Exec, pid).await;
        watched.map_err(|error| failure(id, cause(&error), Retry::Soon))?;
        Ok(claim)
    }
}

/// An exit somebody waits for.
pub(super) struct Claim {
    pod: Arc<Pod>,
    pid: u32,
    pub(super) told: oneshot::Receiver<Ended>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.pod.forget(self.pid);
    }
}

/// What a command printed so far.
struct Printed {
    output: Vec<u8>,
    limit: usize,
}

impl Printed {
    /// Reads until the command has ended. What others it left behind print later is theirs.
    async fn listen(&mut self, output: &mut Receiver, exit: &mut Claim) -> Option<Ended> {
        let mut buffer = [0; 4096];
        let mut open = true;
        loop {
            tokio::select! {
                // Others may print without end.
                biased;
                ended = &mut exit.told => return ended.ok(),
                read = output.read(&mut buffer), if open => match read {
                    Ok(len) if len > 0 => self.keep(buffer.get(..len).unwrap_or_default()),
                    _ => open = false,
                },
            }
        }
    }

    /// Reads what is there. Where others go on printing, no more than can have been there.
    fn rest(&mut self, output: &mut Receiver) {
        let (mut buffer, mut left) = ([0; 4096], PIPE);
        while left > 0
            && let Ok(len @ 1..) = output.try_read(&mut buffer)
        {
            self.keep(buffer.get(..len).unwrap_or_default());
            left = left.saturating_sub(len);
        }
    }

    fn keep(&mut self, printed: &[u8]) {
        let room = self.limit.saturating_sub(self.output.len());
        self.output.extend_from_slice(printed.get(..room).unwrap_or(printed));
    }
}

/// A command. Nobody waits for it once this is dropped, and it ends.
pub(super) struct Command {
    /// Of its container.
    group: Group,
    /// Where its helper will say what became of it.
    reports: Option<Receiver>,
    /// It runs, as the leader of a session.
    leader: Option<i32>,
}

impl Command {
    pub(super) fn new(group: Group) -> Self {
        Self { group, reports: None, leader: None }
    }

    /// It has ended by itself.
    pub(super) fn is_over(&mut self) {
        self.leader = None;
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
