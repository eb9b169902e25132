//! Why something was not done, as it is told to the agent.

use mote_pause::wire::{Failure, Reply};
use rustix::io::Errno;

/// What was being done, and what the kernel said.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    failure: Failure,
    errno: Option<Errno>,
}

impl Fault {
    /// A fault in which the kernel had no part.
    pub(crate) const fn of(failure: Failure) -> Self {
        Self { failure, errno: None }
    }

    pub(crate) fn reply(self) -> Reply {
        let errno = self.errno.map_or(0, Errno::raw_os_error);
        Reply::Failed { failure: self.failure, errno: u16::try_from(errno).unwrap_or(u16::MAX) }
    }
}

/// Says while doing what an error came.
pub(crate) trait While<T> {
    fn during(self, failure: Failure) -> Result<T, Fault>;
}

impl<T> While<T> for Result<T, Errno> {
    fn during(self, failure: Failure) -> Result<T, Fault> {
        self.map_err(|errno| Fault { failure, errno: Some(errno) })
    }
}
