//! Reads tar archives entry by entry: ustar, pax and GNU, as container tools write them.
//!
//! Written here and not taken from the `tar` crate's iterator because that one reads long names and
//! attributes into memory whatever their size and cuts pax values at line breaks. Where formats
//! contradict each other this follows Go's `archive/tar`, which every builder of images uses, so
//! that no archive means one thing to a scanner and another to this node.

use std::io::{self, Read, Seek, SeekFrom};

use tar::{EntryType, Header};

use super::error::{ArchiveError, EntryError, UnpackError};
use super::limits::Limits;
use super::number::number;
use super::pax::{Records, records};

/// The unit of tar.
const BLOCK: usize = 512;

/// One entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as the archive has it.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970 of its last change.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_nanos: u32,
    /// Extended attributes, name and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Offset and length of each part of a sparse file that is in the archive.
pub type Pieces = Vec<(u64, u64)>;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file with this many bytes.
    File(u64),
    /// A file with holes: its size, and what is not a hole.
    Sparse(u64, Pieces),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(Vec<u8>),
    /// Another name of this entry.
    HardLink(Vec<u8>),
    /// A character device: major, minor.
    Character(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Reads the entries of an archive in order.
pub struct Archive<R> {
    input: R,
    limits: Limits,
    entries: u64,
    /// Content of the current entry that was not read yet.
    content: u64,
    /// Bytes after it up to the next block.
    padding: u64,
}

/// What extended headers say about the entry that follows them.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Records,
}

impl<R: Read> Archive<R> {
    /// Reads the archive that starts here.
    pub const fn new(input: R, limits: Limits) -> Self {
        Self { input, limits, entries: 0, content: 0, padding: 0 }
    }

