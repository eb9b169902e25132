//! Images that people drop: a directory that is watched for layouts and archives.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mote_registry::reference::Reference;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::Puller;
use super::pulls::Occasion;
use crate::image::Imported;
use crate::image::error::{ImageError, Retry};
use crate::sys::inotify::{Directory, ReadFlags, WatchFlags};

/// Files looked at in the drop directory: of more, those that came last.
const MAX_DROPPED: usize = 1024;

/// One version of a dropped file: inode, size, and the time of the last change in its directory entry.
type Version = (u64, u64, (i64, i64));

/// What became of the files that were looked into.
#[derive(Debug, Default)]
pub(super) struct Drops(Mutex<BTreeMap<PathBuf, Seen>>);

/// A file that was looked into.
#[derive(Debug)]
struct Seen {
    version: Version,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    /// Imported, under these names; without any it never will be.
    Done(BTreeSet<String>),
    /// It was, and what has these names may have gone since.
    Gone(BTreeSet<String>),
    /// Not imported, and perhaps another time.
    InVain,
}

impl Drops {
    /// What was imported may be gone: it is looked at again when it is wanted.
    pub(super) async fn forget(&self) {
        for seen in self.0.lock().await.values_mut() {
            if let Outcome::Done(names) = &mut seen.outcome
                && !names.is_empty()
            {
                seen.outcome = Outcome::Gone(std::mem::take(names));
            }
        }
    }
}

impl Puller {
    /// Imports what was dropped and not looked into yet, and what has this name. What is no image is
    /// told once, and does not keep the rest from being imported.
    pub async fn import_dropped(&self, wanted: &Reference) {
        let wanted = wanted.to_string();
        let is_wanted = |_: &Path, names: Option<&BTreeSet<String>>| {
            names.is_none_or(|names| names.contains(&wanted))
        };
        self.import_where(is_wanted, Occasion::Missing).await;
    }

    /// Imports files that are wanted by their path and, where they were imported once, by the names that
    /// they have.
    async fn import_where(
        &self,
        wanted: impl Fn(&Path, Option<&BTreeSet<String>>) -> bool,
        occasion: Occasion,
    ) {
        let Some(dir) = &self.config.drop_dir else { return };
        // Held meanwhile, so that whoever comes next finds everything imported.
        let mut all = self.drops.0.lock().await;
        let dropped = dropped(dir, MAX_DROPPED);
        // What is not there any more as it was is forgotten.
        all.retain(|path, seen| dropped.get(path) == Some(&seen.version));
        for (path, version) in dropped {
            let (names, occasion) = match all.get(&path).map(|seen| &seen.outcome) {
                Some(Outcome::Done(_)) => continue,
                Some(Outcome::Gone(names)) => (Some(names), occasion),
                Some(Outcome::InVain) => (None, Occasion::InVain),
                None => (None, occasion),
            };
            if wanted(&path, names) {
                let outcome = self.import_one(&path, occasion).await;
                all.insert(path, Seen { version, outcome });
            }
        }
    }

    /// Imports one file or directory, and tells what came of it; what is tried again fails in
    /// silence.
    async fn import_one(&self, path: &Path, occasion: Occasion) -> Outcome {
        let Imported { images, skipped } = match self.pulls().import(path, occasion).await {
            Ok(imported) => imported,
            Err(error) => Imported { images: Vec::new(), skipped: vec![error] },
        };
        let names = images.iter().filter_map(|(_, name)| name.clone()).collect();
        for (id, name) in images {
            info!(path = %path.display(), image = %id, name, "image imported");
            self.news.imported((path.to_owned(), id, name));
        }
        let mut outcome = Outcome::Done(names);
        for error in skipped {
            if may_heal(&error, path) {
                outcome = Outcome::InVain;
            }
            if occasion != Occasion::InVain {
                warn!(path = %path.display(), error = error.message(), "not imported");
                self.news.refused(path.to_owned(), error);
            }
        }
        outcome
    }

    /// Imports what people drop as soon as it is complete: closed by its writer, or moved there.
    /// Ends where the directory cannot be watched.
    ///
    /// What lies there already is left until it is wanted: at each start it would cost a look into
    /// every archive, and bring back what had to go.
    pub async fn watch_drops(&self) -> io::Result<()> {
        let Some(dir) = &self.config.drop_dir else { return Ok(()) };
        let mut watch = watch(dir)?;
        loop {
            let (mut gone, mut lost, mut names) = (false, false, BTreeSet::new());
            let note = |what: ReadFlags, name: Option<&OsStr>| {
                gone |= what.contains(ReadFlags::IGNORED);
                lost |= what.contains(ReadFlags::QUEUE_OVERFLOW);
                names.extend(name.map(OsStr::to_owned));
            };
            watch.next(note).await?;
            if gone {
                watch = self::watch(dir)?;
                warn!(path = %dir.display(), "the directory was removed, and is watched again");
            }
            let named = |path: &Path| path.file_name().is_some_and(|name| names.contains(name));
            self.import_where(|path, _| gone || lost || named(path), Occasion::Meant).await;
        }
    }
}

/// Whether what could not be imported may be another time, without being dropped again.
fn may_heal(error: &ImageError, path: &Path) -> bool {
    // A directory does not show that files below it are still being copied.
    let may = matches!(error, ImageError::DiskFull { .. }) || path.is_dir();
    may || error.retry() == Retry::Soon
}

/// Makes the drop directory where it is missing, and watches it.
fn watch(dir: &Path) -> io::Result<Directory> {
    std::fs::create_dir_all(dir)?;
    Directory::watch(dir, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO)
}

/// What lies in the drop directory, at most so much. Hidden files are on their way in.
fn dropped(dir: &Path, most: usize) -> BTreeMap<PathBuf, Version> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    let visible = |name: &std::ffi::OsStr| !name.as_encoded_bytes().starts_with(b".");
    let found = entries
        .filter_map(Result::ok)
        .filter(|entry| visible(&entry.file_name()))
        // Nobody waits for the other end of a pipe.
        .filter(|entry| {
            let kind = entry.file_type();
            kind.is_ok_and(|kind| kind.is_file() || kind.is_dir() || kind.is_symlink())
        })
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((entry.path(), (meta.ino(), meta.size(), (meta.ctime(), meta.ctime_nsec()))))
        });
    let (mut files, mut ages) = (BTreeMap::new(), BTreeSet::new());
    for (path, version) in found {
        ages.insert((version.2, path.clone()));
        files.insert(path, version);
        if files.len() > most
            && let Some((_, oldest)) = ages.pop_first()
        {
            files.remove(&oldest);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_files_the_newest_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        // The clock of a file system may stand still for a few milliseconds: names in order of age.
        let names: Vec<_> = (0..9).map(|number| dir.path().join(format!("{number}.tar"))).collect();
        for name in &names {
            std::fs::write(name, "x").unwrap();
        }
        std::fs::write(dir.path().join(".hidden"), "x").unwrap();
        std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        let kept = dropped(dir.path(), 4);
        assert!(kept.keys().eq(&names[5..]), "{kept:?}");
        assert_eq!(dropped(dir.path(), 100).len(), 9);
    }
}
