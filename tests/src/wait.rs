//! Waiting for an event, never for time.
//!
//! A [`Watched`] value wakes whoever waits each time it changes; a [`Deadline`] only says when a
//! test gives up. No test sleeps.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How long a test waits for what should happen at once.
///
/// A minute: on two cores that also build, a container's start has been seen to take seconds.
/// Nothing waits this long unless it fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// When to give up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// The usual one.
    pub fn patient() -> Self {
        Self::after(PATIENCE)
    }

    /// This long from now.
    pub fn after(time: Duration) -> Self {
        Self(Instant::now().checked_add(time))
    }

    /// None at all: for what a person decides.
    pub fn never() -> Self {
        Self(None)
    }

    /// What is left; nothing when it has passed.
    pub fn remaining(self) -> Option<Duration> {
        // A day at a time is never enough for one that does not come.
        let Some(end) = self.0 else { return Some(Duration::from_hours(24)) };
        end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// A value that wakes whoever waits for it.
#[derive(Debug, Default)]
pub struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// A value nobody waits for yet.
    pub fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Condvar::new() }
    }

    /// The value. A panic elsewhere does not make it unreadable: it is about to be printed.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the value and wakes everybody.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `pick` finds what it looks for; the error says `what` was waited for.
    pub fn wait<R>(
        &self,
        deadline: Deadline,
        what: impl fmt::Display,
        mut pick: impl FnMut(&T) -> Option<R>,
    ) -> Result<R> {
        let mut value = self.lock();
        loop {
            if let Some(found) = pick(&value) {
                return Ok(found);
            }
            let Some(left) = deadline.remaining() else { bail!("waited in vain for {what}") };
            let woken = self.changed.wait_timeout(value, left);
            value = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Waits until an open file has something to tell; it says whether it had before the deadline.
pub(crate) fn wait_for_file(file: impl AsFd, what: PollFlags, deadline: Deadline) -> Result<bool> {
    while let Some(left) = deadline.remaining() {
        let timeout =
            Timespec { tv_sec: left.as_secs().try_into()?, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&file, what)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// Lets time pass: for measurements and tests that are about time itself, a slow line or an instant
/// at which something is killed. Nobody waits for anything by it.
pub fn let_pass(time: Duration) {
    let never = Watched::new(()).wait(Deadline::after(time), "nothing", |()| None::<()>);
    debug_assert!(never.is_err(), "nobody can end this wait");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_change_wakes_the_one_who_waits() {
        let watched = Arc::new(Watched::new(0));
        let other = Arc::clone(&watched);
        let thread = std::thread::spawn(move || other.update(|value| *value = 7));
        let seen = watched.wait(Deadline::patient(), "seven", |value| (*value == 7).then_some(()));
        seen.expect("woken");
        thread.join().expect("no panic");
    }

    #[test]
    fn a_deadline_says_what_was_waited_for() {
        let watched = Watched::new(0);
        let late = watched.wait(Deadline::after(Duration::ZERO), "rain", |_| None::<()>);
        assert_eq!(late.expect_err("never").to_string(), "waited in vain for rain");
    }
}