    /// What is read from.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// The next entry, or `None` at the end. Content that was not read is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, UnpackError> {
        let mut extensions = Extensions::default();
        loop {
            let Some(block) = self.next_header().map_err(|e| self.fault(e))? else {
                return Ok(None);
            };
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(self.fault(ArchiveError::TooManyEntries(self.limits.entries)));
            }
            let header = Header::from_byte_slice(&block);
            match header.entry_type() {
                EntryType::XHeader => {
                    let data = self.extended(header).map_err(|e| self.fault(e))?;
                    extensions.pax = records(&data).map_err(|e| self.fault(e))?;
                }
                EntryType::XGlobalHeader => {
                    self.extended(header).map_err(|e| self.fault(e))?;
                }
                EntryType::GNULongName => {
                    let data = self.extended(header).map_err(|e| self.fault(e))?;
                    extensions.name = Some(until_nul(data));
                }
                EntryType::GNULongLink => {
                    let data = self.extended(header).map_err(|e| self.fault(e))?;
                    extensions.link = Some(until_nul(data));
                }
                _ => return self.entry(header, extensions).map(Some),
            }
        }
    }

    /// Reads content of the current entry; 0 at its end.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let want = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if want == 0 {
            return Ok(0);
        }
        let target = buffer.get_mut(..want).unwrap_or_default();
        let count = self.input.read(target).map_err(ArchiveError::Read)?;
        if count == 0 {
            return Err(ArchiveError::Truncated);
        }
        self.content -= count as u64;
        Ok(count)
    }

    /// Reads to the next header that is not zeros. `None` at the end of the archive.
    fn next_header(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        self.skip(self.content + self.padding)?;
        (self.content, self.padding) = (0, 0);
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK] {
            // The end is two blocks of zeros; anything else after one is no archive.
            let whole = self.block(&mut block)?;
            return if !whole || block == [0; BLOCK] {
                Ok(None)
            } else {
                Err(ArchiveError::Checksum)
            };
        }
        if number(&block[148..156]) != Some(checksum(&block)) {
            return Err(ArchiveError::Checksum);
        }
        Ok(Some(block))
    }

    /// Fills `block`; `false` if the input ends before its first byte.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, ArchiveError> {
        let mut rest = &mut block[..];
        while !rest.is_empty() {
            let count = match self.input.read(rest) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ArchiveError::Read(error)),
            };
            if count == 0 {
                return if rest.len() == BLOCK { Ok(false) } else { Err(ArchiveError::Truncated) };
            }
            rest = rest.split_at_mut(count).1;
        }
        Ok(true)
    }

    fn skip(&mut self, count: u64) -> Result<(), ArchiveError> {
        let skipped = io::copy(&mut (&mut self.input).take(count), &mut io::sink())
            .map_err(ArchiveError::Read)?;
        if skipped == count { Ok(()) } else { Err(ArchiveError::Truncated) }
    }

    /// Reads the content of an extended header.
    fn extended(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size = size_of_content(header).ok_or(ArchiveError::Field("size"))?;
        let limit = self.limits.headers;
        let Some(length) = usize::try_from(size).ok().filter(|length| *length <= limit) else {
            return Err(ArchiveError::HeaderTooLong { size, limit });
        };
        let mut data = vec![0; length];
        self.input.read_exact(&mut data).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
            _ => ArchiveError::Read(error),
        })?;
        self.padding = padding(size);
        Ok(data)
    }

    /// Completes a header with its extensions.
    fn entry(&mut self, header: &Header, ext: Extensions) -> Result<Entry, UnpackError> {
        let mut pax = ext.pax;
        let name = pax.path.take().or(ext.name).unwrap_or_else(|| header.path_bytes().into_owned());
        let refuse = |source| UnpackError::Entry { name: quote(&name), source };
        if pax.sparse {
            return Err(refuse(EntryError::PaxSparse));
        }
        let link = pax.linkpath.take().or(ext.link).unwrap_or_else(|| {
            header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default()
        });
        let size = match pax.size {
            // No file is longer, and sums with it stay numbers.
            Some(size) if i64::try_from(size).is_err() => {
                return Err(self.fault(ArchiveError::Field("size")));
            }
            Some(size) => size,
            None => {
                size_of_content(header).ok_or_else(|| self.fault(ArchiveError::Field("size")))?
            }
        };
        let is_directory = name.ends_with(b"/");
        let kind = self.kind(header, is_directory, size, link, &refuse)?;
        if matches!(kind, Kind::File(_) | Kind::Sparse(..)) {
            (self.content, self.padding) = (size, padding(size));
        }
        let out_of_range = |what| refuse(EntryError::Range(what));
        let old = header.as_old();
        let owner = |pax: Option<u64>, field: &[u8], what| {
            let id = pax.or_else(|| u64::try_from(number(field)?).ok());
            // All ones means "no change" to chown.
            let id = id.and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX);
            id.ok_or_else(|| out_of_range(what))
        };
        let (mtime, mtime_nanos) = match pax.mtime {
            Some(time) => time,
            None => (number(&old.mtime).ok_or_else(|| out_of_range("time"))?, 0),
        };
        let mode = number(&old.mode).and_then(|mode| u32::try_from(mode & 0o7777).ok());
        Ok(Entry {
            kind,
            mode: mode.ok_or_else(|| out_of_range("mode"))?,
            uid: owner(pax.uid, &old.uid, "owner")?,
            gid: owner(pax.gid, &old.gid, "group")?,
            mtime,
            mtime_nanos,
            xattrs: pax.xattrs.into_iter().collect(),
            name,
        })
    }

    fn kind(
        &mut self,
        header: &Header,
        is_directory: bool,
        size: u64,
        link: Vec<u8>,
        refuse: &dyn Fn(EntryError) -> UnpackError,
    ) -> Result<Kind, UnpackError> {
        let device = || {
            let block = header.as_bytes();
            // The kernel has 12 bits of major and 20 of minor.
            let part = |field: &[u8], bits: u32| {
                u32::try_from(number(field)?).ok().filter(|part| *part < 1 << bits)
            };
            let pair = part(&block[329..337], 12).zip(part(&block[337..345], 20));
            pair.ok_or_else(|| refuse(EntryError::Range("device number")))
        };
        match header.entry_type() {
            // Before ustar a directory was a file with a slash.
            EntryType::Regular if header.as_bytes()[156] == 0 && is_directory => {
                Ok(Kind::Directory)
            }
            EntryType::Regular | EntryType::Continuous => Ok(Kind::File(size)),
            EntryType::GNUSparse => {
                let (length, pieces) = self
                    .sparse(header)
                    .map_err(|e| self.fault(e))?
                    .filter(|(length, pieces)| is_possible(*length, pieces, size))
                    .ok_or_else(|| refuse(EntryError::Sparse))?;
                Ok(Kind::Sparse(length, pieces))
            }
            EntryType::Directory => Ok(Kind::Directory),
            EntryType::Symlink => Ok(Kind::Symlink(link)),
            EntryType::Link => Ok(Kind::HardLink(link)),
            EntryType::Char => device().map(|(major, minor)| Kind::Character(major, minor)),
            EntryType::Block => device().map(|(major, minor)| Kind::Block(major, minor)),
            EntryType::Fifo => Ok(Kind::Fifo),
            other => Err(refuse(EntryError::Type(char::from(other.as_byte())))),
        }
    }

    /// Reads the map of a sparse file in GNU's old format: four pieces in the header, more in the
    /// blocks that follow.
    fn sparse(&mut self, header: &Header) -> Result<Option<(u64, Pieces)>, ArchiveError> {
        let Some(gnu) = header.as_gnu() else { return Ok(None) };
        let Ok(length) = gnu.real_size() else { return Ok(None) };
        let mut pieces = Vec::new();
        let add = |pieces: &mut Pieces, slots: &[tar::GnuSparseHeader]| {
            for slot in slots.iter().filter(|slot| !slot.is_empty()) {
                let (Ok(offset), Ok(length)) = (slot.offset(), slot.length()) else {
                    return false;
                };
                pieces.push((offset, length));
            }
            true
        };
        let mut valid = add(&mut pieces, &gnu.sparse);
        let mut more = gnu.is_extended();
        let limit = self.limits.headers / size_of::<(u64, u64)>();
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            self.input.read_exact(block.as_mut_bytes()).map_err(|_| ArchiveError::Truncated)?;
            valid &= add(&mut pieces, &block.sparse) && pieces.len() <= limit;
            more = block.is_extended() && valid;
        }
        Ok(valid.then_some((length, pieces)))
    }

    fn fault(&self, source: ArchiveError) -> UnpackError {
        UnpackError::Archive { entries: self.entries, source }
    }
}

