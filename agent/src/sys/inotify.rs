//! A directory that tells when something in it changes, inotify(7).

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify;
pub use rustix::fs::inotify::{ReadFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::event::register;

/// Room for events, of which each has a file's name.
const BUFFER: usize = 1024;

/// A directory that is watched.
#[derive(Debug)]
pub struct Directory {
    events: AsyncFd<OwnedFd>,
}

impl Directory {
    /// Watches `path` for what `wanted` names.
    pub fn watch(path: &Path, wanted: WatchFlags) -> io::Result<Self> {
        let events = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&events, path, wanted | WatchFlags::ONLYDIR)?;
        Ok(Self { events: register(events, Interest::READABLE)? })
    }

    /// Watches another directory as well; one that is watched stays so.
    pub fn also(&self, path: &Path, wanted: WatchFlags) -> io::Result<()> {
        inotify::add_watch(self.events.get_ref(), path, wanted | WatchFlags::ONLYDIR)?;
        Ok(())
    }

    /// Waits until something happened, and tells all that has. Cancel-safe.
    pub async fn next(&self, mut tell: impl FnMut(ReadFlags, Option<&OsStr>)) -> io::Result<()> {
        let mut ready = self.events.readable().await?;
        let mut buffer = [const { MaybeUninit::uninit() }; BUFFER];
        let mut reader = inotify::Reader::new(self.events.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    tell(event.events(), name);
                }
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    return Ok(());
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
