//! What a layer holds, written down when it was unpacked, so that later a damaged file is told from
//! a whole one.
//!
//! Flash loses what it promised to keep: after a power cut files are found empty, short or gone. To
//! compare kinds and sizes costs one system call a file and is done before a layer is used for the
//! first time; to compare contents costs reading them and is done by command. The sum is CRC-32:
//! it is to find accidents, and whoever changes files on purpose changes the list as well.
//!
//! ```text
//! "mote-layer-1\n"  (length: u16, entry: postcard)*  0: u16  CRC-32 of all before: u32
//! ```

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use flate2::Crc;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::reserved::Reserved;
use crate::image::unpack::archive::quote;
use crate::image::unpack::{Sum, Sums};

/// How such a file begins.
const MAGIC: &[u8] = b"mote-layer-1\n";
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
    /// CRC-32 of a file; none where it has holes, which may be larger than any card.
    sum: Option<u32>,
    /// Below the layer's root.
    #[serde(borrow)]
    path: &'a [u8],
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    File,
    Directory,
    Link,
    Other,
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
    /// Kinds and sizes.
    Sizes,
    /// Contents as well.
    Contents,
}

/// Writes the list of what is in `root` to `output`, whose caller makes it last.
/// Fails where less than `reserve` bytes of its file system would stay free.
pub(super) fn list(
    root: BorrowedFd<'_>,
    sums: &Sums,
    output: File,
    reserve: u64,
) -> io::Result<()> {
    let output = Reserved::new(output, reserve);
    let mut output = Summed { inner: BufWriter::with_capacity(BUFFER, output), crc: Crc::new() };
    output.write_all(MAGIC)?;
    let root = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
    walk(&root, &mut Vec::new(), 0, &mut |parent, name, path, stat| {
        let kind = kind(stat);
        let sum = match (kind, sums.of(stat.st_ino)) {
            (Kind::File, Some(Sum::Known(sum))) => Some(sum),
            (Kind::File, None) => Some(sum_of(parent, name, &mut || {})?),
            _ => None,
        };
        let entry = Entry { kind, size: size(kind, stat), sum, path };
        let entry = postcard::to_allocvec(&entry).map_err(io::Error::other)?;
        let length = u16::try_from(entry.len()).ok().filter(|_| entry.len() <= MAX_ENTRY);
        let length = length.ok_or_else(|| io::Error::other("a path is too long"))?;
        output.write_all(&length.to_le_bytes())?;
        output.write_all(&entry)
    })?;
    output.write_all(&0_u16.to_le_bytes())?;
    let sum = output.crc.sum();
    output.inner.write_all(&sum.to_le_bytes())?;
    output.inner.flush()
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

/// Compares what is in `root` with its list. `None` where all is well; an error where the list
/// itself cannot be read.
pub(super) fn compare(
    root: &Path,
    list: File,
    depth: Depth,
    tick: &mut dyn FnMut(),
) -> io::Result<Option<Damage>> {
    let root = match File::open(root) {
        Ok(root) => root,
        Err(error) => {
            return Ok(Some(Damage { path: ".".to_owned(), what: error.to_string(), others: 0 }));
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
    let magic = buffer.get_mut(..MAGIC.len()).unwrap_or_default();
    take(&mut input, magic)?;
    if magic != MAGIC {
        return Err(spoiled());
    }
    loop {
        let mut length = [0; 2];
        let sum = take(&mut input, &mut length)?;
        let length = usize::from(u16::from_le_bytes(length));
        if length == 0 {
            let mut expected = [0; 4];
            input.read_exact(&mut expected)?;
            // What a spoiled list complains of means nothing.
            return if u32::from_le_bytes(expected) == sum { Ok(found) } else { Err(spoiled()) };
        }
        let entry = buffer.get_mut(..length).ok_or_else(spoiled)?;
        take(&mut input, entry)?;
        let entry: Entry<'_> = postcard::from_bytes(entry).map_err(|_| spoiled())?;
        let Some(what) = entry.damage(root.as_fd(), depth, tick) else { continue };
        match &mut found {
            Some(damage) => damage.others += 1,
            None => found = Some(Damage { path: quote(entry.path), what, others: 0 }),
        }
    }
}

impl Entry<'_> {
    fn damage(&self, root: BorrowedFd<'_>, depth: Depth, tick: &mut dyn FnMut()) -> Option<String> {
        tick();
        let stat = match rustix::fs::statat(root, self.path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR) => return Some("it is gone".to_owned()),
            // Flash that cannot be read, and file systems that notice.
            Err(errno) => return Some(io::Error::from(errno).to_string()),
        };
        if kind(&stat) != self.kind {
            return Some("it is something else".to_owned());
        }
        let actual = size(self.kind, &stat);
        if actual != self.size {
            return Some(format!("it has {actual} bytes, there were {}", self.size));
        }
        if let (Depth::Contents, Some(expected)) = (depth, self.sum) {
            return match sum_of(root, self.path, tick) {
                Ok(sum) if sum == expected => None,
                Ok(_) => Some("its content is another".to_owned()),
                Err(error) => Some(error.to_string()),
            };
        }
        None
    }
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

/// Bytes, where they do not depend on the file system.
fn size(kind: Kind, stat: &Stat) -> u64 {
    match kind {
        Kind::File | Kind::Link => u64::try_from(stat.st_size).unwrap_or_default(),
        Kind::Directory | Kind::Other => 0,
    }
}

fn sum_of(directory: BorrowedFd<'_>, name: &[u8], tick: &mut dyn FnMut()) -> io::Result<u32> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
    let mut crc = Crc::new();
    let mut buffer = vec![0; 4 * BUFFER];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(crc.sum());
        }
        crc.update(buffer.get(..count).unwrap_or_default());
        tick();
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree, and its list.
    fn listed() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("etc/deep")).unwrap();
        fs::write(root.join("etc/passwd"), "root").unwrap();
        fs::write(root.join("etc/deep/empty"), "").unwrap();
        fs::hard_link(root.join("etc/passwd"), root.join("etc/shadow")).unwrap();
        symlink("passwd", root.join("etc/link")).unwrap();
        let output = File::create(directory.path().join("list")).unwrap();
        let sums = Sums::default();
        list(File::open(&root).unwrap().as_fd(), &sums, output, 0).unwrap();
        (directory, root)
    }

    fn compared(directory: &tempfile::TempDir, depth: Depth) -> io::Result<Option<String>> {
        let list = File::open(directory.path().join("list")).unwrap();
        let found = compare(&directory.path().join("root"), list, depth, &mut || {})?;
        Ok(found.map(|damage| damage.to_string()))
    }

    #[test]
    fn what_was_listed_is_well() {
        let (directory, _) = listed();
        for depth in [Depth::Sizes, Depth::Contents] {
            assert_eq!(compared(&directory, depth).unwrap(), None);
        }
    }

    #[test]
    fn every_damage_is_told_by_name() {
        type Spoil = fn(&Path);
        let cases: [(Spoil, Depth, &str); 6] = [
            (
                |root| fs::write(root.join("etc/deep/empty"), "x").unwrap(),
                Depth::Sizes,
                "etc/deep/empty: it has 1 bytes, there were 0",
            ),
            (
                |root| fs::write(root.join("etc/passwd"), "").unwrap(),
                Depth::Sizes,
                ": it has 0 bytes, there were 4, and 1 more",
            ),
            (
                |root| fs::remove_dir_all(root.join("etc/deep")).unwrap(),
                Depth::Sizes,
                ": it is gone, and 1 more",
            ),
            (
                |root| {
                    fs::remove_file(root.join("etc/link")).unwrap();
                    fs::write(root.join("etc/link"), "passwd").unwrap();
                },
                Depth::Sizes,
                "etc/link: it is something else",
            ),
            (
                |root| fs::write(root.join("etc/passwd"), "toor").unwrap(),
                Depth::Contents,
                ": its content is another, and 1 more",
            ),
            (|_| {}, Depth::Contents, ""),
        ];
        for (spoil, depth, expected) in cases {
            let (directory, root) = listed();
            spoil(&root);
            let found = compared(&directory, depth).unwrap().unwrap_or_default();
            assert!(
                found.ends_with(expected) && found.is_empty() == expected.is_empty(),
                "{found}"
            );
        }
        let (directory, root) = listed();
        fs::write(root.join("etc/passwd"), "toor").unwrap();
        assert_eq!(compared(&directory, Depth::Sizes).unwrap(), None);
    }

    #[test]
    fn a_list_that_is_damaged_accuses_nobody() {
        let (directory, root) = listed();
        fs::remove_file(root.join("etc/link")).unwrap();
        let path = directory.path().join("list");
        let good = fs::read(&path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x40;
            fs::write(&path, &bad).unwrap();
            assert!(compared(&directory, Depth::Sizes).is_err(), "byte {place}");
            fs::write(&path, &good[..place]).unwrap();
            assert!(compared(&directory, Depth::Sizes).is_err(), "cut at {place}");
        }
    }
}
