//! Writes into one directory tree and nowhere else.
//!
//! Every name is looked up by the kernel below the tree's root (`openat2` with `RESOLVE_BENEATH`),
//! so a symbolic link that a layer planted earlier cannot redirect a later entry, whatever happens
//! in between. The last component is only ever acted on with calls that do not follow links.
//!
//! Directories keep their modification times while files are put into them: the time is noted when
//! a directory becomes the current parent and restored when the next one does. So no list of
//! directories has to be kept for the end.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT,
    Uid, XattrFlags,
};
use rustix::io::Errno;

use super::archive::{Entry, quote};
use super::error::EntryError;
use super::lower;
use super::nodes::{
    imply_directory, is_directory, make_directory, make_node, open_directory, remove, set_opaque,
    stat,
};
use super::path::EntryPath;

/// What a lookup may cross: nothing.
pub(super) const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// A time that stays as it is.
pub(super) const UNCHANGED: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };

/// A directory tree that is being written.
pub(super) struct Tree<'a> {
    root: OwnedFd,
    current: Option<Parent>,
    /// What lies beneath, topmost first.
    lowers: &'a [PathBuf],
    /// Directories that may lie below each other.
    deepest: usize,
    /// Directories that were made because some entry needed them.
    implied: u64,
}

/// The directory that is being filled.
struct Parent {
    path: Vec<u8>,
    fd: OwnedFd,
    mtime: Timespec,
}

impl<'a> Tree<'a> {
    /// Writes below `root`, no deeper than so many directories.
    pub(super) const fn new(root: OwnedFd, lowers: &'a [PathBuf], deepest: usize) -> Self {
        Self { root, current: None, lowers, deepest, implied: 0 }
    }

    /// How many directories were made that no entry describes.
    pub(super) const fn implied(&self) -> u64 {
        self.implied
    }

    /// The tree's root.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Makes a directory, or keeps the one that is there. One that replaces a whiteout hides what
    /// lower layers had in the directory that the whiteout removed.
    pub(super) fn directory(&mut self, path: &EntryPath) -> Result<OwnedFd, EntryError> {
        if path.is_root() {
            self.leave()?;
            return open_directory(self.root(), b".");
        }
        let parent = self.enter(&path.parent)?;
        make_directory(parent, &path.name, Mode::RWXU)
    }

