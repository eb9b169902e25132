//! What an agent asks of pause.

use core::ffi::CStr;

use super::cursor::{Reader, Writer};
use super::{
    Key, MAX_FDS, MAX_HOSTNAME, MAX_MESSAGE, MAX_PATH, MAX_STRINGS, MAX_TARGET, Namespace,
    Namespaces, Role, WireError,
};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Who are you, what do you hold? Answered by [`super::Reply::Hello`].
    Hello,
    /// Create the pod's namespaces; once in a pod's life. Answered by [`super::Reply::Hello`].
    Unshare(Unshare<'a>),
    /// Start a helper. Answered by [`super::Reply::Started`].
    Run(Run<'a>),
    /// Remember `pid` under `key` and tell its exit, also if it is over already.
    Watch {
        /// The container it belongs to.
        key: Key,
        /// What it is there; only the exits of [`Role::Container`] are also kept in the file.
        role: Role,
        /// A child of pause.
        pid: u32,
    },
    /// Tell everything known: children, exits, ended logs, then [`super::Reply::Done`].
    List,
    /// End, if no helper, container or exec is left. Answered before pause is gone.
    Shutdown,
}

/// The namespaces a pod wants of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unshare<'a> {
    /// Which. [`Namespace::User`] if and only if there are `users`.
    pub namespaces: Namespaces,
    /// What the ids of the user namespace are outside of it.
    pub users: Option<UserRange>,
    /// Host name in the UTS namespace; empty: the host's is kept.
    pub hostname: &'a [u8],
}

/// Ids `0..count` of a user namespace are `first..first + count` outside; users and groups alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    /// What id 0 is outside.
    pub first: u32,
    /// How many ids there are.
    pub count: u32,
}

/// A process to start: `mote-agent runtime OP`, which in turn calls the container library.
///
/// The file descriptors come with the packet, in this order: the executable, `cgroups` open
/// `cgroup.procs` files, and one for each of `targets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// The container it works on.
    pub key: Key,
    /// If given, stdout and stderr of the helper (which the container inherits) go to this file.
    pub log: Option<LogFile<'a>>,
    /// How many `cgroup.procs` files the helper enters before it is executed.
    pub cgroups: u8,
    /// The number each further file descriptor gets in the helper, all different and below
    /// [`MAX_TARGET`]. Of 0, 1 and 2 those not named are `/dev/null`.
    pub targets: &'a [u8],
    /// Arguments and environment.
    pub strings: Strings<'a>,
}

impl Run<'_> {
    /// How many file descriptors come with the request.
    pub fn fds(&self) -> usize {
        1 + usize::from(self.cgroups) + self.targets.len()
    }
}

/// Where a container's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFile<'a> {
    /// Its path: absolute, or relative to the pod's directory. Rotated files add `.1`, `.2`...
    pub path: &'a CStr,
    /// No file grows beyond this many bytes.
    pub limit: u32,
    /// How many files there are at most, the current one included.
    pub files: u8,
}

impl LogFile<'_> {
    /// Smallest limit: the longest record pause writes must fit with room to spare.
    pub const MIN_LIMIT: u32 = 16 * 1024;
    /// Most files of one log.
    pub const MAX_FILES: u8 = 10;
}

/// Arguments and environment: strings, each closed by a NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strings<'a> {
    args: u8,
    bytes: &'a [u8],
}

impl<'a> Strings<'a> {
    /// The first `args` strings of `bytes` are arguments, the others the environment.
    pub fn new(args: u8, bytes: &'a [u8]) -> Result<Self, WireError> {
        let count = bytes.split_inclusive(|byte| *byte == 0).count();
        let closed = bytes.last().is_none_or(|last| *last == 0);
        if !closed || count > MAX_STRINGS || usize::from(args) > count {
            return Err(WireError::Malformed);
        }
        Ok(Self { args, bytes })
    }

    /// The arguments, each with its NUL.
    pub fn args(&self) -> impl Iterator<Item = &'a [u8]> {
        self.all().take(usize::from(self.args))
    }

    /// The environment, each variable with its NUL.
    pub fn env(&self) -> impl Iterator<Item = &'a [u8]> {
        self.all().skip(usize::from(self.args))
    }

    fn all(&self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.split_inclusive(|byte| *byte == 0)
    }
}

const HELLO: u8 = 1;
const UNSHARE: u8 = 2;
const RUN: u8 = 3;
const WATCH: u8 = 4;
const LIST: u8 = 5;
const SHUTDOWN: u8 = 6;

impl<'a> Request<'a> {
    /// Writes the request with its id into `out`; returns its length.
    pub fn encode(&self, id: u16, out: &mut [u8]) -> Result<usize, WireError> {
        let mut to = Writer::open(out, self.op(), id)?;
        match self {
            Self::Hello | Self::List | Self::Shutdown => {}
            Self::Unshare(unshare) => unshare.write(&mut to)?,
            Self::Run(run) => run.write(&mut to)?,
            Self::Watch { key, role, pid } => {
                Key::write(Some(key), &mut to)?;
                to.u8(*role as u8)?;
                to.u32(*pid)?;
            }
        }
        Ok(to.close())
    }

