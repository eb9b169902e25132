//! What pause answers and tells.

use super::cursor::{Reader, Writer};
use super::{Key, Namespaces, Role, WireError};

/// One reply, or, with id 0, news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`super::Request::Hello`] and [`super::Request::Unshare`].
    Hello(Hello),
    /// It is done; or the list is complete.
    Done,
    /// The helper runs.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// It is not done.
    Failed {
        /// What went wrong.
        failure: Failure,
        /// The kernel's error number, or 0 where the kernel was not asked.
        errno: u16,
    },
    /// In a list: a child that has been claimed and lives.
    Alive {
        /// The container it belongs to.
        key: Key,
        /// What it is there.
        role: Role,
        /// Its process id.
        pid: u32,
    },
    /// A child has ended. News unless it is [`Role::Unclaimed`].
    Exited(Exit),
    /// Nothing holds the other end of a container's stdout and stderr any more: its log is
    /// complete.
    LogEnded(LogEnd),
}

/// Who pause is and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The process to find the namespaces under, in `/proc/<pid>/fd/`.
    pub pid: u32,
    /// The namespaces it holds, each under the number [`super::Namespace::fd`].
    pub namespaces: Namespaces,
    /// Process 1 of the pod's process id namespace, or 0 if it has none.
    pub init: u32,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The container it belonged to; nothing if it is unclaimed.
    pub key: Option<Key>,
    /// What it was there.
    pub role: Role,
    /// Its process id.
    pub pid: u32,
    /// Status as `wait(2)` gives it.
    pub status: u32,
    /// `CLOCK_BOOTTIME` when it was reaped, in nanoseconds.
    pub boot_ns: u64,
    /// `CLOCK_REALTIME` when it was reaped, in nanoseconds: right only if the clock was.
    pub real_ns: u64,
}

impl Exit {
    /// Size of one record in the file of exits.
    pub const SIZE: usize = 4 + Key::SIZE + 1 + 4 + 4 + 8 + 8;

    /// The code the process gave to `exit`, unless a signal ended it.
    pub const fn code(&self) -> Option<u8> {
        let [signal, code, ..] = self.status.to_le_bytes();
        if signal == 0 { Some(code) } else { None }
    }

    /// The signal that ended the process, if one did.
    pub const fn signal(&self) -> Option<u8> {
        let [signal, ..] = self.status.to_le_bytes();
        match signal & 0x7f {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Reads one record of the file of exits; nothing if the slot is empty or not a record.
    pub fn read(record: &[u8]) -> Option<Self> {
        match Reply::decode(record) {
            Ok((0, Reply::Exited(exit))) => Some(exit),
            _ => None,
        }
    }
}

/// The end of a container's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The container.
    pub key: Key,
    /// `CLOCK_BOOTTIME` of the last end of file, in nanoseconds.
    pub boot_ns: u64,
    /// Bytes of output that could not be written (the medium was full or gone).
    pub lost: u64,
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    /// It is written in another version.
    Version = 1,
    /// There is no such operation.
    Operation = 2,
    /// It is not well formed, or its file descriptors are not as many as it says.
    Malformed = 3,
    /// The namespaces are there already.
    Unshared = 4,
    /// As many children or logs are known as there is room for.
    Full = 5,
    /// The process is not a child, and none that ended is remembered.
    NoChild = 6,
    /// Shutting down while claimed children are left.
    Alive = 7,
    /// Creating a child.
    Fork = 10,
    /// Creating the namespaces.
    Unshare = 11,
    /// Mapping users and groups.
    MapUsers = 12,
    /// Setting the host name.
    Hostname = 13,
    /// Bringing the loopback device up.
    Loopback = 14,
    /// Opening the new namespaces.
    Hold = 15,
    /// Opening the log file.
    OpenLog = 20,
    /// Creating the pipes of stdout and stderr.
    Pipe = 21,
    /// At its start: entering a cgroup.
    Cgroup = 30,
    /// At its start: opening the pod's directory.
    Directory = 31,
    /// At its start: creating the file of exits.
    Exits = 32,
    /// At its start: listening on the socket.
    Listen = 33,
    /// At its start: becoming the parent of orphans, and hearing of their ends.
    Adopt = 34,
}

impl Failure {
    const ALL: [Self; 20] = [
        Self::Version,
        Self::Operation,
        Self::Malformed,
        Self::Unshared,
        Self::Full,
        Self::NoChild,
        Self::Alive,
        Self::Fork,
        Self::Unshare,
        Self::MapUsers,
        Self::Hostname,
        Self::Loopback,
        Self::Hold,
        Self::OpenLog,
        Self::Pipe,
        Self::Cgroup,
        Self::Directory,
        Self::Exits,
        Self::Listen,
        Self::Adopt,
    ];

