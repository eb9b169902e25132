//! Why a layer was not unpacked: which entry, and what about it.

use std::io;

use super::limits::Bomb;

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// One entry is broken, forbidden, or could not be written.
    #[error("entry {name:?}")]
    Entry {
        /// Its name as the archive has it, cut if long.
        name: String,
        /// What about it.
        #[source]
        source: EntryError,
    },
    /// The archive does not go on as an archive.
    #[error("read the archive after {entries} entries")]
    Archive {
        /// Entries before the fault.
        entries: u64,
        /// The fault.
        #[source]
        source: ArchiveError,
    },
    /// The layer's bytes could not be read or inflated.
    #[error("read the layer")]
    Read(#[source] io::Error),
    /// The layer's directory could not be prepared or finished.
    #[error("prepare the layer's directory")]
    Root(#[source] io::Error),
    /// Going on would use up the disk's reserve.
    #[error("less than {reserve} bytes, or too few inodes, would stay free")]
    NoSpace {
        /// What must stay free.
        reserve: u64,
    },
}

/// What is wrong with a tar archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It ends within an entry.
    #[error("it is truncated")]
    Truncated,
    /// The checksum is wrong: this is no tar header.
    #[error("a header's checksum is wrong")]
    Checksum,
    /// A number is not a number, or impossible.
    #[error("a header's {0} is not valid")]
    Field(&'static str),
    /// Long names and attributes are held in memory.
    #[error("an extended header has {size} bytes, more than {limit}")]
    HeaderTooLong {
        /// Its size.
        size: u64,
        /// The bound.
        limit: usize,
    },
    /// Records that do not add up.
    #[error("an extended header is malformed")]
    Extended,
    /// More than any file has.
    #[error("an entry has more than {0} extended attributes")]
    TooManyAttributes(usize),
    /// More than a node should hold.
    #[error("it has more than {0} entries")]
    TooManyEntries(u64),
    /// Reading failed below.
    #[error("read it")]
    Read(#[source] io::Error),
}

/// What is wrong with one entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// `../../etc/x`.
    #[error("its name has a `..`, which could lead out of the layer")]
    ParentDirectory,
    /// `link/x` where `link` leads out.
    #[error("its name leads through a symbolic link out of the layer")]
    Escape,
    /// `file/x`.
    #[error("its name leads through {0:?}, which is no directory")]
    NotADirectory(String),
    /// The root can only be a directory.
    #[error("it would replace the layer's root")]
    Root,
    /// NUL in a name.
    #[error("its name or target has a NUL byte")]
    Nul,
    /// A path or link target over the bound.
    #[error("its name or target has {length} bytes, more than {limit}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The bound.
        limit: usize,
    },
    /// Too many directories above it, also where its name leads there through links.
    #[error("it is more than {limit} directories deep")]
    TooDeep {
        /// The bound.
        limit: usize,
    },
    /// `.wh.`, `.wh...`.
    #[error("it is a whiteout of nothing")]
    Whiteout,
    /// A hard link to what the layer does not have, in it or at all.
    #[error("it is a hard link to {0:?}, which leads out of the layer")]
    LinkEscape(String),
    /// A hard link to what the layer does not have.
    #[error("it is a hard link to {0:?}, which is not in this layer")]
    LinkMissing(String),
    /// A type of entry that is no file.
    #[error("its type {0:?} is unknown")]
    Type(char),
    /// Sparse files in a format that only some versions of GNU tar write.
    #[error("it is a sparse file in pax format, which is not supported")]
    PaxSparse,
    /// A sparse file whose map is impossible.
    #[error("its map of a sparse file is not valid")]
    Sparse,
    /// Larger than a layer may be.
    #[error("it has {size} bytes, more than {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// Uid, gid, mode, time or device number beyond what the kernel has.
    #[error("its {0} is out of range")]
    Range(&'static str),
    /// Its content ended early or could not be read.
    #[error("read its content")]
    Content(#[source] ArchiveError),
    /// The kernel said that there is no room, and there is.
    #[error("{action}: this file system cannot hold it, and it is not full")]
    Unfit {
        /// What was being done.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel said no.
    #[error("{action}")]
    System {
        /// What was being done.
        action: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl EntryError {
    /// Wraps what a system call said while doing `action`.
    pub(super) fn system(action: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::System { action, source: errno.into() }
    }
}

impl UnpackError {
    /// Whether the disk is full.
    pub fn is_no_space(&self) -> bool {
        let full = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        match self {
            Self::NoSpace { .. } => true,
            Self::Entry { source: EntryError::System { source, .. }, .. } | Self::Root(source) => {
                full(source)
            }
            _ => false,
        }
    }

    /// The error of the byte stream beneath, when that is what failed.
    pub fn stream(&self) -> Option<&io::Error> {
        match self {
            Self::Read(error)
            | Self::Archive { source: ArchiveError::Read(error), .. }
            | Self::Entry { source: EntryError::Content(ArchiveError::Read(error)), .. } => {
                Some(error)
            }
            _ => None,
        }
    }

    /// Whether more came out of the layer than its size allows.
    pub fn is_bomb(&self) -> bool {
        self.stream()
            .and_then(io::Error::get_ref)
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Bomb>)
    }

    /// Whether the bytes themselves are broken, as they are when something changed them on the
    /// way. A source that failed and a layer that asks for too much are something else.
    pub fn is_corruption(&self) -> bool {
        if let Some(error) = self.stream() {
            // What inflating says; sources have other words.
            return matches!(
                error.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof
            );
        }
        match self {
            Self::Archive { source, .. }
            | Self::Entry { source: EntryError::Content(source), .. } => !matches!(
                source,
                ArchiveError::TooManyEntries(_) | ArchiveError::TooManyAttributes(_)
            ),
            _ => false,
        }
    }
}