    /// Reads a request and its id.
    // Not into its one caller, a loop of which every other path would bear its stack frame.
    #[inline(never)]
    pub fn decode(message: &'a [u8]) -> Result<(u16, Self), WireError> {
        let (op, id, mut from) = Reader::open(message)?;
        let request = match op {
            HELLO => Self::Hello,
            UNSHARE => Self::Unshare(Unshare::read(&mut from)?),
            RUN => Self::Run(Run::read(&mut from)?),
            WATCH => Self::Watch {
                key: Key::read(&mut from)?,
                role: Role::read(&mut from)?,
                pid: from.u32()?,
            },
            LIST => Self::List,
            SHUTDOWN => Self::Shutdown,
            unknown => return Err(WireError::Unknown(unknown)),
        };
        from.close()?;
        Ok((id, request))
    }

    const fn op(&self) -> u8 {
        match self {
            Self::Hello => HELLO,
            Self::Unshare(_) => UNSHARE,
            Self::Run(_) => RUN,
            Self::Watch { .. } => WATCH,
            Self::List => LIST,
            Self::Shutdown => SHUTDOWN,
        }
    }
}

impl<'a> Unshare<'a> {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        self.check()?;
        self.namespaces.write(to)?;
        let users = self.users.unwrap_or(UserRange { first: 0, count: 0 });
        to.u32(users.first)?;
        to.u32(users.count)?;
        to.counted(self.hostname)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, WireError> {
        let namespaces = Namespaces::read(from)?;
        let users = UserRange { first: from.u32()?, count: from.u32()? };
        let unshare = Self {
            namespaces,
            users: (users != UserRange { first: 0, count: 0 }).then_some(users),
            hostname: from.counted(MAX_HOSTNAME)?,
        };
        unshare.check()?;
        Ok(unshare)
    }

    fn check(&self) -> Result<(), WireError> {
        let in_range = |users: UserRange| {
            users.count > 0 && users.first.checked_add(users.count - 1).is_some()
        };
        let fits = self.namespaces.has(Namespace::User) == self.users.is_some()
            && self.users.is_none_or(in_range)
            && (self.hostname.is_empty() || self.namespaces.has(Namespace::Uts))
            && self.hostname.len() <= MAX_HOSTNAME;
        if fits { Ok(()) } else { Err(WireError::Malformed) }
    }
}

impl<'a> Run<'a> {
    fn write(&self, to: &mut Writer<'_>) -> Result<(), WireError> {
        self.check()?;
        Key::write(Some(&self.key), to)?;
        to.counted(self.log.map_or(&[], |log| log.path.to_bytes_with_nul()))?;
        to.u32(self.log.map_or(0, |log| log.limit))?;
        to.u8(self.log.map_or(0, |log| log.files))?;
        to.u8(self.cgroups)?;
        to.counted(self.targets)?;
        to.u8(self.strings.args)?;
        to.counted(self.strings.bytes)
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, WireError> {
        let run = Self {
            key: Key::read(from)?,
            log: LogFile::read(from)?,
            cgroups: from.u8()?,
            targets: from.counted(MAX_FDS)?,
            strings: Strings::new(from.u8()?, from.counted(MAX_MESSAGE)?)?,
        };
        run.check()?;
        Ok(run)
    }

    fn check(&self) -> Result<(), WireError> {
        let unique =
            |(at, target): (usize, &u8)| !self.targets.iter().skip(at + 1).any(|o| o == target);
        let captured = |target: &u8| self.log.is_some() && matches!(target, 1 | 2);
        let fits = self.fds() <= MAX_FDS
            && self.targets.iter().all(|target| *target < MAX_TARGET && !captured(target))
            && self.targets.iter().enumerate().all(unique)
            && self.strings.args > 0
            && self.log.is_none_or(|log| log.valid());
        if fits { Ok(()) } else { Err(WireError::Malformed) }
    }
}

impl<'a> LogFile<'a> {
    fn read(from: &mut Reader<'a>) -> Result<Option<Self>, WireError> {
        let path = from.counted(MAX_PATH + 1)?;
        let (limit, files) = (from.u32()?, from.u8()?);
        if path.is_empty() {
            return if (limit, files) == (0, 0) { Ok(None) } else { Err(WireError::Malformed) };
        }
        let path = CStr::from_bytes_with_nul(path).map_err(|_| WireError::Malformed)?;
        Ok(Some(Self { path, limit, files }))
    }

    fn valid(&self) -> bool {
        (1..=MAX_PATH).contains(&self.path.count_bytes())
            && self.limit >= Self::MIN_LIMIT
            && (1..=Self::MAX_FILES).contains(&self.files)
    }
}
