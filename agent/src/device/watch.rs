//! Tells when device nodes come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use super::{Device, Pattern, found};
use crate::sys::inotify::{Directory, WatchFlags};

/// The directory that all are below.
const DEV: &str = "/dev";

/// Between the first event and the look. The kernel makes a node for root alone; udev gives it owner
/// and mode a moment later, and a container that waits for it is given a copy of those.
const SETTLED: Duration = Duration::from_secs(1);

/// The devices that are offered, as they change.
pub struct Watch {
    patterns: Vec<Pattern>,
    events: Directory,
    /// What was told last.
    told: Option<BTreeMap<String, Device>>,
}

impl Watch {
    /// Watches where these patterns would find something. Nothing is told yet.
    pub fn new(patterns: Vec<Pattern>) -> io::Result<Self> {
        let events = Directory::watch(Path::new(DEV), wanted())?;
        Ok(Self { patterns, events, told: None })
    }

    /// The devices that are there, as soon as they are others than were told last: the first time at
    /// once. Looks only when something happened in their directories.
    pub async fn next(&mut self) -> io::Result<BTreeMap<String, Device>> {
        loop {
            // First, so that nothing comes unseen between this and the look.
            self.follow();
            let there = found(&self.patterns);
            if self.told.as_ref() != Some(&there) {
                self.told = Some(there.clone());
                return Ok(there);
            }
            self.events.next(|_, _| {}).await?;
            sleep(SETTLED).await;
        }
    }

    /// Watches directories that have come: udev makes `/dev/serial/by-id` for the first device in it.
    fn follow(&self) {
        for directory in directories(&self.patterns) {
            // One that is not there shows in the one above, which is watched before.
            let _ = self.events.also(&directory, wanted());
        }
    }
}

/// Names that come and go. What is written to a device makes no event.
const fn wanted() -> WatchFlags {
    WatchFlags::CREATE
        .union(WatchFlags::DELETE)
        .union(WatchFlags::MOVED_FROM)
        .union(WatchFlags::MOVED_TO)
}

/// Where patterns look, and what is above that, from above.
fn directories(patterns: &[Pattern]) -> BTreeSet<PathBuf> {
    let above = |pattern: &Pattern| {
        let all: Vec<_> = pattern.directory.ancestors().map(Path::to_owned).collect();
        all.into_iter().filter(|path| path.starts_with(DEV))
    };
    patterns.iter().flat_map(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    use std::fs;

    /// A directory below `/dev` that a test has for itself.
    struct Own(PathBuf);

    impl Own {
        fn new(name: &str) -> Self {
            Self(Path::new(DEV).join(format!("mote-{name}-{}", std::process::id())))
        }

        fn node(&self, name: &str, minor: u32) {
            let mode = Mode::from_raw_mode(0o600);
            let number = makedev(240, minor);
            mknodat(CWD, self.0.join(name), FileType::CharacterDevice, mode, number).unwrap();
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn directories_are_watched_from_above() {
        let patterns = ["/dev/gpiochip*", "/dev/serial/by-id/*"].map(|text| text.parse().unwrap());
        let found: Vec<_> = directories(&patterns).into_iter().collect();
        assert_eq!(found, ["/dev", "/dev/serial", "/dev/serial/by-id"].map(PathBuf::from));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_plugged_in_and_pulled_is_told_also_in_a_directory_that_comes_with_it() {
        let own = Own::new("watch");
        let pattern = own.0.join("by-id/usb*").display().to_string();
        let mut watch = Watch::new(vec![pattern.parse().unwrap()]).unwrap();
        assert!(watch.next().await.unwrap().is_empty(), "at once");
        fs::create_dir(&own.0).unwrap();
        fs::create_dir(own.0.join("by-id")).unwrap();
        own.node("by-id/usb0", 1);
        let there = watch.next().await.unwrap();
        assert_eq!(there.keys().collect::<Vec<_>>(), ["mote.io/usb0"]);
        // Another device in the place of the one.
        fs::remove_file(own.0.join("by-id/usb0")).unwrap();
        own.node("by-id/usb0", 2);
        let other = watch.next().await.unwrap();
        assert_ne!(other, there);
        fs::remove_file(own.0.join("by-id/usb0")).unwrap();
        assert!(watch.next().await.unwrap().is_empty());
    }
}
