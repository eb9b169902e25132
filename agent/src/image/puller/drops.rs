//! Images that people drop: a directory that is watched for layouts and archives.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;
use tracing::{info, warn};

use super::Puller;
use crate::image::error::{ImageError, Retry};
use crate::image::{ImageId, Images};
use crate::sys::inotify::{Directory, WatchFlags};

/// Files looked at in the drop directory.
const MAX_DROPPED: usize = 1024;

/// One version of a dropped file: inode, size, and time of the last change in its directory entry.
type Version = (u64, u64, i64);

/// What lies in the drop directory, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Drops(Mutex<Lying>);

/// Files by their version.
#[derive(Debug, Default)]
struct Lying {
    /// They were imported, or cannot be.
    done: BTreeMap<PathBuf, Version>,
    /// They have been there long, and are looked at when an image is wanted that is not here.
    old: BTreeMap<PathBuf, Version>,
}

impl Drops {
    /// What was imported may be gone: it is looked at again when it is wanted.
    pub(super) async fn forget(&self) {
        let Lying { done, old } = &mut *self.0.lock().await;
        old.append(done);
    }
}

/// What became of dropped files.
#[derive(Debug, Default)]
pub struct Dropped {
    /// Images by every name they have, each with its file.
    pub images: Vec<(PathBuf, ImageId, Option<String>)>,
    /// Files, and why they, or a part of them, cannot be imported.
    pub refused: Vec<(PathBuf, ImageError)>,
}

impl Dropped {
    /// For the log alone.
    pub(super) fn log(self) {
        for (path, id, name) in self.images {
            info!(path = %path.display(), image = name.unwrap_or(id.to_string()), "image imported");
        }
        for (path, error) in self.refused {
            warn!(path = %path.display(), error = error.message(), "not imported");
        }
    }
}

impl Puller {
    /// Imports everything that was dropped and is not here yet. What is no image is told once, and
    /// does not keep the rest from being imported.
    pub async fn import_dropped(&self) -> Dropped {
        self.drops.0.lock().await.old.clear();
        self.import_new().await
    }

    /// Imports what was dropped since [`Self::watch_drops`] and the last call.
    pub async fn import_new(&self) -> Dropped {
        let mut told = Dropped::default();
        let Some(dir) = &self.config.drop_dir else { return told };
        // Held meanwhile, so that whoever comes next finds everything imported.
        let mut lying = self.drops.0.lock().await;
        let Lying { done, old } = &mut *lying;
        let dropped = dropped(dir);
        let same = |path: &PathBuf, version: &mut Version| dropped.get(path) == Some(version);
        done.retain(same);
        old.retain(same);
        for (path, version) in dropped {
            if done.contains_key(&path) || old.contains_key(&path) {
                continue;
            }
            match self.import(&path).await {
                Ok(imported) => {
                    let images = imported.images.into_iter();
                    told.images.extend(images.map(|(id, name)| (path.clone(), id, name)));
                    let skipped = imported.skipped.into_iter();
                    told.refused.extend(skipped.map(|error| (path.clone(), error)));
                }
                Err(error) => {
                    let may_heal = matches!(error, ImageError::DiskFull { .. });
                    let again = may_heal || error.retry() == Retry::Soon;
                    told.refused.push((path.clone(), error));
                    if again {
                        continue;
                    }
                }
            }
            done.insert(path, version);
        }
        told
    }

    /// Makes the drop directory where it is missing, and tells each time that a file in it is
    /// complete: closed by its writer, or moved there.
    ///
    /// What lies there already is left until it is wanted: at each start it would cost a look into
    /// every archive, and bring back what had to go.
    pub async fn watch_drops(&self) -> io::Result<Option<Directory>> {
        let Some(dir) = &self.config.drop_dir else { return Ok(None) };
        std::fs::create_dir_all(dir)?;
        let watch = Directory::watch(dir, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO)?;
        let mut lying = self.drops.0.lock().await;
        lying.old = dropped(dir);
        Ok(Some(watch))
    }
}

/// What lies in the drop directory. Hidden files are on their way in.
fn dropped(dir: &Path) -> BTreeMap<PathBuf, Version> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    let visible = |name: &std::ffi::OsStr| !name.as_encoded_bytes().starts_with(b".");
    entries
        .filter_map(Result::ok)
        .filter(|entry| visible(&entry.file_name()))
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            Some((entry.path(), (meta.ino(), meta.size(), meta.ctime())))
        })
        .take(MAX_DROPPED)
        .collect()
}
