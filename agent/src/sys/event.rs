//! Waiting for file descriptors in the async runtime.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a file descriptor with the async runtime that calls.
///
/// Safe for an [`OwnedFd`], which tokio cannot know of every type it takes: it names one open file
/// until it is dropped, and `AsyncFd` owns it from here on.
pub fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: see above.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}