    /// Makes an empty file in place of whatever has its name.
    pub(super) fn file(&mut self, path: &EntryPath) -> Result<File, EntryError> {
        let parent = self.vacate(path)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, path.name.as_slice(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(EntryError::system("create file"))?;
        Ok(File::from(fd))
    }

    /// Makes a symbolic link in place of whatever has its name. Its target is data, not a path.
    pub(super) fn symlink(&mut self, path: &EntryPath, target: &[u8]) -> Result<(), EntryError> {
        let parent = self.vacate(path)?;
        rustix::fs::symlinkat(target, parent, path.name.as_slice())
            .map_err(EntryError::system("create symbolic link"))
    }

    /// Gives a file of this tree another name.
    pub(super) fn hard_link(&mut self, path: &EntryPath, to: &EntryPath) -> Result<(), EntryError> {
        let quoted = || quote(&to.whole());
        let directory = rustix::fs::openat2(
            self.root(),
            if to.parent.is_empty() { &b"."[..] } else { &to.parent },
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            BENEATH,
        )
        .map_err(|errno| match errno {
            Errno::XDEV | Errno::LOOP => EntryError::LinkEscape(quoted()),
            Errno::NOENT | Errno::NOTDIR => EntryError::LinkMissing(quoted()),
            errno => EntryError::system("look up hard link's target")(errno),
        })?;
        if path == to {
            return Ok(());
        }
        // The target must be known to exist before its name's owner is removed.
        let target =
            stat(directory.as_fd(), &to.name)?.ok_or_else(|| EntryError::LinkMissing(quoted()))?;
        let parent = self.enter(&path.parent)?;
        let same = |old: &Stat| (old.st_dev, old.st_ino) == (target.st_dev, target.st_ino);
        if stat(parent, &path.name)?.as_ref().is_some_and(same) {
            return Ok(());
        }
        let parent = self.vacate(path)?;
        rustix::fs::linkat(
            &directory,
            to.name.as_slice(),
            parent,
            path.name.as_slice(),
            AtFlags::empty(),
        )
        .map_err(|errno| match errno {
            Errno::NOENT => EntryError::LinkMissing(quoted()),
            errno => EntryError::system("create hard link")(errno),
        })
    }

    /// Makes a device, pipe or whiteout in place of whatever has its name.
    pub(super) fn node(
        &mut self,
        path: &EntryPath,
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<(), EntryError> {
        let parent = self.vacate(path)?;
        make_node(parent, &path.name, kind, (major, minor))
    }

    /// Hides what lower layers have by this name. What this layer has stays: whiteouts speak of
    /// lower layers only.
    pub(super) fn whiteout(&mut self, path: &EntryPath) -> Result<(), EntryError> {
        let parent = self.enter(&path.parent)?;
        match stat(parent, &path.name)? {
            None => make_node(parent, &path.name, FileType::CharacterDevice, (0, 0)),
            Some(old) if is_directory(&old) => {
                let directory = open_directory(parent, &path.name)?;
                set_opaque(directory.as_fd())
            }
            Some(_) => Ok(()),
        }
    }

    /// Hides what lower layers have in this directory.
    pub(super) fn opaque(&mut self, path: &EntryPath) -> Result<(), EntryError> {
        let whole = path.whole();
        let directory = self.enter(&whole)?;
        set_opaque(directory)
    }

    /// Gives what was just made at `path` its owner, mode and time. Links have no mode.
    pub(super) fn finish(&mut self, path: &EntryPath, entry: &Entry) -> Result<(), EntryError> {
        let is_link = matches!(entry.kind, super::archive::Kind::Symlink(_));
        let parent = self.enter(&path.parent)?;
        let name = path.name.as_slice();
        let owner = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::chownat(parent, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(EntryError::system("set owner"))?;
        if !is_link {
            // Not a link, so following none: the name was made by the call before.
            rustix::fs::chmodat(parent, name, mode(entry), AtFlags::empty())
                .map_err(EntryError::system("set mode"))?;
        }
        rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(EntryError::system("set time"))
    }

    /// Restores the last parent's time.
    pub(super) fn leave(&mut self) -> Result<(), EntryError> {
        let Some(parent) = self.current.take() else { return Ok(()) };
        let times = Timestamps { last_access: UNCHANGED, last_modification: parent.mtime };
        rustix::fs::futimens(&parent.fd, &times)
            .map_err(EntryError::system("restore directory's time"))
    }

    /// Makes the directory at `path` the current parent, and makes it at all if it is missing.
    fn enter(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, EntryError> {
        if self.current.as_ref().is_none_or(|current| current.path != path) {
            self.leave()?;
            let (fd, depth) = match self.open(path)? {
                Some(found) => found,
                None => self.make_parents(path)?,
            };
            self.check_depth(depth + 1)?;
            self.set_current(path, fd)?;
        }
        Ok(self.current.as_ref().map_or(self.root.as_fd(), |current| current.fd.as_fd()))
    }

    fn set_current(&mut self, path: &[u8], fd: OwnedFd) -> Result<(), EntryError> {
        let stat = rustix::fs::fstat(&fd).map_err(EntryError::system("read directory's time"))?;
        self.current = Some(Parent { path: path.to_vec(), fd, mtime: mtime_of(&stat) });
        Ok(())
    }

    /// Opens a directory, and finds out how deep it lies. `None` if it is missing, or something else.
    fn open(&self, path: &[u8]) -> Result<Option<(OwnedFd, usize)>, EntryError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let name = if path.is_empty() { &b"."[..] } else { path };
        let open = |how| rustix::fs::openat2(self.root(), name, flags, Mode::empty(), how);
        let straight = match open(BENEATH.union(ResolveFlags::NO_SYMLINKS)) {
            Err(Errno::LOOP) => None,
            found => Some(found),
        };
        let found = match straight {
            Some(found) => found.map(|fd| (fd, parts(path))),
            None => open(BENEATH).and_then(|fd| self.depth_of(&fd).map(|depth| (fd, depth))),
        };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::XDEV | Errno::LOOP) => Err(EntryError::Escape),
            Err(errno) => Err(EntryError::system("open parent directory")(errno)),
        }
    }

    /// Directories between the root and one that was reached through links: a link shortens the way
    /// to it as often as a layer likes, and removing and listing it takes the long one. Counts no
    /// further than is needed to refuse it.
    fn depth_of(&self, directory: &OwnedFd) -> Result<usize, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::fstat(&self.root)?;
        let mut at = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
        for depth in 0..=self.deepest {
            let here = rustix::fs::fstat(&at)?;
            if (here.st_dev, here.st_ino) == (root.st_dev, root.st_ino) {
                return Ok(depth);
            }
            at = rustix::fs::openat(&at, "..", flags, Mode::empty())?;
        }
        Ok(self.deepest + 1)
    }

