//! Instants that may lie before the boot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::runtime::BootTime;

/// Milliseconds from boot, suspend included; negative before it. A pod that was accepted before a
/// reboot has a start there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

impl Moment {
    /// Later than every other.
    pub const NEVER: Self = Self(i64::MAX);

    /// This much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time since an earlier moment; zero where that one is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds from boot, as statuses tell times.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// One boot of the machine, to tell its moments from those of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The kernel's boot id.
    pub id: [u8; 16],
    /// When it was, in Unix milliseconds, by the clock of whoever says so.
    pub epoch_ms: i64,
}

/// When this was written, in Unix seconds: 2026-11-01. No clock that was set says less.
pub const WRITTEN_S: i64 = 1_793_491_200;

const LEAST_MS: i64 = 1000 * WRITTEN_S;

impl Boot {
    /// What a moment of this boot is in `other`, as of `now` there. Within one boot, moments are
    /// exact whatever the wall clock did; between boots they are as good as that clock, and never
    /// in the future. Where one of the clocks was not set, nobody knows how long it was between them:
    /// then it is now, since who takes it for half a century ends what has a deadline.
    pub fn moment_in(&self, other: &Self, moment: Moment, now: Moment) -> Moment {
        if self.id == other.id {
            return moment.min(now);
        }
        if self.epoch_ms < LEAST_MS || other.epoch_ms < LEAST_MS {
            return now;
        }
        Moment(moment.0.saturating_add(self.epoch_ms - other.epoch_ms)).min(now)
    }

    /// What a time of the wall clock is in this boot, by the same rule.
    pub fn moment_of(&self, unix_ms: i64, now: Moment) -> Moment {
        if unix_ms < LEAST_MS || self.epoch_ms < LEAST_MS {
            return now;
        }
        Moment(unix_ms.saturating_sub(self.epoch_ms)).min(now)
    }
}

impl From<BootTime> for Moment {
    fn from(time: BootTime) -> Self {
        Self(0).after(time.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_one_boot_do_not_care_for_the_wall_clock() {
        let (now, at) = (Moment(60_000), Moment(50_000));
        let written = Boot { id: [1; 16], epoch_ms: 1_800_000_000_000 };
        let stepped = Boot { id: [1; 16], epoch_ms: 0 };
        assert_eq!(written.moment_in(&stepped, at, now), at);
        let next = Boot { id: [2; 16], epoch_ms: 1_800_000_100_000 };
        assert_eq!(written.moment_in(&next, at, now), Moment(-50_000));
        assert_eq!(next.moment_of(1_800_000_050_000, now), Moment(-50_000));
        assert_eq!(next.moment_of(1_800_000_999_000, now), now, "never in the future");
    }

    #[test]
    fn a_clock_that_was_not_set_makes_nothing_half_a_century_old() {
        let (now, at) = (Moment(60_000), Moment(50_000));
        let set = Boot { id: [1; 16], epoch_ms: 1_800_000_000_000 };
        let unset = Boot { id: [2; 16], epoch_ms: 3_000 };
        assert_eq!(set.moment_in(&unset, at, now), now);
        assert_eq!(unset.moment_in(&set, at, now), now);
        assert_eq!(unset.moment_of(1_800_000_000_000, now), now);
        assert_eq!(set.moment_of(53_000, now), now);
    }

    #[test]
    fn arithmetic_never_overflows() {
        assert_eq!(Moment::NEVER.after(Duration::MAX), Moment::NEVER);
        assert_eq!(Moment(-5).since(Moment(7)), Duration::ZERO);
        assert_eq!(Moment::NEVER.since(Moment(i64::MIN)).as_millis(), 9_223_372_036_854_775_807);
        assert_eq!(Moment(-1).seconds(), -1);
    }
}