    /// What was being done, as text.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Version => "speak another version",
            Self::Operation => "do an unknown operation",
            Self::Malformed => "read a malformed request",
            Self::Unshared => "create namespaces a second time",
            Self::Full => "remember more children or logs than there is room for",
            Self::NoChild => "watch a process that is no child",
            Self::Alive => "shut down while children are left",
            Self::Fork => "create a process",
            Self::Unshare => "create namespaces",
            Self::MapUsers => "map users and groups",
            Self::Hostname => "set the host name",
            Self::Loopback => "bring the loopback device up",
            Self::Hold => "open the new namespaces",
            Self::OpenLog => "open the log file",
            Self::Pipe => "create the pipes of stdout and stderr",
            Self::Cgroup => "enter its cgroup",
            Self::Directory => "open the pod's directory",
            Self::Exits => "create the file of exits",
            Self::Listen => "listen on its socket",
            Self::Adopt => "become the parent of orphans",
        }
    }

    /// The failure that has this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| *failure as u8 == number)
    }
}

const HELLO: u8 = 1;
const DONE: u8 = 2;
const STARTED: u8 = 3;
const FAILED: u8 = 4;
const ALIVE: u8 = 5;
const EXITED: u8 = 6;
const LOG_ENDED: u8 = 7;

impl Reply {
    /// No reply is longer.
    pub const MAX_SIZE: usize = Exit::SIZE;

    /// Writes the reply with the id of its request into `out`; returns its length.
    pub fn encode(&self, id: u16, out: &mut [u8]) -> Result<usize, WireError> {
        let mut to = Writer::open(out, self.kind(), id)?;
        match self {
            Self::Done => {}
            Self::Hello(hello) => {
                to.u32(hello.pid)?;
                hello.namespaces.write(&mut to)?;
                to.u32(hello.init)?;
            }
            Self::Started { pid } => to.u32(*pid)?,
            Self::Failed { failure, errno } => {
                to.u8(*failure as u8)?;
                to.u16(*errno)?;
            }
            Self::Alive { key, role, pid } => {
                Key::write(Some(key), &mut to)?;
                to.u8(*role as u8)?;
                to.u32(*pid)?;
            }
            Self::Exited(exit) => exit.write(&mut to)?,
            Self::LogEnded(end) => {
                Key::write(Some(&end.key), &mut to)?;
                to.u64(end.boot_ns)?;
                to.u64(end.lost)?;
            }
        }
        Ok(to.close())
    }

    /// Reads a reply and the id of the request it answers.
    pub fn decode(message: &[u8]) -> Result<(u16, Self), WireError> {
        let (kind, id, mut from) = Reader::open(message)?;
        let reply = match kind {
            HELLO => Self::Hello(Hello {
                pid: from.u32()?,
                namespaces: Namespaces::read(&mut from)?,
                init: from.u32()?,
            }),
            DONE => Self::Done,
            STARTED => Self::Started { pid: from.u32()? },
            FAILED => Self::Failed {
                failure: Failure::from_number(from.u8()?).ok_or(WireError::Malformed)?,
                errno: from.u16()?,
            },
            ALIVE => Self::Alive {
                key: Key::read(&mut from)?,
                role: Role::read(&mut from)?,
                pid: from.u32()?,
            },
            EXITED => Self::Exited(Exit::decode(&mut from)?),
            LOG_ENDED => Self::LogEnded(LogEnd {
                key: Key::read(&mut from)?,
                boot_ns: from.u64()?,
                lost: from.u64()?,
            }),
            unknown => return Err(WireError::Unknown(unknown)),
        };
        from.close()?;
        Ok((id, reply))
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => HELLO,
            Self::Done => DONE,
            Self::Started { .. } => STARTED,
            Self::Failed { .. } => FAILED,
            Self::Alive { .. } => ALIVE,
            Self::Exited(_) => EXITED,
            Self::LogEnded(_) => LOG_ENDED,
        }
    }
}

impl Exit {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        Key::write(self.key.as_ref(), to)?;
        to.u8(self.role as u8)?;
        to.u32(self.pid)?;
        to.u32(self.status)?;
        to.u64(self.boot_ns)?;
        to.u64(self.real_ns)
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            key: Key::read_optional(from)?,
            role: Role::read(from)?,
            pid: from.u32()?,
            status: from.u32()?,
            boot_ns: from.u64()?,
            real_ns: from.u64()?,
        })
    }
}
