//! The kernel's clocks and randomness.

use std::time::{Duration, SystemTime};

use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, clock_gettime};

use super::{Clock, Random, WallClock};
use crate::runtime::BootTime;
use crate::sys::clock::is_synchronized;

/// `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelClock;

impl Clock for KernelClock {
    fn now(&self) -> BootTime {
        let time = clock_gettime(ClockId::Boottime);
        // Neither field of a boot time is ever negative.
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        BootTime(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
    }
}

/// `CLOCK_REALTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelWallClock;

impl WallClock for KernelWallClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn is_kept(&self) -> bool {
        is_synchronized().unwrap_or(false)
    }
}

/// `getrandom`, which never blocks here: whoever starts the agent has long drawn from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelRandom;

impl Random for KernelRandom {
    fn next(&self) -> u64 {
        let mut bytes = [0; 8];
        // Up to 256 bytes come whole and without an error (random(7)), so there is nothing to do
        // about the result.
        let _ = getrandom(&mut bytes, GetRandomFlags::empty());
        u64::from_ne_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_and_random_bits_differ() {
        let before = KernelClock.now();
        assert!(before.0 > Duration::ZERO && KernelClock.now() >= before);
        assert!(KernelWallClock.now() > SystemTime::UNIX_EPOCH);
        assert_ne!(KernelRandom.next(), KernelRandom.next());
    }
}
