//! Removes a tree that nobody writes to any more.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, RawDir, RenameFlags, openat, openat2, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;

use super::walk::{DIRECTORY, NAMES, WITHIN};

/// Directories that are open below each other: each takes some stack of a thread that has little.
const DEPTH: usize = 64;

/// Removes a tree with its root; one that is not there is no error. Links are not followed, and what
/// is mounted inside is not touched, nor is then what it is mounted on.
///
/// `std::fs::remove_dir_all` enters directories by calling itself: a few thousand below each other
/// end the thread, and with it the process.
pub fn remove(root: &Path) -> io::Result<()> {
    remove_within(CWD, root, DEPTH)
}

/// The same for a name in a directory that is open.
pub fn remove_at(outer: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    remove_within(outer, name, DEPTH)
}

pub(super) fn remove_within(
    outer: BorrowedFd<'_>,
    root: impl Arg + Copy,
    depth: usize,
) -> io::Result<()> {
    let directory = match openat(outer, root, DIRECTORY, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Ok(gone(unlinkat(outer, root, AtFlags::empty()))?);
        }
        Err(error) => return Err(error.into()),
    };
    let mut removal = Removal { root: directory.as_fd(), depth, moved: 0 };
    // What was too deep lies here now.
    while removal.clear(directory.as_fd(), 1)? > 0 {}
    Ok(gone(unlinkat(outer, root, AtFlags::REMOVEDIR))?)
}

struct Removal<'a> {
    root: BorrowedFd<'a>,
    depth: usize,
    /// Directories that were moved to the root.
    moved: u64,
}

impl Removal<'_> {
    /// Removes what is in a directory, and counts what is not there any more. Some file systems pass
    /// over names while others are removed: it is empty when that changed nothing. Damaged ones list
    /// names that they do not find, and would for ever: whether something is left is then told by
    /// `rmdir`.
    fn clear(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<u64, Errno> {
        let mut names = Box::new([const { MaybeUninit::<u8>::uninit() }; NAMES]);
        rustix::fs::seek(directory, rustix::fs::SeekFrom::Start(0))?;
        let mut entries = RawDir::new(directory, &mut names[..]);
        let mut count = 0;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entry.file_type() != FileType::Directory {
                match unlinkat(directory, name, AtFlags::empty()) {
                    // One after all, on a file system that tells no kinds.
                    Err(Errno::ISDIR) => {}
                    done => {
                        count += changed(done)?;
                        continue;
                    }
                }
            }
            count += self.directory(directory, name, depth)?;
        }
        Ok(count)
    }

    fn directory(
        &mut self,
        outer: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<u64, Errno> {
        if depth >= self.depth {
            return self.move_up(outer, name);
        }
        let inner: OwnedFd = match openat2(outer, name, DIRECTORY, Mode::empty(), WITHIN) {
            Err(Errno::NOENT) => return Ok(0),
            inner => inner?,
        };
        while self.clear(inner.as_fd(), depth + 1)? > 0 {}
        changed(unlinkat(outer, name, AtFlags::REMOVEDIR))
    }

    /// Moves what is too deep to the root, where its turn comes.
    fn move_up(&mut self, outer: BorrowedFd<'_>, name: &CStr) -> Result<u64, Errno> {
        loop {
            let free = format!("..{}", self.moved);
            self.moved += 1;
            match renameat_with(outer, name, self.root, free, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                done => return changed(done),
            }
        }
    }
}

/// How many names fewer there are.
fn changed(result: Result<(), Errno>) -> Result<u64, Errno> {
    match result {
        Err(Errno::NOENT) => Ok(0),
        result => result.map(|()| 1),
    }
}

/// What is gone need not be removed.
fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}
