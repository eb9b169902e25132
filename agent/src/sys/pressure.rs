//! Tells when programs wait for memory: a trigger of the kernel's pressure stall information
//! (`Documentation/accounting/psi.rst`).

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::event::register;

/// Where the kernel tells how long programs waited for memory.
pub const MEMORY: &str = "/proc/pressure/memory";

/// A trigger that is set.
#[derive(Debug)]
pub struct Trigger {
    fd: AsyncFd<OwnedFd>,
}

impl Trigger {
    /// Tells when some program waited for `stall` in a `window`, of half a second to ten; at most once
    /// in that time. Kernels without this information have no such file, or refuse to open it.
    pub fn new(path: &str, stall: Duration, window: Duration) -> io::Result<Self> {
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        let mut file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        // The kernel wants the end of a C string.
        let order = format!("some {} {}\0", stall.as_micros(), window.as_micros());
        file.write_all(order.as_bytes())?;
        Ok(Self { fd: register(file.into(), Interest::PRIORITY)? })
    }

    /// Waits until it was so. Cancel-safe.
    pub async fn next(&self) -> io::Result<()> {
        let mut ready = self.fd.ready(Interest::PRIORITY).await?;
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_trigger_is_set_where_the_kernel_has_them() {
        let (stall, window) = (Duration::from_secs(9), Duration::from_secs(10));
        match Trigger::new(MEMORY, stall, window) {
            // Nobody waits for so long while nothing is short.
            Ok(trigger) => {
                let soon = Duration::from_millis(1);
                assert!(tokio::time::timeout(soon, trigger.next()).await.is_err());
            }
            Err(error) => {
                let known = [libc::ENOENT, libc::EOPNOTSUPP, libc::EACCES, libc::EPERM];
                assert!(error.raw_os_error().is_some_and(|code| known.contains(&code)), "{error}");
            }
        }
        assert!(Trigger::new(MEMORY, window, stall).is_err(), "longer than its window");
    }
}
