//! The log files of the pod's containers, and the pipes they are filled from.

use core::array;
use core::ffi::CStr;

use mote_pause::log::{Files, Flow, Log, MAX_PARTS, Read, Source, Stream, pump};
use mote_pause::text::Text;
use mote_pause::wire::{Failure, Key, LogEnd, LogFile, MAX_PATH};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{self, Errno, IoSlice};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::fault::{Fault, While};
use crate::sys::{Clock, Waiting, now};

/// Logs at one time. A pod has a handful of containers; ended logs are remembered in free places.
pub(crate) const MAX_LOGS: usize = 32;

/// Streams at one time: each log's stdout and stderr.
pub(crate) const MAX_STREAMS: usize = 2 * MAX_LOGS;

/// Long enough for any path with the number of a rotated file.
type Path = Text<{ MAX_PATH + 4 }>;

/// What is remembered of a log. All zeroes if it is free, see [`Logs`].
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    key: Option<Key>,
    path: Path,
    files: u8,
    log: Log,
    /// When its last stream ended, or 0.
    ended_ns: u64,
}

impl Entry {
    pub(crate) const FREE: Self =
        Self { key: None, path: Path::EMPTY, files: 0, log: Log::UNUSED, ended_ns: 0 };

    fn end(&self) -> Option<LogEnd> {
        let end = LogEnd { key: self.key?, boot_ns: self.ended_ns, lost: self.log.lost() };
        (self.ended_ns > 0).then_some(end)
    }
}

/// What is open of a log: nothing once it has ended.
#[derive(Default)]
struct Opened {
    file: Option<OwnedFd>,
    pipes: [Option<OwnedFd>; 2],
}

/// All logs. The entries are large and lie in memory that is all zeroes, and so costs nothing,
/// until a log uses it; a closed file descriptor is not zero and lies apart.
pub(crate) struct Logs {
    entries: &'static mut [Entry; MAX_LOGS],
    opened: [Opened; MAX_LOGS],
}

impl Logs {
    pub(crate) fn new(entries: &'static mut [Entry; MAX_LOGS]) -> Self {
        Self { entries, opened: array::from_fn(|_| Opened::default()) }
    }

    /// Opens a log; returns what to give a helper as stdout and stderr.
    pub(crate) fn open(
        &mut self,
        key: Key,
        wanted: &LogFile<'_>,
        dir: BorrowedFd<'_>,
    ) -> Result<[OwnedFd; 2], Fault> {
        let free = |at: &usize| self.opened.get(*at).is_some_and(|opened| opened.file.is_none());
        let ended = |at: &usize| self.entries.get(*at).map(|entry| entry.ended_ns);
        let at = (0..MAX_LOGS).filter(free).min_by_key(ended).ok_or(Fault::of(Failure::Full))?;
        let file = open_file(dir, wanted.path, OFlags::empty()).during(Failure::OpenLog)?;
        let size = fs::fstat(&file).during(Failure::OpenLog)?.st_size;
        let (stdout, to_stdout) = pipe().during(Failure::Pipe)?;
        let (stderr, to_stderr) = pipe().during(Failure::Pipe)?;
        let entry = Entry {
            key: Some(key),
            path: Path::EMPTY.and(wanted.path.to_bytes()),
            files: wanted.files,
            log: Log::new(u32::try_from(size).unwrap_or(u32::MAX), wanted.limit),
            ended_ns: 0,
        };
        let opened = Opened { file: Some(file), pipes: [Some(stdout), Some(stderr)] };
        if let (Some(to), Some(open)) = (self.entries.get_mut(at), self.opened.get_mut(at)) {
            (*to, *open) = (entry, opened);
        }
        Ok([to_stdout, to_stderr])
    }

