//! Tells what the files of static pods say, whenever that may have changed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mote_protocol::name::NodeName;
use tokio::time::timeout;

use super::{Found, read};
use crate::sys::inotify::{Directory, ReadFlags, WatchFlags};

/// Between two looks where nothing happens: the kubelet's, where there are files; most nodes have none.
const RESCAN: Duration = Duration::from_secs(20);
const REST: Duration = Duration::from_mins(5);

/// The directory of static pods, as it changes.
#[derive(Debug)]
pub struct Watch {
    directory: PathBuf,
    node: NodeName,
    events: Directory,
    /// Some file asked for something at the last look.
    asked: bool,
}

impl Watch {
    /// Watches a directory, which may not be there yet.
    pub fn new(directory: PathBuf, node: NodeName) -> io::Result<Self> {
        let there = directory.ancestors().skip(1).find(|above| above.is_dir());
        let events = Directory::watch(there.unwrap_or_else(|| Path::new("/")), coming())?;
        Ok(Self { directory, node, events, asked: false })
    }

    /// What the files say now. A directory that is not there says nothing: its card may not be mounted yet,
    /// and a node that comes up without it ends no pods.
    pub fn look(&mut self) -> Found {
        // First, so that nothing comes unseen between this and the look.
        let watched = self.events.also(&self.directory, wanted()).or_else(|_| {
            self.await_it();
            // It may have come in between.
            self.events.also(&self.directory, wanted())
        });
        match watched.and_then(|()| read(&self.directory, &self.node)) {
            Ok(found) => {
                let pods = found.pods.as_ref().is_some_and(|pods| !pods.is_empty());
                self.asked = pods || !found.faults.is_empty();
                found
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::default(),
            Err(error) => {
                Found { pods: None, faults: vec![format!("{}: {error}", self.directory.display())] }
            }
        }
    }

    /// Watches what it lies in, from above.
    fn await_it(&self) {
        let above: Vec<_> = self.directory.ancestors().skip(1).collect();
        for directory in above.into_iter().rev() {
            let _ = self.events.also(directory, coming());
        }
    }

    /// Waits until they may say something else: something happened, or nobody may have told. A file system that
    /// is mounted there, and what a link leads to, tell nothing; and who was refused may fit by now.
    pub async fn next(&mut self) -> io::Result<()> {
        let rest = if self.asked { RESCAN } else { REST };
        timeout(rest, self.told()).await.unwrap_or(Ok(()))
    }

    async fn told(&self) -> io::Result<()> {
        let mut changed = false;
        while !changed {
            let directory = &self.directory;
            let tell = |flags: ReadFlags, name: Option<&std::ffi::OsStr>| {
                let begun = flags.contains(ReadFlags::CREATE)
                    && name.is_some_and(|name| is_begun(&directory.join(name)));
                changed |= !begun;
            };
            self.events.next(tell).await?;
        }
        Ok(())
    }
}

/// A file that was made is being written; when that is over is told as well. A link is whole at once, of either
/// kind.
fn is_begun(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.nlink() == 1)
}

const fn coming() -> WatchFlags {
    WatchFlags::CREATE.union(WatchFlags::MOVED_TO)
}

const fn wanted() -> WatchFlags {
    coming().union(WatchFlags::CLOSE_WRITE).union(WatchFlags::DELETE).union(WatchFlags::MOVED_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(found: &Found) -> Vec<String> {
        found.pods.iter().flatten().map(|(key, _)| key.to_string()).collect()
    }

    #[tokio::test]
    async fn a_directory_that_comes_later_is_watched_and_one_that_goes_says_nothing() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("mote/manifests");
        let node = NodeName::new("pi").unwrap();
        let mut watch = Watch::new(directory.clone(), node).unwrap();
        assert_eq!(watch.look(), Found::default());
        fs::create_dir_all(&directory).unwrap();
        while watch.look().pods != Some([].into()) {
            watch.next().await.unwrap();
        }
        fs::write(directory.join(".draft"), b"x").unwrap();
        fs::rename(directory.join(".draft"), directory.join("default_web.pod")).unwrap();
        let mut found = watch.look();
        while keys(&found).is_empty() {
            watch.next().await.unwrap();
            found = watch.look();
        }
        assert_eq!(keys(&found), ["pod/default/web-pi"]);
        fs::remove_file(directory.join("default_web.pod")).unwrap();
        while !keys(&found).is_empty() {
            watch.next().await.unwrap();
            found = watch.look();
        }
        fs::remove_dir(&directory).unwrap();
        while watch.look().pods.is_some() {
            watch.next().await.unwrap();
        }
    }
}
