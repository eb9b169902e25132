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
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps,
    UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::archive::{Entry, quote};
use super::error::EntryError;
use super::lower;
use super::path::EntryPath;

/// Overlayfs' mark for a directory that hides what lower layers have in it.
const OPAQUE: &str = "trusted.overlay.opaque";

/// What a lookup may cross: nothing.
pub(super) const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// Mode of directories that a layer uses and does not have.
const IMPLIED: Mode = Mode::from_raw_mode(0o755);

/// A time that stays as it is.
pub(super) const UNCHANGED: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };

/// A directory tree that is being written.
pub(super) struct Tree<'a> {
    root: OwnedFd,
    current: Option<Parent>,
    /// What lies beneath, topmost first.
    lowers: &'a [PathBuf],
}

/// The directory that is being filled.
struct Parent {
    path: Vec<u8>,
    fd: OwnedFd,
    mtime: Timespec,
}

impl<'a> Tree<'a> {
    /// Writes below `root`.
    pub(super) const fn new(root: OwnedFd, lowers: &'a [PathBuf]) -> Self {
        Self { root, current: None, lowers }
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
            let fd = match self.open(path) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => self.make_parents(path)?,
                Err(Errno::XDEV | Errno::LOOP) => return Err(EntryError::Escape),
                Err(errno) => return Err(EntryError::system("open parent directory")(errno)),
            };
            self.set_current(path, fd)?;
        }
        Ok(self.current.as_ref().map_or(self.root.as_fd(), |current| current.fd.as_fd()))
    }

    fn set_current(&mut self, path: &[u8], fd: OwnedFd) -> Result<(), EntryError> {
        let stat = rustix::fs::fstat(&fd).map_err(EntryError::system("read directory's time"))?;
        self.current = Some(Parent { path: path.to_vec(), fd, mtime: mtime_of(&stat) });
        Ok(())
    }

    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = if path.is_empty() { &b"."[..] } else { path };
        rustix::fs::openat2(self.root(), path, flags, Mode::empty(), BENEATH)
    }

    /// Makes what is missing of `path`, from the top.
    fn make_parents(&mut self, path: &[u8]) -> Result<OwnedFd, EntryError> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut fd = open_directory(self.root(), b".")?;
        let mut start = 0;
        for end in ends.chain([path.len()]) {
            let prefix = path.get(..end).unwrap_or_default();
            let name = path.get(start..end).unwrap_or_default();
            let next = match self.open(prefix) {
                Ok(next) => next,
                Err(Errno::XDEV | Errno::LOOP) => return Err(EntryError::Escape),
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    self.set_current(path.get(..start.saturating_sub(1)).unwrap_or_default(), fd)?;
                    let current = self.current.as_ref().map_or(self.root.as_fd(), |c| c.fd.as_fd());
                    let made = imply_directory(current, name, prefix)?;
                    lower::resemble(&made, prefix, self.lowers)?;
                    self.leave()?;
                    made
                }
                Err(errno) => return Err(EntryError::system("open parent directory")(errno)),
            };
            fd = next;
            start = end + 1;
        }
        Ok(fd)
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
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_allowed(name)) {
        match rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty()) {
            // A file system without attributes holds the image as well as it can.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(EntryError::system("set extended attribute")(errno)),
        }
    }
    rustix::fs::fchmod(fd, mode(entry)).map_err(EntryError::system("set mode"))?;
    rustix::fs::futimens(fd, &times(entry)).map_err(EntryError::system("set time"))
}

/// Attributes that belong to an image. Security labels are the node's own to give, and `trusted`
/// ones would be instructions to overlayfs.
fn is_allowed(name: &[u8]) -> bool {
    let user = name.starts_with(b"user.")
        && !name.starts_with(b"user.overlay.")
        && !name.starts_with(b"user.fuseoverlayfs.");
    user || name == b"security.capability" || name.starts_with(b"system.posix_acl_")
}

fn set_opaque(directory: BorrowedFd<'_>) -> Result<(), EntryError> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
        .map_err(EntryError::system("mark directory opaque"))
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

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, EntryError> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(EntryError::system("look up name")(errno)),
    }
}

/// Opens a name that must be a directory itself, not a link to one.
fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, EntryError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(EntryError::system("open directory"))
}

fn make_directory(parent: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<OwnedFd, EntryError> {
    let old = stat(parent, name)?;
    if old.as_ref().is_some_and(is_directory) {
        return open_directory(parent, name);
    }
    remove(parent, name)?;
    rustix::fs::mkdirat(parent, name, mode).map_err(EntryError::system("create directory"))?;
    let directory = open_directory(parent, name)?;
    if old.as_ref().is_some_and(is_whiteout) {
        set_opaque(directory.as_fd())?;
    }
    Ok(directory)
}

/// Makes a directory that some entry needs and none describes.
fn imply_directory(
    parent: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
) -> Result<OwnedFd, EntryError> {
    match stat(parent, name)? {
        Some(old) if !is_whiteout(&old) => Err(EntryError::NotADirectory(quote(path))),
        _ => {
            let directory = make_directory(parent, name, IMPLIED)?;
            // The process' umask must not decide what containers see.
            rustix::fs::fchmod(&directory, IMPLIED).map_err(EntryError::system("set mode"))?;
            Ok(directory)
        }
    }
}

fn make_node(
    parent: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
    (major, minor): (u32, u32),
) -> Result<(), EntryError> {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(parent, name, kind, Mode::empty(), device)
        .map_err(EntryError::system("create device"))
}

/// Removes whatever has this name. The tree's depth is bounded, so recursion is.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), EntryError> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(EntryError::system("replace file")(errno)),
    }
    let directory = open_directory(parent, name)?;
    let action = "replace directory";
    for child in Dir::read_from(&directory).map_err(EntryError::system(action))? {
        let child = child.map_err(EntryError::system(action))?;
        let child = child.file_name().to_bytes();
        if child != b"." && child != b".." {
            remove(directory.as_fd(), child)?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(EntryError::system(action))
}