    const fn check_depth(&self, depth: usize) -> Result<(), EntryError> {
        let limit = self.deepest;
        if depth > limit { Err(EntryError::TooDeep { limit }) } else { Ok(()) }
    }

    /// Makes what is missing of `path`, from the top. What is there is looked for from the bottom: so
    /// that costs no more than what is made.
    fn make_parents(&mut self, path: &[u8]) -> Result<(OwnedFd, usize), EntryError> {
        let mut end = path.len();
        let (mut fd, mut depth) = loop {
            end = path.get(..end).unwrap_or_default().iter().rposition(|b| *b == b'/').unwrap_or(0);
            if let Some(found) = self.open(path.get(..end).unwrap_or_default())? {
                break found;
            }
        };
        let missing = path.get(end..).unwrap_or_default().split(|byte| *byte == b'/');
        for name in missing.filter(|name| !name.is_empty()) {
            let parent = path.get(..end).unwrap_or_default();
            end += name.len() + usize::from(end > 0);
            let prefix = path.get(..end).unwrap_or_default();
            self.check_depth(depth + 1)?;
            self.set_current(parent, fd)?;
            let current = self.current.as_ref().map_or(self.root.as_fd(), |c| c.fd.as_fd());
            let made = imply_directory(current, name, prefix)?;
            self.implied += 1;
            lower::resemble(&made, prefix, self.lowers)?;
            self.leave()?;
            (fd, depth) = (made, depth + 1);
        }
        Ok((fd, depth))
    }

    /// The entry's parent, with nothing left there by the entry's name.
    fn vacate(&mut self, path: &EntryPath) -> Result<BorrowedFd<'_>, EntryError> {
        if path.is_root() {
            return Err(EntryError::Root);
        }
        let parent = self.enter(&path.parent)?;
        remove(parent, &path.name)?;
        Ok(parent)
    }
}

/// Owner, attributes, mode and time of an open file or directory. The order matters: a change of
/// owner takes setuid and capabilities away.
pub(super) fn set_metadata(fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), EntryError> {
    let owner = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::fchown(fd, Some(owner.0), Some(owner.1))
        .map_err(EntryError::system("set owner"))?;
    for (name, value) in &entry.xattrs {
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            // A file system without attributes holds the image as well as it can.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(EntryError::system("set extended attribute")(errno)),
        }
    }
    rustix::fs::fchmod(fd, mode(entry)).map_err(EntryError::system("set mode"))?;
    rustix::fs::futimens(fd, &times(entry)).map_err(EntryError::system("set time"))
}

fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode)
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime, tv_nsec: entry.mtime_nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

pub(super) fn mtime_of(stat: &Stat) -> Timespec {
    // The types of these fields differ between architectures.
    #[allow(clippy::useless_conversion, clippy::cast_possible_wrap, clippy::unnecessary_cast)]
    Timespec { tv_sec: stat.st_mtime.into(), tv_nsec: stat.st_mtime_nsec as _ }
}

/// Directories that a path without links names.
fn parts(path: &[u8]) -> usize {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count()
}
