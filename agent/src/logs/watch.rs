//! Wakes when a log grows, is put aside, or is closed by its writer.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::sys::inotify::{Directory, ReadFlags, WatchFlags};

/// The directory of a container's logs, watched: its files change their names when they are put
/// aside, the directory does not.
#[derive(Debug)]
pub(super) struct Watch {
    directory: Directory,
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
        let wanted = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE_SELF;
        let directory = Directory::watch(directory, wanted)?;
        Ok(Self { directory, current: current.to_owned() })
    }

    /// Waits until something happened, and takes note of all that has. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Happened> {
        let (mut happened, current) = (Happened::Something, self.current.as_os_str());
        let tell = |what: ReadFlags, name: Option<&std::ffi::OsStr>| {
            if what.contains(ReadFlags::CLOSE_WRITE) && name == Some(current) {
                happened = Happened::Closed;
            }
        };
        self.directory.next(tell).await?;
        Ok(happened)
    }
}
