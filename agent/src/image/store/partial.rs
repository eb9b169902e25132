//! Layers that are on their way, packed as they come: what a pull need not fetch again after it
//! was cut off, whether by the network, by a signal or by the power.
//!
//! The file is a convenience and nothing rests on it. What it holds is verified with the whole
//! layer, and when writing it fails or room gets scarce it is given up and the pull goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use mote_registry::digest::Digest;

use super::tidy::discard;
use super::{Store, StoreError, Writer, files};
use crate::image::room::Room;

/// Smaller layers come in a few packets: a line that brings less in one piece brings no manifest either.
const MIN_SIZE: u64 = 8 * 1024;
/// Time between two syncs, and so what a power cut can cost. A layer that is here sooner never
/// reaches the flash twice.
const SYNC: Duration = Duration::from_secs(10);
/// Bytes between two looks at the free space.
const LOOK: u64 = 1024 * 1024;
/// Room that must be left beside the reserve, for what is unpacked until the next look.
const MARGIN: u64 = 16 * 1024 * 1024;
/// How many are kept, the newest: pulls come one after the other, and few fail.
const MAX_KEPT: usize = 8;
/// How long they are, twice: a board without a clock of its own learns the time from the network, and
/// then everything is years old. So what is found to be too old for the first time is only marked.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);
/// Permissions of one that is used.
const USED: u32 = 0o600;
/// And of one that was found to be too old.
const TOO_OLD: u32 = 0o400;

/// What there is of a packed layer.
#[derive(Debug)]
pub struct Partial {
    path: PathBuf,
    file: File,
    /// Bytes that were there when it was opened.
    kept: u64,
    /// Bytes that came since then.
    added: u64,
    reserve: u64,
    synced: Instant,
    /// Bytes since the free space was looked at.
    unseen: u64,
}

impl Store {
    /// Bytes that all of them take.
    pub fn partial_bytes(&self) -> u64 {
        let directory = self.partials();
        let names = files::names(&directory).unwrap_or_default().into_iter();
        let taken =
            |name| fs::symlink_metadata(directory.join(name)).map_or(0, |m| m.blocks() * 512);
        names.map(taken).sum()
    }
}

impl Writer {
    /// What an earlier pull kept of a packed layer, or an empty place for it. `None` where keeping
    /// it is not worth while, or not possible.
    pub fn partial(&self, digest: &Digest, size: u64, reserve: u64) -> Option<Partial> {
        if size < MIN_SIZE {
            return None;
        }
        let path = self.store().partial_path(digest);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(USED);
        let file = options.open(&path).ok()?;
        file.set_permissions(fs::Permissions::from_mode(USED)).ok()?;
        let mut kept = file.metadata().ok()?.len();
        if kept > size {
            file.set_len(0).ok()?;
            kept = 0;
        }
        let synced = Instant::now();
        Some(Partial { path, file, kept, added: 0, reserve, synced, unseen: 0 })
    }

    /// Removes all of them: they are the cheapest room to make.
    pub fn remove_partials(&self) -> Result<(), StoreError> {
        let directory = self.store().partials();
        files::names(&directory)?
            .into_iter()
            .try_for_each(|name| files::remove(&directory.join(name)))
    }

    /// Removes those that nobody came back for.
    pub(super) fn tidy_partials(&self) -> Result<(), StoreError> {
        let directory = self.store().partials();
        let mut kept = Vec::new();
        for name in files::names(&directory)? {
            let path = directory.join(&name);
            let meta = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file);
            let times = meta.and_then(|meta| Some((meta.modified().ok()?, meta.mode() & 0o777)));
            match (Digest::from_hex(&name), times) {
                (Ok(_), Some((modified, mode))) => kept.push((modified, path, mode)),
                _ => discard(&path),
            }
        }
        kept.sort();
        let now = SystemTime::now();
        let surplus = kept.len().saturating_sub(MAX_KEPT);
        for (place, (modified, path, mode)) in kept.into_iter().enumerate() {
            // A clock that was set back makes nothing old.
            let age = now.duration_since(modified).unwrap_or_default();
            if place < surplus || (age > MAX_AGE && (mode == TOO_OLD || mark(&path).is_err())) {
                discard(&path);
            }
        }
        Ok(())
    }
}

