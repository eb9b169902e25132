//! What a layer holds, written down when it was unpacked, so that later a damaged file is told from
//! a whole one.
//!
//! Flash loses what it promised to keep: after a power cut files are found empty, short or gone. To
//! compare kinds, modes and sizes costs one system call a file and is done before a layer is used for
//! the first time; to compare contents costs reading them and is done by command. The sum is CRC-32:
//! it is to find accidents, and whoever changes files on purpose changes the list as well.
//!
//! ```text
//! "mote-layer-2\n"  (length: u16, entry: postcard)*  0: u16  CRC-32 of all before: u32
//! ```
//! The first version had no modes, and no sums of links and of files with holes. Its lists are read
//! as they are; those of later versions say nothing to this one.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use flate2::Crc;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::files;
use crate::image::reserved::Reserved;
use crate::image::room::Amount;
use crate::image::unpack::archive::quote;
use crate::image::unpack::{Sum, Sums};

mod sum;
mod taken;
#[cfg(test)]
mod tests;

use sum::{sum_of, sum_of_data, sum_of_target};
use taken::Taken;

/// How such a file begins; the version and a line break follow.
const MAGIC: &[u8] = b"mote-layer-";
/// The version that is written.
const VERSION: &[u8] = b"2\n";
/// The first one.
const FIRST: &[u8] = b"1\n";
/// Longest entry: a path, and a few numbers.
const MAX_ENTRY: usize = 4096 + 64;
/// Bytes that are read at once.
const BUFFER: usize = 16 * 1024;
/// Directories within directories that are entered: more than a layer may have.
const MAX_DEPTH: usize = 256;

/// One name of a layer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry<'a> {
    kind: Kind,
    /// Bytes of a file or of a link's target.
    size: u64,
    /// CRC-32 of what it holds, if it was taken.
    sum: Option<u32>,
    /// Permissions with setuid, setgid and sticky; links have none.
    mode: Option<u32>,
    /// Below the layer's root.
    #[serde(borrow)]
    path: &'a [u8],
}

/// The same in the first version.
#[derive(Debug, Serialize, Deserialize)]
struct First<'a> {
    kind: Kind,
    size: u64,
    /// None where a file has holes.
    sum: Option<u32>,
    #[serde(borrow)]
    path: &'a [u8],
}

impl<'a> From<First<'a>> for Entry<'a> {
    fn from(First { kind, size, sum, path }: First<'a>) -> Self {
        Self { kind, size, sum, mode: None, path }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    File,
    Directory,
    Link,
    Other,
    /// A file with holes: its sum is that of [`sum_of_data`].
    Holes,
}

/// What is wrong with a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}{}", more(*.others))]
pub struct Damage {
    /// The first name that is damaged.
    pub path: String,
    /// How.
    pub what: String,
    /// How many others are.
    pub others: u64,
}

fn more(count: u64) -> String {
    if count == 0 { String::new() } else { format!(", and {count} more") }
}

/// What an examination found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It is as it was unpacked, as far as was looked.
    Sound,
    /// Nobody knows what it held.
    Unknown,
    /// It is not.
    Damaged(Damage),
}

/// How closely a layer is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Kinds, modes and sizes.
    Sizes,
    /// Contents as well.
    Contents,
}

/// Writes the list of what is in `root` to `output`, whose caller makes it last, and says what all of
/// it takes. Fails where less than `reserve` bytes of its file system would stay free.
pub(super) fn list(
    root: BorrowedFd<'_>,
    sums: &Sums,
    output: File,
    reserve: u64,
) -> io::Result<Amount> {
    let output = Reserved::new(output, reserve);
    let mut output = Summed { inner: BufWriter::with_capacity(BUFFER, output), crc: Crc::new() };
    output.write_all(MAGIC)?;
    output.write_all(VERSION)?;
    let root = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
    let mut taken = Taken::default();
    taken.count(&rustix::fs::fstat(&root)?);
    walk(&root, &mut Vec::new(), 0, &mut |parent, name, path, stat| {
        taken.count(stat);
        let entry = entry(parent, name, sums, (path, stat))?;
        let entry = postcard::to_allocvec(&entry).map_err(io::Error::other)?;
        let length = u16::try_from(entry.len()).ok().filter(|_| entry.len() <= MAX_ENTRY);
        let length = length.ok_or_else(|| io::Error::other("a path is too long"))?;
        output.write_all(&length.to_le_bytes())?;
        output.write_all(&entry)
    })?;
    output.write_all(&0_u16.to_le_bytes())?;
    let sum = output.crc.sum();
    output.inner.write_all(&sum.to_le_bytes())?;
    output.inner.flush()?;
    Ok(taken.amount())
}

/// What is written down of a name.
fn entry<'a>(
    parent: BorrowedFd<'_>,
    name: &[u8],
    sums: &Sums,
    (path, stat): (&'a [u8], &Stat),
) -> io::Result<Entry<'a>> {
    let size = size(stat);
    let mode = (kind(stat) != Kind::Link).then(|| mode(stat));
    let (kind, sum) = match (kind(stat), sums.of(stat.st_ino)) {
        (Kind::File, Some(Sum::Known(sum))) => (Kind::File, Some(sum)),
        (Kind::File, Some(Sum::Holes)) => {
            (Kind::Holes, Some(sum_of_data(parent, name, &mut || {})?))
        }
        (Kind::File, None) => (Kind::File, Some(sum_of(parent, name, &mut || {})?)),
        (Kind::Link, _) => (Kind::Link, Some(sum_of_target(parent, name)?)),
        (kind, _) => (kind, None),
    };
    Ok(Entry { kind, size, sum, mode, path })
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Visits every name below a directory: its parent, its name there, its path, what it is.
fn walk(
    directory: &OwnedFd,
    path: &mut Vec<u8>,
    depth: usize,
    visit: &mut impl FnMut(BorrowedFd<'_>, &[u8], &[u8], &Stat) -> io::Result<()>,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("directories are nested too deep"));
    }
    let mut entries = Dir::read_from(directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        visit(directory.as_fd(), name, path, &stat)?;
        if kind(&stat) == Kind::Directory {
            let below = rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())?;
            walk(&below, path, depth + 1, visit)?;
        }
        path.truncate(length);
    }
    Ok(())
}