    /// What to wait for, in the order in which [`Logs::pump`] numbers streams.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Waiting> {
        let pipes = self.opened.iter().flat_map(|opened| &opened.pipes);
        pipes.map(|pipe| pipe.as_ref().map_or(Waiting::NOTHING, Waiting::readable))
    }

    /// Writes what a stream has to its log; returns the end of the log if this was it.
    pub(crate) fn pump(
        &mut self,
        stream: usize,
        dir: BorrowedFd<'_>,
        buffer: &mut [u8],
    ) -> Option<LogEnd> {
        let entry = self.entries.get_mut(stream / 2)?;
        let Opened { file, pipes } = self.opened.get_mut(stream / 2)?;
        let which = Stream::ALL.into_iter().nth(stream % 2)?;
        let pipe = pipes.get_mut(stream % 2)?;
        let mut files = Rotated { dir, path: &entry.path, files: entry.files, file };
        let source = &mut Pipe(pipe.as_ref()?.as_fd());
        match pump(which, now(Clock::Real), source, buffer, &mut entry.log, &mut files) {
            Flow::Open => return None,
            Flow::Ended => *pipe = None,
        }
        if pipes.iter().any(Option::is_some) {
            return None;
        }
        *file = None;
        entry.ended_ns = now(Clock::Boot);
        entry.end()
    }

    /// The logs that have ended.
    pub(crate) fn ended(&self) -> impl Iterator<Item = LogEnd> {
        self.entries.iter().filter_map(Entry::end)
    }
}

/// A pipe whose reading end does not block; the container's must.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (from, to) = pipe_with(PipeFlags::CLOEXEC)?;
    fs::fcntl_setfl(&from, OFlags::NONBLOCK)?;
    Ok((from, to))
}

fn open_file(dir: BorrowedFd<'_>, path: &CStr, more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW;
    fs::openat(dir, path, flags | OFlags::CLOEXEC | more, Mode::from_raw_mode(0o640))
}

struct Pipe<'a>(BorrowedFd<'a>);

impl Source for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Read {
        match io::read(self.0, buffer) {
            Ok(0) => Read::End,
            Ok(len) => Read::Bytes(len),
            Err(Errno::AGAIN | Errno::INTR) => Read::Dry,
            Err(_) => Read::End,
        }
    }
}

/// A log file and its predecessors `.1`, `.2`...
struct Rotated<'a> {
    dir: BorrowedFd<'a>,
    path: &'a Path,
    files: u8,
    file: &'a mut Option<OwnedFd>,
}

impl Files for Rotated<'_> {
    fn append(&mut self, parts: &[&[u8]]) -> bool {
        let Some(file) = self.file else { return false };
        let slices: [_; MAX_PARTS] =
            array::from_fn(|at| IoSlice::new(parts.get(at).copied().unwrap_or_default()));
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        match io::writev(&*file, slices.get(..parts.len()).unwrap_or_default()) {
            Ok(written) if written == wanted => true,
            Ok(written) => {
                cut(file, written);
                false
            }
            Err(_) => false,
        }
    }

    fn rotate(&mut self) {
        for number in (1..self.files).rev() {
            let _ = fs::renameat(
                self.dir,
                self.named(number - 1).as_c_str(),
                self.dir,
                self.named(number).as_c_str(),
            );
        }
        // A file that could not be put aside (its directory is gone) is emptied instead: a log
        // stays within its limit whatever happens to it.
        match open_file(self.dir, self.path.as_c_str(), OFlags::EXCL) {
            Ok(new) => *self.file = Some(new),
            Err(_) => {
                if let Some(file) = self.file {
                    let _ = fs::ftruncate(file, 0);
                }
            }
        }
    }
}

impl Rotated<'_> {
    /// The path of the file that is `number` files old.
    fn named(&self, number: u8) -> Path {
        match number {
            0 => *self.path,
            number => self.path.and(b".").and_number(u32::from(number)),
        }
    }
}

/// Takes the last `len` bytes off again: half a record is worse than none.
fn cut(file: &OwnedFd, len: usize) {
    if let (Ok(stat), Ok(len)) = (fs::fstat(file), u64::try_from(len)) {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let _ = fs::ftruncate(file, size.saturating_sub(len));
    }
}
