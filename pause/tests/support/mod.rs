//! Runs the real `mote-pause` for a test, and talks to it as an agent does.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::ffi::CString;
use std::fs;
use std::io::Read as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use mote_pause::wire::{
    Exit, Hello, Key, LogEnd, LogFile, MAX_MESSAGE, Name, Reply, Request, Role, Run, SOCKET,
    Strings,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::IoSlice;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

/// No answer takes this long, however loaded the machine is.
const PATIENCE: Duration = Duration::from_mins(1);

/// Builds the binary once and says where it is. `MOTE_PAUSE` names another: one for another
/// architecture, or a script that emulates it.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(other) = std::env::var_os("MOTE_PAUSE") {
            return other.into();
        }
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("bin");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pause");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(package).args(["build", "--release", "--locked", "--quiet"]);
        cargo.arg("--target-dir").arg(&target).env_remove("RUSTFLAGS");
        cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
        assert!(cargo.status().expect("cargo runs").success(), "mote-pause builds");
        let host = fs::read_dir(&target).expect("a target folder").filter_map(Result::ok);
        let binaries = host.map(|entry| entry.path().join("release/mote-pause"));
        binaries.into_iter().find(|path| path.exists()).expect("the binary")
    })
}

/// A pause with a directory of its own; killed and reaped at the end of the test.
pub struct Pause {
    pub dir: TempDir,
    pub child: Child,
    /// The connection it was born with.
    pub agent: Agent,
}

impl Pause {
    /// One that is ready.
    pub fn start() -> Self {
        let mut pause = Self::start_in(tempfile::tempdir().expect("a directory"), &[]);
        pause.agent.hello();
        pause
    }

