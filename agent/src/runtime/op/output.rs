//! To whom the pipes belong that a container's processes print into, and read from.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Uid, fchown, fstat};

/// Gives the pipes behind standard input, output and error to the user who will use them.
///
/// Writing needs no right, opening does: `/dev/stdout` is a link to the pipe, which belongs to who
/// made it, and many an image opens that for its log. Other runtimes do the same.
pub(super) fn give_to(uid: u32) -> io::Result<()> {
    give(io::stdin().as_fd(), uid)?;
    give(io::stdout().as_fd(), uid)?;
    give(io::stderr().as_fd(), uid)
}

fn give(output: BorrowedFd<'_>, uid: u32) -> io::Result<()> {
    let found = fstat(output)?;
    // `/dev/null` is everybody's already.
    let is_pipe = FileType::from_raw_mode(found.st_mode) == FileType::Fifo;
    if is_pipe && found.st_uid != uid {
        fchown(output, Some(Uid::from_raw(uid)), None)?;
    }
    Ok(())
}