/// Lets the age of a file begin anew, once.
fn mark(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.set_modified(SystemTime::now())?;
    fs::set_permissions(path, fs::Permissions::from_mode(TOO_OLD))
}

impl Partial {
    /// Bytes that need not be fetched.
    pub const fn kept(&self) -> u64 {
        self.kept
    }

    /// Reads what was kept, from the start.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }

    /// Adds what came. False if it cannot be kept any longer.
    fn append(&mut self, data: &[u8]) -> bool {
        self.unseen += data.len() as u64;
        if self.unseen >= LOOK {
            self.unseen = 0;
            let stat = rustix::fs::fstatvfs(&self.file);
            let free = stat.map_or(0, |stat| Room::from(stat).available);
            if free < self.reserve.saturating_add(MARGIN) {
                return false;
            }
        }
        if self.file.write_all(data).is_err() {
            return false;
        }
        self.added += data.len() as u64;
        if self.synced.elapsed() >= SYNC {
            self.synced = Instant::now();
            return self.file.sync_data().is_ok();
        }
        true
    }

    /// It is not needed, or of no use.
    fn discard(&self) {
        // What stays is found when the store is tidied.
        let _ = files::remove(&self.path);
    }
}

/// A packed layer: what was kept, then the rest from where it comes, which is kept as well.
pub struct Resuming<'a> {
    partial: Option<Partial>,
    /// Bytes that are still to be read of what was kept.
    known: u64,
    /// What was kept cannot be read.
    unreadable: bool,
    rest: Box<dyn Read + 'a>,
}

impl<'a> Resuming<'a> {
    /// `rest` must begin where what was kept ends.
    pub fn new(partial: Option<Partial>, rest: Box<dyn Read + 'a>) -> Self {
        let known = partial.as_ref().map_or(0, Partial::kept);
        Self { partial, known, unreadable: false, rest }
    }

    /// Whether what is read next was kept from before.
    pub const fn is_replaying(&self) -> bool {
        self.known > 0
    }

    /// Whether what comes is being kept, and so takes room.
    pub const fn keeps(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether a failure is that of the card, not of whoever sends the rest.
    pub const fn is_unreadable(&self) -> bool {
        self.unreadable
    }

    /// The layer is in the store, or what was kept is of no use.
    pub fn discard(self) {
        if let Some(partial) = self.partial {
            partial.discard();
        }
    }

    /// It will go on another time, with so many bytes more than this time.
    pub fn keep(self) -> u64 {
        let Some(partial) = self.partial else { return 0 };
        // Not to be lost with the power; if it fails, less is kept.
        let _ = partial.file.sync_data();
        partial.added
    }
}

impl Read for Resuming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(partial) = self.partial.as_mut().filter(|_| self.known > 0) {
            let wanted = usize::try_from(self.known).unwrap_or(usize::MAX).min(buffer.len());
            let count = match partial.read(buffer.get_mut(..wanted).unwrap_or_default()) {
                Ok(0) if !buffer.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
                read => read,
            };
            self.unreadable = count.is_err();
            let count = count?;
            self.known -= count as u64;
            return Ok(count);
        }
        let count = self.rest.read(buffer)?;
        let data = buffer.get(..count).unwrap_or_default();
        if self.partial.as_mut().is_some_and(|partial| !partial.append(data))
            && let Some(partial) = self.partial.take()
        {
            partial.discard();
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::store::Store;

    const SIZE: u64 = 256 * 1024;

    fn writer() -> (tempfile::TempDir, Writer) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let writer = Writer::lock(&store).unwrap();
        (directory, writer)
    }

    fn layer() -> Vec<u8> {
        (0..SIZE).map(|place| (place % 251) as u8).collect()
    }

    /// Reads up to `limit` bytes through a partial file, the rest beginning where it must.
    fn read(writer: &Writer, digest: &Digest, limit: usize) -> (u64, Vec<u8>) {
        let data = layer();
        let partial = writer.partial(digest, SIZE, 0).unwrap();
        let kept = partial.kept();
        let rest = data[usize::try_from(kept).unwrap()..].to_vec();
        let mut resuming = Resuming::new(Some(partial), Box::new(io::Cursor::new(rest)));
        let mut read = Vec::new();
        Read::by_ref(&mut resuming).take(limit as u64).read_to_end(&mut read).unwrap();
        if read.len() < data.len() {
            assert_eq!(resuming.keep(), (read.len() as u64).saturating_sub(kept));
        } else {
            resuming.discard();
        }
        (kept, read)
    }

