//! Starts one attempt of a container: cgroup, directories, a helper, and what it reports.

use std::fs;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mote_pause::wire::{Key, LogFile, Namespace, Role};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use super::cgroup::{Group, Level};
use super::layout::Layout;
use super::pod::{Pod, key};
use super::record::{AttemptRecord, SandboxRecord};
use super::remove::remove_old_logs;
use super::sandbox::Helper;
use super::users::Users;
use super::wait::until_ended;
use super::{
    OciRuntime, cause, cgroup_error, files, io_error, make_directory, message, process, record,
};
use crate::runtime::op::order::{self, ORDER_FD, Order, REPORT_FD};
use crate::runtime::op::report::{Phase, Report};
use crate::runtime::{
    BootTime, ContainerId, ProcessId, Retry, RuntimeError, RuntimeEvent, StartRequest,
};

/// How long a helper may take. Far beyond anything but a hanging mount or device.
const PATIENCE: Duration = Duration::from_mins(2);

impl OciRuntime {
    pub(super) async fn start_attempt(
        &self,
        request: &StartRequest,
    ) -> Result<BootTime, RuntimeError> {
        let id = &request.id;
        let pod = self.pod(&id.pod).await.ok_or(RuntimeError::NoSandbox { uid: id.pod })?;
        let key = key(id).ok_or_else(|| never(id, "no container can have this name"))?;
        if request.tty {
            return Err(never(id, "terminals (`tty: true`) are not supported yet"));
        }
        self.helper_ended(&pod, id, key).await;
        if let Some(since) = self.already_started(&pod, id, key).await {
            return Ok(since);
        }
        // What an agent that died meanwhile, or an attempt that failed, left behind.
        self.remove_attempt(id).await?;
        let started = self.start_helper(&pod, request, key).await;
        if let Err(failed) = started {
            // The helper's own report says why; that nothing is left is of second rank.
            let _ = self.tree.container(id).kill();
            let _ = self.remove_attempt(id).await;
            return Err(failed);
        }
        started
    }

    /// A helper whose agent died goes on alone. What it began is not begun a second time: only
    /// when it has ended it is known what became of it.
    async fn helper_ended(&self, pod: &Pod, id: &ContainerId, key: Key) {
        let attempt = self.layout.attempt(id);
        if !attempt.exists() || record::started(&attempt).is_some() {
            return;
        }
        let listing = pod.sandbox.list().await.unwrap_or_default();
        let of_key = |(alive, role, _): &&(Key, Role, u32)| (*alive, *role) == (key, Role::Helper);
        if let Some((_, _, pid)) = listing.alive.iter().find(of_key) {
            // One that hangs is killed with its group.
            let _ = timeout(PATIENCE, until_ended(pid.cast_signed())).await;
        }
    }

    /// When this very attempt was started, if it was; its end, also one that was before, is told.
    async fn already_started(&self, pod: &Pod, id: &ContainerId, key: Key) -> Option<BootTime> {
        let attempt = self.layout.attempt(id);
        let since = record::started(&attempt)?;
        let pid = record::process(&attempt)?.pid.unsigned_abs();
        if pod.sandbox.watch(key, Role::Container, pid).await.is_err() {
            // It ran, and how it ended is not known any more.
            self.news.tell(RuntimeEvent::Missed);
        }
        Some(since)
    }

