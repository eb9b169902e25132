//! What the kernel knows of its own clock.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::event::register;

/// Whether somebody (NTP, PTP) keeps the clock right: the kernel's `STA_UNSYNC` is not set.
pub fn is_synchronized() -> io::Result<bool> {
    // SAFETY: all of its fields are integers, for which zeros are a value; with no mode set the
    // call only reads.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole timex of ours.
    if unsafe { libc::adjtimex(&raw mut state) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state.status & libc::STA_UNSYNC == 0)
}

/// When the timer is due, in Unix seconds: never, in as many bits as the kernel counts nanoseconds in.
const NEVER_S: i64 = i64::MAX / 1_000_000_000;

/// Tells when somebody sets the clock: a timer of the time of day that is never due, and that the
/// kernel cancels whenever that time jumps, `timerfd_create(2)`. A clock that is made to run faster or
/// slower does not jump. Kernels may also tell of a machine that slept.
#[derive(Debug)]
pub struct Jumps {
    timer: AsyncFd<OwnedFd>,
}

impl Jumps {
    /// From now on.
    pub fn watch() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        arm(&timer)?;
        Ok(Self { timer: register(timer, Interest::READABLE)? })
    }

    /// Waits until the clock was set, once or more often. Cancel-safe.
    pub async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; size_of::<u64>()];
            match rustix::io::read(self.timer.get_ref(), &mut expirations) {
                Err(Errno::CANCELED) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                // The clock was set to the end of time.
                Ok(_) => {
                    arm(self.timer.get_ref())?;
                    return Ok(());
                }
            }
        }
    }
}

fn arm(timer: &OwnedFd) -> io::Result<()> {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let never = Itimerspec { it_interval: zero, it_value: Timespec { tv_sec: NEVER_S, ..zero } };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer, flags, &never)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_nobody_sets_wakes_nobody() {
        let jumps = Jumps::watch().expect("the kernel knows such timers");
        let day = Duration::from_hours(24);
        assert!(tokio::time::timeout(day, jumps.next()).await.is_err());
        // The kernel knows what it is asked for.
        let left = rustix::time::timerfd_gettime(jumps.timer.get_ref()).expect("it is armed");
        assert!(left.it_value.tv_sec > 200 * 365 * 24 * 60 * 60, "{left:?}");
    }

    #[test]
    fn the_kernel_answers() {
        super::is_synchronized().expect("reading needs no privilege");
    }
}
