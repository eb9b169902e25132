//! Walks trees that others write to meanwhile, and perhaps mean harm.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, open, openat2, statx,
};
use rustix::io::Errno;

use super::{Counted, Measured};

/// Room for the names that are read at once: the longest takes 280 bytes.
pub(super) const NAMES: usize = 4096;

/// How a directory is opened: to read what is in it, without a trace.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOATIME)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// How one is found in another: not through links, and not where something else is mounted.
pub(super) const WITHIN: ResolveFlags =
    ResolveFlags::NO_XDEV.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Names between two looks at the time.
const LOOK_EVERY: u64 = 256;

/// The unit of `st_blocks`, whatever the file system's own is.
const BLOCK: u64 = 512;

/// Parts of a byte that are counted: so much of a file is each of its names.
const PARTS: u32 = 24;

/// Directories below each other, the root among them. A path of 4096 bytes, the longest that the
/// kernel takes, has so many parts of fifteen letters: nobody's files are deeper.
pub const DEEPEST: usize = 256;

/// Names of one tree. They are no measure of what it takes, since a file may have 65,000 of them and
/// a name needs no inode, but looking at each takes microseconds.
pub const MOST_NAMES: u64 = 1_000_000;

/// How far a walk goes. What is beyond is not counted, and it is said that it was not.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Directories that are open below each other.
    pub depth: usize,
    /// Names looked at.
    pub entries: u64,
    /// How long it may take.
    pub time: Duration,
}

impl Default for Bounds {
    /// A descriptor for each level, and two MiB for names where all levels are wide.
    fn default() -> Self {
        Self { depth: DEEPEST, entries: MOST_NAMES, time: Duration::from_secs(30) }
    }
}

/// A directory that the walk is in.
struct Level {
    directory: OwnedFd,
    /// Those in it that were found and not entered yet: as many as were read at once.
    within: Vec<CString>,
}

struct Walk<'a> {
    bounds: &'a Bounds,
    wanted: &'a dyn Fn() -> bool,
    began: Instant,
    entries: u64,
    bytes: u64,
    /// Parts of bytes: shares of files with several names.
    parts: u128,
    /// How much was counted so far.
    counted: Counted,
}

/// Counts what is allocated for these trees and for their roots: blocks, not lengths, since files
/// have holes. Each name of a file counts for its share of it: in a tree that has all of them that
/// makes one, and nothing needs to be remembered of a million of them. Links are not followed, and
/// what is mounted inside is not entered, be it of the same file system. What goes meanwhile is not
/// there. Ends early where nobody wants it any more.
pub fn walk(roots: &[PathBuf], bounds: &Bounds, wanted: &dyn Fn() -> bool) -> Measured {
    let mut walk = Walk {
        bounds,
        wanted,
        began: Instant::now(),
        entries: 0,
        bytes: 0,
        parts: 0,
        counted: Counted::Whole,
    };
    // Where it ends before it is over, that counts for more than what could not be looked at.
    if let Err(why) = roots.iter().try_for_each(|root| walk.root(root)) {
        walk.counted = why;
    }
    let shares = u64::try_from((walk.parts + (1 << (PARTS - 1))) >> PARTS).unwrap_or(u64::MAX);
    Measured {
        bytes: walk.bytes.saturating_add(shares),
        names: walk.entries,
        counted: walk.counted,
        took: walk.began.elapsed(),
    }
}

/// Opens a root from the directory that it is in: a file system that is mounted on it may not
/// answer, and is none of it.
fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    let (Some(outer), Some(name)) = (root.parent(), root.file_name()) else {
        return open(root, DIRECTORY, Mode::empty());
    };
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(open(outer, path, Mode::empty())?, name, DIRECTORY, Mode::empty(), WITHIN)
}

