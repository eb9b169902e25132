//! The agent's side of `mote-pause`: starts the one process a pod costs, finds it again, asks it.
//!
//! ```text
//! Sandbox::start --+                      +-- answers, to whoever asked
//!                  +--> one session task -+
//! Sandbox::adopt --+                      +-- SandboxEvent: exits, ended logs, its own end
//! ```
//! A sandbox outlives this process. Dropping a [`Sandbox`] ends the conversation and nothing else;
//! the next agent adopts it by the socket in the pod's directory. What happened in between is in
//! [`Sandbox::list`], and in [`kept_exits`] even if the sandbox itself has died.

mod error;
mod program;
mod session;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use mote_pause::wire::{
    EXIT_SLOTS, EXITS, Exit, Hello, Key, LogEnd, LogFile, MAX_MESSAGE, Namespace, Namespaces,
    Reply, Request, Role, Run, SOCKET, Strings, Unshare,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    sockopt::socket_peercred,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::oneshot;

pub use error::SandboxError;
pub use program::Program;

use session::{Line, Session};

/// What a sandbox tells unasked. News may be lost when the agent is; the list never lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxEvent {
    /// A child that was claimed has ended.
    Exited(Exit),
    /// All output of a container has been written to its log.
    LogEnded(LogEnd),
    /// The sandbox has died, and with it the parent of the pod's containers. The last event.
    Died,
    /// The sandbox lives but has hung up, as it does when nobody reads what it says: adopt it
    /// again and list. The last event.
    Lost,
}

/// The `mote-pause` of one pod.
pub struct Sandbox {
    line: Arc<Line>,
    hello: Hello,
    /// Dropped with the sandbox: ends the session.
    _open: oneshot::Sender<()>,
}

/// A process for a sandbox to start.
pub struct Helper<'a> {
    /// The container it works on.
    pub key: Key,
    /// Executable, as an open file.
    pub program: BorrowedFd<'a>,
    /// Arguments, its own name first; without NUL.
    pub args: &'a [&'a str],
    /// Environment, `NAME=value`; without NUL.
    pub env: &'a [&'a str],
    /// `cgroup.procs` files, open for writing, that it enters before it is executed.
    pub cgroups: &'a [BorrowedFd<'a>],
    /// What it finds under which number. Of 0, 1 and 2 those not named are `/dev/null`.
    pub fds: &'a [(u8, BorrowedFd<'a>)],
    /// If given, it writes to this log with stdout and stderr, and hands both to the container.
    pub log: Option<LogFile<'a>>,
}

/// Everything a sandbox knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Claimed children that live.
    pub alive: Vec<(Key, Role, u32)>,
    /// Children that ended, claimed or not, in no order.
    pub exits: Vec<Exit>,
    /// Logs that are complete.
    pub logs: Vec<LogEnd>,
}

impl Sandbox {
    /// Starts a sandbox in the pod's directory `dir` and the cgroups whose `cgroup.procs` are
    /// given. `on_event` is called from the session's task and must not block.
    pub async fn start(
        program: &Program,
        dir: &Path,
        cgroup_procs: &[PathBuf],
        on_event: impl FnMut(SandboxEvent) + Send + 'static,
    ) -> Result<Self, SandboxError> {
        let (socket, pidfd, child) = spawn(program, dir, cgroup_procs)
            .map_err(|source| SandboxError::Spawn { dir: dir.to_owned(), source })?;
        Self::open(socket, pidfd, Some(child), on_event).await
    }

    /// Finds the sandbox that an earlier agent started in `dir`.
    pub async fn adopt(
        dir: &Path,
        on_event: impl FnMut(SandboxEvent) + Send + 'static,
    ) -> Result<Self, SandboxError> {
        let (socket, pidfd) = connect(&dir.join(SOCKET))
            .map_err(|source| SandboxError::Connect { dir: dir.to_owned(), source })?;
        Self::open(socket, pidfd, None, on_event).await
    }