impl<R: Read + Seek> Archive<R> {
    /// Where the current entry's content begins in the input; goes past it without reading it.
    pub fn pass_content(&mut self) -> Result<u64, ArchiveError> {
        let start = self.input.stream_position().map_err(ArchiveError::Read)?;
        let end = start.checked_add(self.content + self.padding);
        let end = end.ok_or(ArchiveError::Field("size"))?;
        self.input.seek(SeekFrom::Start(end)).map_err(ArchiveError::Read)?;
        (self.content, self.padding) = (0, 0);
        Ok(start)
    }
}

/// Whether the pieces lie in order within the file and add up to what the archive holds.
fn is_possible(length: u64, pieces: &[(u64, u64)], stored: u64) -> bool {
    let mut end = 0;
    let mut sum: u64 = 0;
    for (offset, piece) in pieces {
        let Some(next) = offset.checked_add(*piece) else { return false };
        if *offset < end || next > length {
            return false;
        }
        end = next;
        sum = sum.saturating_add(*piece);
    }
    sum == stored
}

/// Sum of the header's bytes with its own field counted as spaces.
fn checksum(block: &[u8; BLOCK]) -> i64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(*byte)).sum::<i64>();
    sum(&block[..148]) + 8 * i64::from(b' ') + sum(&block[156..])
}

const fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// How much follows a header.
fn size_of_content(header: &Header) -> Option<u64> {
    number(&header.as_old().size)?.try_into().ok()
}

fn until_nul(mut data: Vec<u8>) -> Vec<u8> {
    data.truncate(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    data
}

/// A name for an error text: readable and short.
pub fn quote(name: &[u8]) -> String {
    const MAX: usize = 120;
    let text = String::from_utf8_lossy(name);
    if text.chars().count() <= MAX {
        return text.into_owned();
    }
    text.chars().take(MAX).chain("...".chars()).collect()
}