impl Walk<'_> {
    /// Counts a tree, unless it must end before: the error says how much that was.
    fn root(&mut self, root: &Path) -> Result<(), Counted> {
        let Some(directory) = self.opened(open_root(root)) else { return Ok(()) };
        let mount = self.directory(directory.as_fd()).map(|found| found.stx_mnt_id);
        let Some(mount) = mount else { return Ok(()) };
        let mut names = Box::new([const { MaybeUninit::<u8>::uninit() }; NAMES]);
        let mut levels = vec![Level { directory, within: Vec::new() }];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.within.pop() else {
                if !self.read(level, mount, &mut names[..])? {
                    levels.pop();
                }
                continue;
            };
            let Some(directory) = self.inner(level.directory.as_fd(), &name) else { continue };
            if levels.len() >= self.bounds.depth {
                return Err(Counted::Endless);
            }
            levels.push(Level { directory, within: Vec::new() });
        }
        Ok(())
    }

    /// Counts the next names in a directory that is counted itself, as many as there is room for, and
    /// keeps those of directories. Says whether there may be more.
    fn read(
        &mut self,
        level: &mut Level,
        mount: u64,
        names: &mut [MaybeUninit<u8>],
    ) -> Result<bool, Counted> {
        let directory = level.directory.as_fd();
        let mut entries = RawDir::new(directory, names);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.failed(error);
                    return Ok(false);
                }
            };
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                self.look_up()?;
                let kind = entry.file_type();
                if kind == FileType::Directory || self.file(directory, name, kind, mount) {
                    level.within.push(name.to_owned());
                }
            }
            if entries.is_buffer_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens and counts a directory. That nothing is mounted on it is found before the file system
    /// that is mounted there is asked anything: it may not answer.
    fn inner(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Option<OwnedFd> {
        let inner = self.opened(openat2(directory, name, DIRECTORY, Mode::empty(), WITHIN))?;
        self.directory(inner.as_fd())?;
        Some(inner)
    }

    fn directory(&mut self, directory: BorrowedFd<'_>) -> Option<Statx> {
        let found = self.look_at(directory, c"", AtFlags::EMPTY_PATH)?;
        self.bytes = self.bytes.saturating_add(found.stx_blocks.saturating_mul(BLOCK));
        Some(found)
    }

    /// Counts what is no directory; says what is one after all, on file systems that tell no kinds.
    fn file(&mut self, at: BorrowedFd<'_>, name: &CStr, kind: FileType, mount: u64) -> bool {
        let Some(found) = self.look_at(at, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
        if kind == FileType::Unknown
            && FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory
        {
            return true;
        }
        if found.stx_mnt_id == mount {
            let bytes = found.stx_blocks.saturating_mul(BLOCK);
            let names = u128::from(found.stx_nlink.max(1));
            self.parts = self.parts.saturating_add((u128::from(bytes) << PARTS) / names);
        }
        false
    }

    /// A file system that is mounted on a file is not asked: it may not answer. For those on disk
    /// the kernel knows all that there is to know.
    fn look_at(&mut self, at: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Option<Statx> {
        let asked = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let flags = flags | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        match statx(at, name, flags, asked) {
            Ok(found) => Some(found),
            Err(error) => {
                self.failed(error);
                None
            }
        }
    }

    fn opened(&mut self, result: Result<OwnedFd, Errno>) -> Option<OwnedFd> {
        result.map_err(|error| self.failed(error)).ok()
    }

    /// What went, became something else, or is of another mount does not count; what cannot be looked
    /// at might.
    fn failed(&mut self, error: Errno) {
        let is_none_of_it = matches!(
            error,
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::STALE
        );
        if !is_none_of_it {
            self.counted = Counted::Part;
        }
    }

    fn look_up(&mut self) -> Result<(), Counted> {
        self.entries += 1;
        let often = self.entries.is_multiple_of(LOOK_EVERY);
        let late = || self.began.elapsed() > self.bounds.time || !(self.wanted)();
        if self.entries > self.bounds.entries {
            return Err(Counted::Endless);
        }
        if often && late() { Err(Counted::Part) } else { Ok(()) }
    }
}
