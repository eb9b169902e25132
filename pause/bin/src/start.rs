//! From a bare process to one that serves a pod.
//!
//! `mote-pause DIRECTORY [CGROUP.PROCS]...`: the pod's directory, and the files through which
//! pause enters its cgroups. Standard input may be a connection to the agent that starts it; then
//! the agent need not wait for the socket, and hears on it why a start failed.

use core::ffi::CStr;

use mote_pause::children::Children;
use mote_pause::wire::{Failure, Namespaces, Reply};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io;
use rustix::net::{
    self, AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt,
};
use rustix::process::{self, Pid};

use crate::clients::Clients;
use crate::exits::Exits;
use crate::fault::{Fault, While};
use crate::logs::{Entry, Logs, MAX_LOGS};
use crate::namespaces;
use crate::pause::Pause;
use crate::sys;

/// Name of the socket in the pod's directory.
pub(crate) const SOCKET: &CStr = c"pause.sock";

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4;

/// The large tables, which begin as zeroes.
pub(crate) struct Tables {
    pub(crate) children: Children,
    pub(crate) logs: [Entry; MAX_LOGS],
}

impl Tables {
    pub(crate) const EMPTY: Self = Self { children: Children::NONE, logs: [Entry::FREE; MAX_LOGS] };
}

/// Prepares everything. On failure the agent has been told.
pub(crate) fn start<'a>(
    mut args: impl Iterator<Item = &'a CStr>,
    tables: &'static mut Tables,
) -> Option<Pause> {
    sys::close_from(3);
    let agent = take_stdin();
    let dir = args.nth(1).unwrap_or_default();
    match prepare(dir, args) {
        Ok((dir, signals, exits, listener)) => Some(Pause {
            dir,
            signals,
            listener,
            clients: Clients::new(agent),
            children: &mut tables.children,
            logs: Logs::new(&mut tables.logs),
            exits,
            namespaces: Namespaces::NONE,
            init: 0,
            deaf: false,
            ending: false,
        }),
        Err(fault) => {
            tell(agent, fault);
            None
        }
    }
}

/// Takes the connection pause was born with, if standard input is one, and points stdio to
/// nothing.
fn take_stdin() -> Option<OwnedFd> {
    let nothing = fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    // SAFETY: nobody owns standard input yet.
    let stdin = unsafe { rustix::stdio::stdin() };
    let socket = sockopt::socket_type(stdin) == Ok(SocketType::SEQPACKET);
    let agent = if socket { io::fcntl_dupfd_cloexec(stdin, 3).ok() } else { None };
    if let Ok(nothing) = nothing {
        for number in 0..3 {
            let _ = sys::duplicate(nothing.as_fd(), number, true);
        }
        let _ = namespaces::reserve(nothing.as_fd());
    }
    agent
}

type Prepared = (OwnedFd, OwnedFd, Exits, OwnedFd);

fn prepare<'a>(dir: &CStr, cgroups: impl Iterator<Item = &'a CStr>) -> Result<Prepared, Fault> {
    // First, so that everything that follows is the pod's expense.
    for procs in cgroups {
        sys::write_file(procs, b"0").during(Failure::Cgroup)?;
    }
    // Allowed to root only; without it pause is as likely a victim as anybody.
    let _ = sys::write_file(c"/proc/self/oom_score_adj", b"-998");
    let _ = rustix::thread::set_name(c"mote-pause");
    // Fails only if it has one already.
    let _ = process::setsid();
    let dir = fs::open(dir, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during(Failure::Directory)?;
    let signals = adopt_orphans().during(Failure::Adopt)?;
    let exits = Exits::create(dir.as_fd()).during(Failure::Exits)?;
    let listener = listen(dir.as_fd()).during(Failure::Listen)?;
    Ok((dir, signals, exits, listener))
}

/// Becomes the parent of the pod's orphans and arranges to hear of ends. All signals are blocked:
/// a stop is asked for on the socket, and `SIGTERM` to everybody is no reason to leave the pod's
/// containers alone.
fn adopt_orphans() -> io::Result<OwnedFd> {
    sys::block_signals();
    process::set_child_subreaper(Some(Pid::INIT))?;
    sys::child_signals()
}

/// Listens in the pod's directory, which is named by being the current one: the path of a socket
/// must be short, that of the directory need not.
fn listen(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    process::fchdir(dir)?;
    let _ = fs::unlinkat(dir, SOCKET, AtFlags::empty());
    let before = process::umask(Mode::from_raw_mode(0o177));
    let bound = net::bind(&socket, &SocketAddrUnix::new(SOCKET)?);
    process::umask(before);
    bound?;
    process::chdir(c"/")?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn tell(agent: Option<OwnedFd>, fault: Fault) {
    let mut buffer = [0; Reply::MAX_SIZE];
    if let (Some(agent), Ok(len)) = (agent, fault.reply().encode(0, &mut buffer)) {
        let message = buffer.get(..len).unwrap_or_default();
        let _ = net::send(&agent, message, SendFlags::NOSIGNAL);
    }
}