    async fn open(
        socket: OwnedFd,
        pidfd: OwnedFd,
        child: Option<Child>,
        on_event: impl FnMut(SandboxEvent) + Send + 'static,
    ) -> Result<Self, SandboxError> {
        let line = Arc::new(Line::new(socket).map_err(|source| SandboxError::Talk { source })?);
        let session = Session::new(Arc::clone(&line), pidfd, child, on_event)
            .map_err(|source| SandboxError::Talk { source })?;
        let (open, closed) = oneshot::channel();
        tokio::spawn(session.run(closed));
        match line.ask(&Request::Hello, &[]).await? {
            Reply::Hello(hello) => Ok(Self { line, hello, _open: open }),
            other => Err(SandboxError::unexpected(other)),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.hello.pid
    }

    /// The namespaces it holds for the pod.
    pub fn namespaces(&self) -> Namespaces {
        self.hello.namespaces
    }

    /// Process 1 of the pod's own process id namespace, if it has one.
    pub fn init(&self) -> Option<u32> {
        Some(self.hello.init).filter(|pid| *pid != 0)
    }

    /// Where others join the pod's namespace of this kind; nothing if the pod uses the host's.
    pub fn namespace(&self, kind: Namespace) -> Option<PathBuf> {
        let held = self.hello.namespaces.has(kind);
        held.then(|| format!("/proc/{}/fd/{}", self.hello.pid, kind.fd()).into())
    }

    /// The pod's namespace of this kind as an open file; nothing if the pod uses the host's.
    pub fn open_namespace(&self, kind: Namespace) -> io::Result<Option<OwnedFd>> {
        let Some(path) = self.namespace(kind) else { return Ok(None) };
        let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        // Checked after it was opened: as long as its end of the line was open, the number in the
        // path was the sandbox's.
        let up = self.line.is_up()?;
        up.then_some(Some(opened)).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Creates the pod's namespaces; once in its life.
    pub async fn unshare(&mut self, unshare: &Unshare<'_>) -> Result<(), SandboxError> {
        match self.line.ask(&Request::Unshare(*unshare), &[]).await? {
            Reply::Hello(hello) => {
                self.hello = hello;
                Ok(())
            }
            other => Err(SandboxError::unexpected(other)),
        }
    }

    /// Starts a helper and returns its process id. Its end comes as an event.
    pub async fn run(&self, helper: &Helper<'_>) -> Result<u32, SandboxError> {
        let strings = strings(helper)?;
        let args = u8::try_from(helper.args.len()).map_err(|_| SandboxError::Helper)?;
        let targets: Vec<u8> = helper.fds.iter().map(|(target, _)| *target).collect();
        let run = Run {
            key: helper.key,
            log: helper.log,
            cgroups: u8::try_from(helper.cgroups.len()).map_err(|_| SandboxError::Helper)?,
            targets: &targets,
            strings: Strings::new(args, &strings).map_err(|_| SandboxError::Helper)?,
        };
        let given = helper.fds.iter().map(|(_, fd)| *fd);
        let fds: Vec<_> = std::iter::once(helper.program)
            .chain(helper.cgroups.iter().copied())
            .chain(given)
            .collect();
        match self.line.ask(&Request::Run(run), &fds).await? {
            Reply::Started { pid } => Ok(pid),
            other => Err(SandboxError::unexpected(other)),
        }
    }

    /// Claims a child, so that its end comes as an event; also if it has ended already.
    pub async fn watch(&self, key: Key, role: Role, pid: u32) -> Result<(), SandboxError> {
        self.done(&Request::Watch { key, role, pid }).await
    }

    /// Everything the sandbox knows.
    pub async fn list(&self) -> Result<Listing, SandboxError> {
        let mut listing = Listing::default();
        for reply in self.line.list().await? {
            match reply {
                Reply::Alive { key, role, pid } => listing.alive.push((key, role, pid)),
                Reply::Exited(exit) => listing.exits.push(exit),
                Reply::LogEnded(end) => listing.logs.push(end),
                other => return Err(SandboxError::unexpected(other)),
            }
        }
        Ok(listing)
    }

    /// Asks the sandbox to end. It refuses while claimed children live; that it has ended comes as
    /// an event.
    pub async fn shut_down(&self) -> Result<(), SandboxError> {
        self.done(&Request::Shutdown).await
    }

    async fn done(&self, request: &Request<'_>) -> Result<(), SandboxError> {
        match self.line.ask(request, &[]).await? {
            Reply::Done => Ok(()),
            other => Err(SandboxError::unexpected(other)),
        }
    }
}

/// The ends of containers as kept in the pod's directory, oldest first: what is left to read when
/// the sandbox itself has died.
pub fn kept_exits(dir: &Path) -> io::Result<Vec<Exit>> {
    let mut records = Vec::new();
    let most = u64::try_from(EXIT_SLOTS * Exit::SIZE).unwrap_or(u64::MAX);
    File::open(dir.join(EXITS))?.take(most).read_to_end(&mut records)?;
    let mut exits: Vec<_> = records.chunks(Exit::SIZE).filter_map(Exit::read).collect();
    exits.sort_by_key(|exit| exit.boot_ns);
    Ok(exits)
}

/// Starts `mote-pause`, connected to us by its standard input: no socket to wait for, and an early
/// failure is told.
fn spawn(
    program: &Program,
    dir: &Path,
    cgroup_procs: &[PathBuf],
) -> io::Result<(OwnedFd, OwnedFd, Child)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let mut child = Command::new(program.path())
        .arg(dir)
        .args(cgroup_procs)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(pidfd) => Ok((ours, pidfd, child)),
        Err(errno) => {
            child.kill()?;
            child.wait()?;
            Err(errno.into())
        }
    }
}

fn connect(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let pidfd = pidfd_open(socket_peercred(&socket)?.pid, PidfdFlags::empty())?;
    Ok((socket, pidfd))
}

/// Waits until the `mote-pause` behind a socket, which was told by the kernel of what ended before this,
/// has written that down: it reaps before it answers. One that is not there, or does not answer in
/// time, has nothing more to write.
pub(super) fn settle(socket: &Path, time: Timespec) {
    let Ok((socket, _)) = connect(socket) else { return };
    let mut buffer = vec![0; MAX_MESSAGE];
    let Ok(len) = Request::Hello.encode(0, &mut buffer) else { return };
    let hello = buffer.get(..len).unwrap_or_default();
    if net::send(&socket, hello, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok() {
        let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&time));
    }
}

/// Arguments and environment, each closed by a NUL.
fn strings(helper: &Helper<'_>) -> Result<Vec<u8>, SandboxError> {
    let all = || helper.args.iter().chain(helper.env);
    if all().any(|string| string.contains('\0')) {
        return Err(SandboxError::Helper);
    }
    Ok(all().flat_map(|string| string.bytes().chain([0])).collect())
}
