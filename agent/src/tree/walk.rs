//! Walks trees that others write to meanwhile, and perhaps mean harm.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, open, openat2, statx,
};
use rustix::io::Errno;

use crate::pod::storage::Measured;

/// Room for names, for each directory that is open: the longest takes 280 bytes.
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

/// How far a walk goes. What is beyond is not counted, and it is said that it was not.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Directories that are open below each other; those below are entered later.
    pub depth: usize,
    /// Directories that are left for later at the same time. One long chain needs one.
    pub later: usize,
    /// Names looked at.
    pub entries: u64,
    /// How long it may take.
    pub time: Duration,
}

impl Default for Bounds {
    /// A quarter of a MiB and some hundred descriptors at most; a million names is what a
    /// card of 32 GB has inodes for.
    fn default() -> Self {
        Self { depth: 64, later: 64, entries: 1_000_000, time: Duration::from_secs(30) }
    }
}

/// Why a walk has ended before it was over.
struct Over;

struct Walk<'a> {
    bounds: &'a Bounds,
    wanted: &'a dyn Fn() -> bool,
    began: Instant,
    entries: u64,
    bytes: u64,
    /// Parts of bytes: shares of files with several names.
    parts: u128,
    /// Everything was counted so far.
    whole: bool,
    /// Directories too deep to be entered from above.
    later: Vec<OwnedFd>,
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
        whole: true,
        later: Vec::new(),
    };
    if roots.iter().any(|root| walk.root(root).is_err()) {
        walk.whole = false;
    }
    let shares = u64::try_from((walk.parts + (1 << (PARTS - 1))) >> PARTS).unwrap_or(u64::MAX);
    Measured {
        bytes: walk.bytes.saturating_add(shares),
        whole: walk.whole,
        took: walk.began.elapsed(),
    }
}

impl Walk<'_> {
    fn root(&mut self, root: &PathBuf) -> Result<(), Over> {
        let Some(directory) = self.opened(open(root, DIRECTORY, Mode::empty())) else {
            return Ok(());
        };
        let mount = self.directory(directory.as_fd()).map(|found| found.stx_mnt_id);
        let Some(mount) = mount else { return Ok(()) };
        self.enter(&directory, mount, 1)?;
        // The deepest first: what is left for later then stays little.
        while let Some(directory) = self.later.pop() {
            self.enter(&directory, mount, 1)?;
        }
        Ok(())
    }

    /// Counts what is in a directory that is counted itself.
    fn enter(&mut self, directory: &OwnedFd, mount: u64, depth: usize) -> Result<(), Over> {
        let mut names = Box::new([const { MaybeUninit::<u8>::uninit() }; NAMES]);
        let mut entries = RawDir::new(directory.as_fd(), &mut names[..]);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.failed(error);
                    return Ok(());
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.look_up()?;
            let directory = directory.as_fd();
            let inner = match entry.file_type() {
                FileType::Directory => self.inner(directory, name),
                kind => self.file(directory, name, kind, mount),
            };
            if let Some(inner) = inner {
                self.go_down(inner, mount, depth)?;
            }
        }
        Ok(())
    }

    fn go_down(&mut self, inner: OwnedFd, mount: u64, depth: usize) -> Result<(), Over> {
        if depth < self.bounds.depth {
            return self.enter(&inner, mount, depth + 1);
        }
        if self.later.len() < self.bounds.later {
            self.later.push(inner);
        } else {
            self.whole = false;
        }
        Ok(())
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

    /// Counts what is no directory; gives back what is one after all, on file systems that tell no
    /// kinds.
    fn file(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        mount: u64,
    ) -> Option<OwnedFd> {
        let found = self.look_at(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if kind == FileType::Unknown
            && FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory
        {
            return self.inner(directory, name);
        }
        if found.stx_mnt_id == mount {
            let bytes = found.stx_blocks.saturating_mul(BLOCK);
            let names = u128::from(found.stx_nlink.max(1));
            self.parts = self.parts.saturating_add((u128::from(bytes) << PARTS) / names);
        }
        None
    }

    fn look_at(&mut self, at: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Option<Statx> {
        let asked = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        match statx(at, name, flags | AtFlags::NO_AUTOMOUNT, asked) {
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
        self.whole &= is_none_of_it;
    }

    fn look_up(&mut self) -> Result<(), Over> {
        self.entries += 1;
        let often = self.entries.is_multiple_of(LOOK_EVERY);
        let late = || self.began.elapsed() > self.bounds.time || !(self.wanted)();
        if self.entries > self.bounds.entries || often && late() {
            return Err(Over);
        }
        Ok(())
    }
}
