//! Files by name, in a directory or in a tar archive.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Take};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::image::unpack::archive::{Archive, Kind};
use crate::image::unpack::error::UnpackError;
use crate::image::unpack::limits::Limits;
use crate::image::unpack::path::EntryPath;

/// Longest name that is remembered, in bytes: docker's have some 150.
const MAX_NAME: usize = 512;

/// Most files of an archive of images: 256 images with 128 layers would have 33,000.
const MAX_ENTRIES: u64 = 40_000;

/// Why files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system says no.
    #[error("read {path}")]
    Read {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is compressed, and cannot be read from the middle.
    #[error("the archive itself is compressed: unpack it once with `gunzip` or `zstd -d`")]
    Compressed,
    /// It is no archive.
    #[error("list the archive")]
    List(#[source] UnpackError),
    /// A file is larger than what it should hold.
    #[error("{name:?} in it has {size} bytes, more than {limit}")]
    TooLarge {
        /// Which.
        name: String,
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
}

/// Where the files are.
pub(super) enum Files {
    Directory { path: PathBuf, fd: OwnedFd },
    Archive { path: PathBuf, file: File, entries: BTreeMap<Vec<u8>, Entry> },
}

/// A file in an archive.
pub(super) enum Entry {
    Content {
        offset: u64,
        size: u64,
    },
    /// Docker stores a layer that two images share once and links to it.
    Link(Vec<u8>),
}

impl Files {
    pub(super) fn open(path: &Path) -> Result<Self, FilesError> {
        let failed = |source| FilesError::Read { path: path.to_owned(), source };
        let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let found = found.map_err(|e| failed(e.into()))?;
        let Some((file, meta)) = reopen(&found).map_err(failed)? else {
            return Err(failed(io::Error::other("it is neither a file nor a directory")));
        };
        let kind = meta.file_type();
        let path = path.to_owned();
        if kind.is_dir() {
            return Ok(Self::Directory { path, fd: file.into() });
        }
        let entries = list(&file, &path)?;
        Ok(Self::Archive { path, file, entries })
    }

    /// Reads a small file whole. `None` if there is none by this name.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, FilesError> {
        let Some(size) = self.size(name)? else { return Ok(None) };
        if size > limit {
            return Err(FilesError::TooLarge { name: name.to_owned(), size, limit });
        }
        let Some(stream) = self.stream(name)? else { return Ok(None) };
        let mut data = Vec::new();
        stream.take(limit).read_to_end(&mut data).map_err(self.failed())?;
        Ok(Some(data))
    }

    /// The size of a file.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>, FilesError> {
        Ok(self.stream(name)?.map(|stream| stream.limit()))
    }

    /// Reads a file from its start.
    pub(super) fn stream(&self, name: &str) -> Result<Option<Take<File>>, FilesError> {
        match self {
            Self::Directory { fd, .. } => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                // A layout from a stick may hold links; none leads out of it.
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                let found = match rustix::fs::openat2(fd, name, flags, Mode::empty(), resolve) {
                    Ok(found) => found,
                    Err(Errno::NOENT) => return Ok(None),
                    Err(errno) => return Err(self.failed()(errno.into())),
                };
                let Some((file, meta)) = reopen(&found).map_err(self.failed())? else {
                    return Ok(None);
                };
                if !meta.is_file() {
                    return Ok(None);
                }
                Ok(Some(file.take(meta.len())))
            }
            Self::Archive { file, entries, .. } => {
                let key = key(name.as_bytes());
                let found = match key.as_ref().and_then(|key| entries.get(key)) {
                    Some(Entry::Link(target)) => entries.get(target),
                    found => found,
                };
                let Some(Entry::Content { offset, size }) = found else { return Ok(None) };
                let mut file = file.try_clone().map_err(self.failed())?;
                file.seek(SeekFrom::Start(*offset)).map_err(self.failed())?;
                Ok(Some(file.take(*size)))
            }
        }
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> FilesError {
        let (Self::Directory { path, .. } | Self::Archive { path, .. }) = self;
        let path = path.clone();
        move |source| FilesError::Read { path, source }
    }
}

/// Opens a file or directory that was only looked up so far. `None` for anything else: to open a pipe
/// waits for its other end, and to open a watchdog starts it.
fn reopen(found: &OwnedFd) -> io::Result<Option<(File, Metadata)>> {
    let stat = rustix::fs::fstat(found)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Ok(None);
    }
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    let meta = file.metadata()?;
    Ok(Some((file, meta)))
}

/// Lists an archive without reading what is in it.
fn list(file: &File, path: &Path) -> Result<BTreeMap<Vec<u8>, Entry>, FilesError> {
    let failed = |source| FilesError::Read { path: path.to_owned(), source };
    let mut start = Vec::new();
    file.take(4).read_to_end(&mut start).map_err(failed)?;
    if matches!(start.as_slice(), [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]) {
        return Err(FilesError::Compressed);
    }
    let mut file = file.try_clone().map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let limits = Limits { entries: MAX_ENTRIES, ..Limits::default() };
    let mut archive = Archive::new(file, limits);
    let mut entries = BTreeMap::new();
    while let Some(entry) = archive.next_entry().map_err(FilesError::List)? {
        let offset = archive.pass_content().map_err(|source| {
            FilesError::List(UnpackError::Archive { entries: entries.len() as u64, source })
        })?;
        let Some(name) = key(&entry.name) else { continue };
        match entry.kind {
            Kind::File(size) => entries.insert(name, Entry::Content { offset, size }),
            Kind::Symlink(target) => {
                link(&name, &target).and_then(|target| entries.insert(name, Entry::Link(target)))
            }
            Kind::HardLink(target) => {
                key(&target).and_then(|target| entries.insert(name, Entry::Link(target)))
            }
            _ => None,
        };
    }
    Ok(entries)
}

/// One spelling for each name; nothing for names that lead out, and for those that are longer than any
/// part of an image has.
fn key(name: &[u8]) -> Option<Vec<u8>> {
    let path =
        EntryPath::parse(name, &Limits::default()).ok().filter(|_| name.len() <= MAX_NAME)?;
    Some(path.whole())
}

/// What a relative link in the directory of `name` points to.
fn link(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, makedev, mknodat};

    use super::*;

    #[test]
    fn a_device_is_refused_and_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        // No driver has this number: who opens it gets another error.
        let device = dir.path().join("index.json");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &device, FileType::CharacterDevice, mode, makedev(4000, 0)).unwrap();
        assert!(File::open(&device).is_err());
        let refused = Files::open(&device).err().unwrap();
        assert!(mote_registry::chain(&refused).contains("neither a file nor a directory"));
        let layout = Files::open(dir.path()).unwrap();
        assert!(layout.stream("index.json").unwrap().is_none());
        std::fs::write(dir.path().join("file"), "x").unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        assert_eq!(layout.read("link", 10).unwrap().unwrap(), b"x");
    }
}