/// Compares what is in `root` with its list. An error where the list itself cannot be read.
pub(super) fn compare(
    root: &Path,
    list: File,
    depth: Depth,
    tick: &mut dyn FnMut(),
) -> io::Result<Health> {
    let root = match File::open(root) {
        Ok(root) => root,
        Err(error) if files::is_ours(&error) => return Err(error),
        Err(error) => {
            let what = error.to_string();
            return Ok(Health::Damaged(Damage { path: ".".to_owned(), what, others: 0 }));
        }
    };
    let mut input = BufReader::with_capacity(BUFFER, list);
    let mut found: Option<Damage> = None;
    let mut buffer = vec![0; MAX_ENTRY];
    let mut crc = Crc::new();
    let mut take = |input: &mut BufReader<File>, buffer: &mut [u8]| {
        input.read_exact(buffer)?;
        crc.update(buffer);
        Ok::<_, io::Error>(crc.sum())
    };
    let mut start = [0; MAGIC.len() + VERSION.len()];
    take(&mut input, &mut start)?;
    let version = start.strip_prefix(MAGIC).filter(|version| version.ends_with(b"\n"));
    let version = version.ok_or_else(spoiled)?;
    if version != VERSION && version != FIRST {
        return Ok(Health::Unknown);
    }
    loop {
        let mut length = [0; 2];
        let sum = take(&mut input, &mut length)?;
        let length = usize::from(u16::from_le_bytes(length));
        if length == 0 {
            let mut expected = [0; 4];
            input.read_exact(&mut expected)?;
            if u32::from_le_bytes(expected) != sum {
                // What a spoiled list complains of means nothing.
                return Err(spoiled());
            }
            return Ok(found.map_or(Health::Sound, Health::Damaged));
        }
        let entry = buffer.get_mut(..length).ok_or_else(spoiled)?;
        take(&mut input, entry)?;
        let entry = Entry::parse(entry, version).ok_or_else(spoiled)?;
        let Some(what) = entry.damage(root.as_fd(), depth, tick)? else { continue };
        match &mut found {
            Some(damage) => damage.others += 1,
            None => found = Some(Damage { path: quote(entry.path), what, others: 0 }),
        }
    }
}

impl<'a> Entry<'a> {
    fn parse(data: &'a [u8], version: &[u8]) -> Option<Self> {
        if version == FIRST {
            return postcard::from_bytes::<First<'_>>(data).ok().map(Self::from);
        }
        postcard::from_bytes(data).ok()
    }

    /// What is wrong with it; an error where it cannot be told.
    fn damage(
        &self,
        root: BorrowedFd<'_>,
        depth: Depth,
        tick: &mut dyn FnMut(),
    ) -> io::Result<Option<String>> {
        tick();
        let stat = match rustix::fs::statat(root, self.path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Some("it is gone".to_owned())),
            Err(errno) => return unreadable(errno.into()),
        };
        let is_kind = match self.kind {
            Kind::Holes => kind(&stat) == Kind::File,
            expected => kind(&stat) == expected,
        };
        if !is_kind {
            return Ok(Some("it is something else".to_owned()));
        }
        let actual = size(&stat);
        if actual != self.size {
            return Ok(Some(format!("it has {actual} bytes, there were {}", self.size)));
        }
        if let Some(expected) = self.mode.filter(|expected| *expected != mode(&stat)) {
            return Ok(Some(format!("its mode is {:04o}, it was {expected:04o}", mode(&stat))));
        }
        let (Depth::Contents, Some(expected)) = (depth, self.sum) else { return Ok(None) };
        let (sum, what) = match self.kind {
            Kind::Link => (sum_of_target(root, self.path), "its target is another"),
            Kind::Holes => (sum_of_data(root, self.path, tick), "its content is another"),
            _ => (sum_of(root, self.path, tick), "its content is another"),
        };
        match sum {
            Ok(sum) => Ok((sum != expected).then(|| what.to_owned())),
            Err(error) => unreadable(error),
        }
    }
}

/// Flash that cannot be read, and file systems that notice.
fn unreadable(error: io::Error) -> io::Result<Option<String>> {
    if files::is_ours(&error) { Err(error) } else { Ok(Some(error.to_string())) }
}

fn spoiled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the list is damaged")
}

fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

fn mode(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

/// Bytes, where they do not depend on the file system.
fn size(stat: &Stat) -> u64 {
    match kind(stat) {
        Kind::File | Kind::Link => u64::try_from(stat.st_size).unwrap_or_default(),
        _ => 0,
    }
}

/// Sums what is written.
struct Summed {
    inner: BufWriter<Reserved>,
    crc: Crc,
}

impl Write for Summed {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(data)?;
        self.crc.update(data.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