    #[test]
    fn a_layer_goes_on_where_it_ended_and_leaves_nothing_when_it_is_whole() {
        let (directory, writer) = writer();
        let digest = Digest::of(b"layer");
        assert_eq!(read(&writer, &digest, 100_000).0, 0);
        let (kept, again) = read(&writer, &digest, 150_000);
        assert_eq!(kept, 100_000);
        assert!(again == layer()[..150_000]);
        // Less than there is loses nothing.
        assert_eq!(read(&writer, &digest, 10).0, 150_000);
        let (kept, whole) = read(&writer, &digest, usize::MAX);
        assert_eq!(kept, 150_000);
        assert!(whole == layer());
        assert_eq!(fs::read_dir(directory.path().join("partial")).unwrap().count(), 0);
    }

    #[test]
    fn small_layers_and_full_disks_keep_nothing() {
        let (directory, writer) = writer();
        let digest = Digest::of(b"layer");
        assert!(writer.partial(&digest, MIN_SIZE - 1, 0).is_none());
        // As if the whole disk were reserve.
        let partial = writer.partial(&digest, 4 * LOOK, u64::MAX).unwrap();
        let size = usize::try_from(2 * LOOK).unwrap();
        let mut resuming = Resuming::new(Some(partial), Box::new(io::Cursor::new(vec![1; size])));
        let mut read = Vec::new();
        assert!(resuming.keeps());
        assert_eq!(resuming.read_to_end(&mut read).unwrap(), size);
        assert!(!resuming.keeps());
        assert_eq!(fs::read_dir(directory.path().join("partial")).unwrap().count(), 0);
        // Longer than the layer can be: not what it says it is.
        fs::write(directory.path().join("partial").join(digest.hex()), vec![0; size]).unwrap();
        assert_eq!(writer.partial(&digest, SIZE, 0).unwrap().kept(), 0);
    }

    #[test]
    fn a_clock_that_learns_the_time_loses_no_download() {
        let (_directory, writer) = writer();
        let digest = Digest::of(b"layer");
        assert_eq!(read(&writer, &digest, 100_000).0, 0);
        let path = writer.store().partial_path(&digest);
        let jump = || {
            let years = SystemTime::now() - 1000 * MAX_AGE;
            File::options().write(true).open(&path).unwrap().set_modified(years).unwrap();
            writer.tidy();
        };
        jump();
        assert_eq!(read(&writer, &digest, 150_000).0, 100_000);
        // Whoever came back for it may find another clock that is wrong.
        jump();
        assert_eq!(read(&writer, &digest, 10).0, 150_000);
        jump();
        jump();
        assert!(!path.exists(), "nobody came back for it");
    }

    #[test]
    fn what_nobody_came_back_for_goes() {
        let (directory, writer) = writer();
        let partials = directory.path().join("partial");
        let made = |name: &str, age: Duration| {
            let file = File::create(partials.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        let hex = |n: u8| Digest::of(&[n]).hex();
        for n in 0..10 {
            made(&hex(n), Duration::from_mins(n.into()));
        }
        made("rubbish", Duration::ZERO);
        writer.tidy();
        let mut expected: Vec<_> = (0..8).map(hex).collect();
        expected.sort();
        assert_eq!(files::names(&partials).unwrap(), expected);
        made(&hex(0), MAX_AGE + Duration::from_mins(1));
        writer.tidy();
        assert!(partials.join(hex(0)).exists(), "the clock may have been wrong");
        made(&hex(0), MAX_AGE + Duration::from_mins(1));
        writer.tidy();
        assert!(!partials.join(hex(0)).exists() && partials.join(hex(1)).exists());
        assert!(writer.store().partial_bytes() < 100 * SIZE);
        writer.remove_partials().unwrap();
        assert_eq!(files::names(&partials).unwrap(), Vec::<String>::new());
    }
}
