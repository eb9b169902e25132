//! Unpacks one layer into one directory, ready to be a lower directory of overlayfs.
//!
//! Layers come from strangers. Whatever a layer says, nothing is written outside its directory, no
//! more than [`Limits`] allow is written inside, and what is refused is refused by name. Whiteouts
//! become the device 0/0 and opaque directories an attribute, as overlayfs has them; both need
//! privilege, and neither can be mistaken for content.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use flate2::Crc;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::image::room::Room;

use archive::{Archive, Entry, Kind, quote};
use path::{EntryPath, Meaning};
use tree::Tree;

pub mod archive;
pub mod error;
pub mod limits;
mod lower;
mod nodes;
mod number;
pub mod path;
mod pax;
mod sums;
#[cfg(test)]
mod tests;
mod tree;

pub use error::{ArchiveError, EntryError, UnpackError};
pub use limits::{Bomb, Bounded, Limits};
pub use sums::{Sum, Sums};

/// Content goes to disk in pieces of this size.
const BUFFER: usize = 64 * 1024;

/// Bytes written between two looks at the free space.
const SPACE_CHECK: u64 = 8 * 1024 * 1024;

/// Inodes made between two looks.
const INODES_CHECK: u64 = 256;

/// What a name costs on disk at most, whatever the file holds: a block of a directory.
const NAME: u64 = 4096;

/// What a layer turned out to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries, whiteouts included.
    pub entries: u64,
    /// Directories that they need and do not describe.
    pub implied: u64,
    /// Bytes of file content.
    pub bytes: u64,
    /// The layer hides all layers beneath it. Overlayfs does not honour the mark on a root, so
    /// whoever mounts must leave them out.
    pub opaque_root: bool,
}

/// Unpacks the archive in `input` into `root`, an empty directory, and returns the input, at the
/// end of the archive but not necessarily at its own. Directories that it
/// uses and does not describe are as in `lowers`, the layers beneath, topmost first; the sums of
/// files go to `sums`.
pub fn unpack<R: Read>(
    input: R,
    root: OwnedFd,
    limits: &Limits,
    (lowers, sums): (&[PathBuf], &mut Sums),
) -> Result<(Unpacked, R), UnpackError> {
    let mut archive = Archive::new(input, *limits);
    let mut layer = Layer {
        tree: Tree::new(root, lowers, limits.depth),
        limits: *limits,
        buffer: vec![0; BUFFER],
        unchecked: 0,
        uncounted: 0,
        crc: Crc::new(),
        apparent: 0,
        sums,
        done: Unpacked::default(),
    };
    layer.check_space()?;
    while let Some(entry) = archive.next_entry()? {
        let taken = layer.take(&entry, &mut archive);
        taken.map_err(|source| UnpackError::Entry {
            name: quote(&entry.name),
            source: layer.blame(source),
        })?;
        layer.count_implied()?;
        if layer.unchecked >= SPACE_CHECK || layer.uncounted >= INODES_CHECK {
            layer.check_space()?;
        }
    }
    let finish = layer.tree.leave();
    finish.map_err(|source| UnpackError::Entry { name: ".".to_owned(), source })?;
    Ok((layer.done, archive.into_inner()))
}

/// A layer that is being unpacked.
struct Layer<'a> {
    tree: Tree<'a>,
    limits: Limits,
    buffer: Vec<u8>,
    /// Bytes written since the free space was looked at.
    unchecked: u64,
    /// Inodes made since then.
    uncounted: u64,
    /// Of the current file.
    crc: Crc,
    /// Sizes of all files with holes: whoever copies them may fill the holes.
    apparent: u64,
    sums: &'a mut Sums,
    done: Unpacked,
}