    async fn start_helper(
        &self,
        pod: &Pod,
        request: &StartRequest,
        key: Key,
    ) -> Result<BootTime, RuntimeError> {
        let id = &request.id;
        let record = SandboxRecord::read(&self.layout.sandbox(&id.pod));
        let record = record.map_err(io_error("read the pod's sandbox record"))?;
        let record = record.ok_or(RuntimeError::NoSandbox { uid: id.pod })?;
        let own_users = record.users.is_some();
        if own_users != request.own_users {
            return Err(RuntimeError::OtherUsers { uid: id.pod, own_users });
        }
        let group = self.tree.container(id);
        let device_filter = self.prepare_attempt(request, record.users, &group)?;
        let log = Layout::log(id).ok_or_else(|| never(id, "no container can have this name"))?;
        let log = LogFile { path: &log, limit: self.log_bytes, files: self.log_files };
        let order = self.order(pod, request, record, &group, device_filter);
        let order = Order::Start(Box::new(order));
        let entrances = group.entrances().map_err(cgroup_error)?;
        let (mut reports, report) = reports().map_err(|error| soon(id, &error))?;
        let fds = [(REPORT_FD, report.as_fd())];
        let helper = self.run(pod, key, &entrances, &order, Some(log), &fds).await;
        helper.map_err(|error| soon(id, &error))?;
        drop(report);
        let reported = timeout(PATIENCE, last(&mut reports)).await;
        match reported.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Report::Started { process, at_ns }) => {
                let watched =
                    pod.sandbox.watch(key, Role::Container, process.pid.unsigned_abs()).await;
                watched.map_err(|error| soon(id, &error))?;
                Ok(BootTime(Duration::from_nanos(at_ns)))
            }
            Ok(Report::Failed { phase: Phase::Start, cause, .. }) => {
                Err(RuntimeError::Start { id: id.clone(), cause })
            }
            Ok(Report::Failed { cause, permanent, .. }) => {
                let retry = if permanent { Retry::Never } else { Retry::Soon };
                Err(RuntimeError::Create { id: id.clone(), cause, retry })
            }
            Ok(Report::Created { .. }) => Err(soon(id, &io::Error::other("helper was killed"))),
            Err(error) => Err(soon(id, &error)),
        }
    }

    /// Returns whether the kernel filters the devices that its processes open.
    fn prepare_attempt(
        &self,
        request: &StartRequest,
        users: Option<Users>,
        group: &Group,
    ) -> Result<bool, RuntimeError> {
        group.create(&request.limits, Level::Container).map_err(cgroup_error)?;
        let device_filter = !request.rights.privileged
            && group.restrict_devices(&request.devices).map_err(cgroup_error)?;
        let id = &request.id;
        for directory in [self.layout.attempt(id), self.layout.logs(id), self.layout.layer(id)] {
            make_directory(&directory)?;
        }
        remove_old_logs(&self.layout.logs(id), id.attempt);
        let attempt = self.layout.attempt(id);
        make_directory(&self.layout.messages(&id.pod))?;
        if !request.termination_message.path.is_empty() {
            message::make(&self.layout.message(id))
                .map_err(io_error(format!("make the termination message of {id}")))?;
        }
        for file in &request.files {
            files::write(&self.layout.file(&id.pod, file.name), &file.text, users)
                .map_err(io_error(format!("write `{}` of pod {}", file.target, id.pod)))?;
        }
        AttemptRecord::of(request)
            .write(&attempt)
            .map_err(io_error(format!("keep what {id} was started with")))?;
        Ok(device_filter)
    }

    fn order(
        &self,
        pod: &Pod,
        request: &StartRequest,
        record: SandboxRecord,
        group: &Group,
        device_filter: bool,
    ) -> order::Start {
        let kinds = [
            (Namespace::User, order::Namespace::User),
            (Namespace::Net, order::Namespace::Network),
            (Namespace::Ipc, order::Namespace::Ipc),
            (Namespace::Uts, order::Namespace::Uts),
            (Namespace::Pid, order::Namespace::Pid),
        ];
        let held = |(kind, ours)| pod.sandbox.namespace(kind).map(|path| (ours, path));
        order::Start {
            attempt: self.layout.attempt(&request.id),
            layers: request.layers.clone(),
            writable: self.layout.layer(&request.id),
            mounts: request.mounts.clone(),
            devices: request.devices.clone(),
            sysctls: request.sysctls.clone(),
            pod: order::Pod {
                hostname: record.hostname,
                host: record.host,
                namespaces: kinds.into_iter().filter_map(held).collect(),
                shm: self.layout.shm(&request.id.pod),
                users: record.users,
            },
            cgroup: order::Cgroup {
                hierarchies: self.tree.hierarchies().clone(),
                path: group.path().to_owned(),
                device_filter,
            },
            args: request.args.clone(),
            env: request.env.clone(),
            cwd: request.cwd.clone(),
            image_user: request.image_user.clone(),
            rights: request.rights.clone(),
            seccomp_profiles: self.seccomp_profiles.clone(),
            oom_score_adj: request.oom_score_adj,
            termination_message: Some(request.termination_message.path.clone())
                .filter(|path| !path.is_empty())
                .map(|path| (path, self.layout.message(&request.id))),
            files: request
                .files
                .iter()
                .map(|file| (file.target.to_owned(), self.layout.file(&request.id.pod, file.name)))
                .collect(),
        }
    }

    /// Has a helper started that enters cgroups and finds its order, and what else it is given.
    pub(super) async fn run(
        &self,
        pod: &Pod,
        key: Key,
        entrances: &[OwnedFd],
        order: &Order,
        log: Option<LogFile<'_>>,
        more: &[(u8, BorrowedFd<'_>)],
    ) -> io::Result<()> {
        let order_file = order_file(order)?;
        let cgroups: Vec<_> = entrances.iter().map(AsFd::as_fd).collect();
        let own = [(ORDER_FD, order_file.as_fd())];
        let fds: Vec<_> = own.into_iter().chain(more.iter().copied()).collect();
        let op = match order {
            Order::Start(_) => "start",
            Order::Exec(_) => "exec",
        };
        let helper = Helper {
            key,
            program: self.helper.as_fd(),
            args: &["mote-agent", "runtime", op],
            env: &[],
            cgroups: &cgroups,
            fds: &fds,
            log,
        };
        let started = pod.sandbox.run(&helper).await;
        started.map(drop).map_err(|error| io::Error::other(cause(&error)))
    }
}

/// Where a helper reports, and what it is given for that.
pub(super) fn reports() -> io::Result<(Receiver, OwnedFd)> {
    let (reports, report) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Receiver::from_owned_fd(reports)?, report))
}

/// The order, in a file of no name.
fn order_file(order: &Order) -> io::Result<OwnedFd> {
    let mut file = fs::File::from(memfd_create("order", MemfdFlags::CLOEXEC)?);
    file.write_all(&order.encode().map_err(io::Error::other)?)?;
    file.rewind()?;
    Ok(file.into())
}

/// The final word of a helper. `Created` without anything after it is one that was killed.
pub(super) async fn last(reports: &mut Receiver) -> io::Result<Report> {
    let mut created = None;
    loop {
        match Report::read(reports).await? {
            Some(report @ Report::Created { .. }) => created = Some(report),
            Some(last) => return Ok(last),
            None => {
                return created.ok_or_else(|| io::Error::other("helper ended without a report"));
            }
        }
    }
}

fn never(id: &ContainerId, cause: &str) -> RuntimeError {
    RuntimeError::Create { id: id.clone(), cause: cause.into(), retry: Retry::Never }
}

fn soon(id: &ContainerId, error: &dyn std::error::Error) -> RuntimeError {
    RuntimeError::Create { id: id.clone(), cause: cause(error), retry: Retry::Soon }
}

/// A process that is known and runs.
pub(super) fn running(layout: &Layout, id: &ContainerId) -> Option<ProcessId> {
    record::process(&layout.attempt(id)).filter(|process| process::is_running(*process))
}