    pub fn start_in(dir: TempDir, more: &[&str]) -> Self {
        let (ours, theirs) = socketpair();
        let child = Command::new(binary())
            .arg(dir.path())
            .args(more)
            .stdin(Stdio::from(theirs))
            .spawn()
            .expect("mote-pause starts");
        Self { dir, child, agent: Agent::new(ours) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Another agent.
    pub fn connect(&self) -> Agent {
        let address = SocketAddrUnix::new(self.dir.path().join(SOCKET)).expect("a short path");
        let socket = net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        net::connect(&socket, &address).expect("pause listens");
        Agent::new(socket)
    }

    /// The file descriptors it has.
    pub fn fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it lives").count()
    }

    /// Lines of `/proc/<pid>/<file>`, first words without the colon and second words.
    pub fn proc(&self, file: &str, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid())).expect("it lives");
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = line.and_then(|line| line.split_whitespace().next()).expect("a field");
        value.parse().expect("a number")
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.pid());
        for pid in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            kill(pid.parse().expect("a number"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(pid: u32) {
    let _ = kill_process(process(pid), Signal::KILL);
}

/// Something to wait for the end of a process with, whoever its parent is.
pub fn pidfd(pid: u32) -> OwnedFd {
    pidfd_open(process(pid), PidfdFlags::empty()).expect("it lives")
}

/// Waits for the end of a process.
pub fn await_end(pidfd: &OwnedFd) {
    let mut waiting = [PollFd::new(pidfd, PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).expect("a minute");
    assert_eq!(poll(&mut waiting, Some(&patience)), Ok(1), "it ends");
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0")
}

pub fn socketpair() -> (OwnedFd, OwnedFd) {
    net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("a pair of sockets")
}

pub fn pipe() -> (fs::File, OwnedFd) {
    let (from, to) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
    (from.into(), to)
}

pub fn key(name: &str, attempt: u32) -> Key {
    Key { name: Name::new(name).expect("a valid name"), attempt }
}

/// One connection to pause.
pub struct Agent {
    pub socket: OwnedFd,
    /// News that came while an answer was awaited.
    news: Vec<Reply>,
    id: u16,
}

impl Agent {
    fn new(socket: OwnedFd) -> Self {
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).expect("a timeout");
        Self { socket, news: Vec::new(), id: 0 }
    }

    pub fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
        net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    }

    /// Closes the connection, as the kernel does when an agent dies.
    pub fn leave(&mut self) {
        (self.socket, _) = socketpair();
    }

    /// The next message; nothing if pause has closed the connection.
    pub fn receive(&mut self) -> Option<(u16, Reply)> {
        let mut buffer = [0; MAX_MESSAGE];
        let (len, _) = match net::recv(&self.socket, &mut buffer, RecvFlags::empty()) {
            Ok(received) => received,
            Err(rustix::io::Errno::CONNRESET) => return None,
            Err(error) => panic!("no answer: {error}"),
        };
        (len > 0).then(|| Reply::decode(&buffer[..len]).expect("a reply"))
    }

    /// Asks and returns the answer; keeps news for later.
    pub fn ask(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> Reply {
        let id = self.send(request, fds);
        loop {
            match self.receive().expect("pause answers") {
                (answered, reply) if answered == id => return reply,
                (0, news) => self.news.push(news),
                other => panic!("an answer nobody asked for: {other:?}"),
            }
        }
    }

    pub fn send(&mut self, request: &Request<'_>, fds: &[BorrowedFd<'_>]) -> u16 {
        self.id = self.id.wrapping_add(1).max(1);
        let mut buffer = [0; MAX_MESSAGE];
        let len = request.encode(self.id, &mut buffer).expect("a request fits");
        self.send_bytes(&buffer[..len], fds).expect("pause reads");
        self.id
    }

    pub fn hello(&mut self) -> Hello {
        match self.ask(&Request::Hello, &[]) {
            Reply::Hello(hello) => hello,
            other => panic!("no hello: {other:?}"),
        }
    }

    /// The first news, old or awaited, that `pick` wants.
    pub fn news<T>(&mut self, pick: impl Fn(&Reply) -> Option<T>) -> T {
        if let Some(at) = self.news.iter().position(|news| pick(news).is_some()) {
            return pick(&self.news.remove(at)).expect("just found");
        }
        loop {
            match self.receive().expect("pause lives") {
                (0, news) => match pick(&news) {
                    Some(found) => return found,
                    None => self.news.push(news),
                },
                other => panic!("an answer nobody asked for: {other:?}"),
            }
        }
    }

    pub fn exit_of(&mut self, pid: u32) -> Exit {
        self.news(|news| match news {
            Reply::Exited(exit) if exit.pid == pid => Some(*exit),
            _ => None,
        })
    }

    pub fn log_end(&mut self, key: Key) -> LogEnd {
        self.news(|news| match news {
            Reply::LogEnded(end) if end.key == key => Some(*end),
            _ => None,
        })
    }

    pub fn list(&mut self) -> Vec<Reply> {
        let id = self.send(&Request::List, &[]);
        let mut list = Vec::new();
        loop {
            match self.receive().expect("pause answers") {
                (answered, Reply::Done) if answered == id => return list,
                (answered, reply) if answered == id => list.push(reply),
                (_, news) => self.news.push(news),
            }
        }
    }

    pub fn watch(&mut self, key: Key, role: Role, pid: u32) -> Reply {
        self.ask(&Request::Watch { key, role, pid }, &[])
    }

    /// Runs a shell script as a helper, `fds` under the numbers `targets`.
    pub fn shell(
        &mut self,
        key: Key,
        script: &str,
        log: Option<LogFile<'_>>,
        targets: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Reply {
        let shell = fs::File::open("/bin/sh").expect("a shell");
        let strings = ["sh", "-c", script, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
        let strings: Vec<u8> = strings
            .iter()
            .flat_map(|string| CString::new(*string).expect("no NUL").into_bytes_with_nul())
            .collect();
        let strings = Strings::new(3, &strings).expect("closed strings");
        let run = Run { key, log, cgroups: 0, targets, strings };
        let fds: Vec<_> = std::iter::once(shell.as_fd()).chain(fds.iter().copied()).collect();
        self.ask(&Request::Run(run), &fds)
    }

    /// Runs a shell script as a helper and returns its process id and what it writes to its file
    /// descriptor 3.
    pub fn helper(&mut self, key: Key, script: &str, log: Option<LogFile<'_>>) -> (u32, fs::File) {
        let (result, to) = pipe();
        match self.shell(key, script, log, &[3], &[to.as_fd()]) {
            Reply::Started { pid } => (pid, result),
            other => panic!("not started: {other:?}"),
        }
    }

    /// Starts a process that is no child of its helper; the helper's end is awaited. The script
    /// can read the gate, which never has anything, as its file descriptor 4.
    pub fn container(&mut self, key: Key, script: &str, log: Option<LogFile<'_>>) -> Container {
        let (mut result, to) = pipe();
        let (from, gate) = pipe();
        let script = format!("({script}) 3>&- & echo $! >&3");
        let reply = self.shell(key, &script, log, &[3, 4], &[to.as_fd(), from.as_fd()]);
        drop((to, from));
        let Reply::Started { pid: helper } = reply else { panic!("not started: {reply:?}") };
        let mut pid = String::new();
        result.read_to_string(&mut pid).expect("the helper reports");
        self.exit_of(helper);
        Container { pid: pid.trim().parse().expect("a pid"), gate }
    }
}

/// A child of pause that a helper has left behind.
pub struct Container {
    pub pid: u32,
    /// What waits at the gate goes on when this is dropped.
    pub gate: OwnedFd,
}