impl Layer<'_> {
    /// Puts one entry where it belongs.
    fn take<R: Read>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<(), EntryError> {
        self.done.entries += 1;
        self.uncounted += 1;
        // Attributes have a block of their own.
        let attributes: usize =
            entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.unchecked += NAME + attributes.next_multiple_of(4096) as u64;
        match EntryPath::parse(&entry.name, &self.limits)?.meaning()? {
            Meaning::Ignored => Ok(()),
            Meaning::Whiteout(path) => self.tree.whiteout(&path),
            Meaning::Opaque(path) => {
                self.done.opaque_root |= path.is_root();
                self.tree.opaque(&path)
            }
            Meaning::File(path) => self.make(&path, entry, archive),
        }
    }

    /// Directories that an entry implies cost as much as others: a name can have a hundred of them.
    fn count_implied(&mut self) -> Result<(), UnpackError> {
        let new = self.tree.implied() - self.done.implied;
        self.done.implied += new;
        self.uncounted += new;
        self.unchecked += new * NAME;
        let (entries, limit) = (self.done.entries, self.limits.entries);
        if entries + self.done.implied > limit {
            let source = ArchiveError::TooManyEntries(limit);
            return Err(UnpackError::Archive { entries, source });
        }
        Ok(())
    }

    fn make<R: Read>(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        archive: &mut Archive<R>,
    ) -> Result<(), EntryError> {
        match &entry.kind {
            Kind::Directory => {
                let directory = self.tree.directory(path)?;
                tree::set_metadata(directory.as_fd(), entry)
            }
            Kind::File(size) => {
                self.check_size(*size)?;
                let mut file = self.tree.file(path)?;
                self.crc.reset();
                self.copy(archive, &mut file, *size)?;
                self.sums.note(inode(&file)?, Sum::Known(self.crc.sum()));
                tree::set_metadata(file.as_fd(), entry)
            }
            Kind::Sparse(size, pieces) => {
                self.apparent = self.apparent.saturating_add(*size);
                self.check_size(self.apparent)?;
                let mut file = self.tree.file(path)?;
                self.copy_sparse(archive, &mut file, *size, pieces)?;
                self.sums.note(inode(&file)?, Sum::Holes);
                tree::set_metadata(file.as_fd(), entry)
            }
            Kind::Symlink(target) => {
                self.check_target(target)?;
                self.tree.symlink(path, target)?;
                self.tree.finish(path, entry)
            }
            Kind::HardLink(target) => {
                let target_path = EntryPath::parse(target, &self.limits);
                let target_path = target_path.map_err(|error| match error {
                    EntryError::ParentDirectory => EntryError::LinkEscape(quote(target)),
                    other => other,
                })?;
                self.tree.hard_link(path, &target_path)
            }
            Kind::Character(major, minor) => {
                self.node(path, entry, FileType::CharacterDevice, (*major, *minor))
            }
            Kind::Block(major, minor) => {
                self.node(path, entry, FileType::BlockDevice, (*major, *minor))
            }
            Kind::Fifo => self.node(path, entry, FileType::Fifo, (0, 0)),
        }
    }

    fn node(
        &mut self,
        path: &EntryPath,
        entry: &Entry,
        kind: FileType,
        device: (u32, u32),
    ) -> Result<(), EntryError> {
        self.tree.node(path, kind, device)?;
        self.tree.finish(path, entry)
    }

    fn check_size(&self, size: u64) -> Result<(), EntryError> {
        let limit = self.limits.bytes;
        if size > limit { Err(EntryError::TooLarge { size, limit }) } else { Ok(()) }
    }

    fn check_target(&self, target: &[u8]) -> Result<(), EntryError> {
        let (length, limit) = (target.len(), self.limits.path);
        if length > limit {
            return Err(EntryError::TooLong { length, limit });
        }
        if target.contains(&0) { Err(EntryError::Nul) } else { Ok(()) }
    }

    /// Copies `size` bytes of the current entry's content.
    fn copy<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        file: &mut File,
        mut size: u64,
    ) -> Result<(), EntryError> {
        while size > 0 {
            let want = usize::try_from(size).unwrap_or(usize::MAX).min(BUFFER);
            let target = self.buffer.get_mut(..want).unwrap_or_default();
            let count = archive.read_content(target).map_err(EntryError::Content)?;
            let data = self.buffer.get(..count).unwrap_or_default();
            file.write_all(data).map_err(write_error)?;
            self.crc.update(data);
            size -= count as u64;
            self.done.bytes += count as u64;
            self.unchecked += count as u64;
            if self.unchecked >= SPACE_CHECK {
                self.check_space().map_err(|_| write_error(full()))?;
            }
        }
        Ok(())
    }

    fn copy_sparse<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        file: &mut File,
        size: u64,
        pieces: &[(u64, u64)],
    ) -> Result<(), EntryError> {
        file.set_len(size).map_err(write_error)?;
        for (offset, length) in pieces {
            file.seek(SeekFrom::Start(*offset)).map_err(write_error)?;
            self.copy(archive, file, *length)?;
        }
        Ok(())
    }

    /// Fails if the file system is down to its reserve.
    fn check_space(&mut self) -> Result<(), UnpackError> {
        (self.unchecked, self.uncounted) = (0, 0);
        let reserve = self.limits.reserve;
        let room = self.room().map_err(|e| UnpackError::Root(e.into()))?;
        if room.has(0, reserve) { Ok(()) } else { Err(UnpackError::NoSpace { reserve }) }
    }

    fn room(&self) -> Result<Room, Errno> {
        rustix::fs::fstatvfs(self.tree.root()).map(Room::from)
    }

    /// A file system also says that it is full where one file wants what no room would be enough for,
    /// such as attributes larger than a block. That is the layer's fault: nothing needs to go for it.
    fn blame(&self, error: EntryError) -> EntryError {
        let least = self.limits.reserve.max(SPACE_CHECK);
        match error {
            EntryError::System { action, source }
                if source.kind() == ErrorKind::StorageFull
                    && self.room().is_ok_and(|room| room.has(0, least)) =>
            {
                EntryError::Unfit { action, source }
            }
            error => error,
        }
    }
}

fn inode(file: &File) -> Result<u64, EntryError> {
    Ok(rustix::fs::fstat(file).map_err(EntryError::system("look at file"))?.st_ino)
}

fn write_error(source: std::io::Error) -> EntryError {
    EntryError::System { action: "write its content", source }
}

fn full() -> std::io::Error {
    ErrorKind::StorageFull.into()
}
