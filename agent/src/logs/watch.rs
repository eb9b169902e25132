//! Wakes when a log grows, is put aside, or is closed by its writer.

use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::event::register;

/// Room for events, of which each has a file's name.
const BUFFER: usize = 1024;

/// The directory of a container's logs, watched: its files change their names when they are put
/// aside, the directory does not.
#[derive(Debug)]
pub(super) struct Watch {
    events: AsyncFd<OwnedFd>,
    /// The file that is written to.
    current: OsString,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// There may be more to read.
    Something,
    /// The writer has closed the file: nothing more comes.
    Closed,
}

impl Watch {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let (Some(directory), Some(current)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let events = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let wanted = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE_SELF
            | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&events, directory, wanted)?;
        Ok(Self { events: register(events, Interest::READABLE)?, current: current.to_owned() })
    }

    /// Waits until something happened, and takes note of all that has. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Happened> {
        let mut ready = self.events.readable().await?;
        let mut happened = Happened::Something;
        let mut buffer = [const { MaybeUninit::uninit() }; BUFFER];
        let mut reader = inotify::Reader::new(self.events.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let closed = event.events().contains(inotify::ReadFlags::CLOSE_WRITE);
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    if closed && name == Some(self.current.as_os_str()) {
                        happened = Happened::Closed;
                    }
                }
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    return Ok(happened);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
