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

impl Boot {
    /// What a moment of this boot is in `other`, as of `now` there. Within one boot, moments are
    /// exact whatever the wall clock did; between boots they are as good as that clock, and never
    /// in the future.
    pub fn moment_in(&self, other: &Self, moment: Moment, now: Moment) -> Moment {
        let offset = if self.id == other.id { 0 } else { self.epoch_ms - other.epoch_ms };
        Moment(moment.0.saturating_add(offset)).min(now)
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
        let written = Boot { id: [1; 16], epoch_ms: 1_700_000_000_000 };
        let stepped = Boot { id: [1; 16], epoch_ms: 0 };
        assert_eq!(written.moment_in(&stepped, at, now), at);
        let next = Boot { id: [2; 16], epoch_ms: 1_700_000_100_000 };
        assert_eq!(written.moment_in(&next, at, now), Moment(-50_000));
        let lost_clock = Boot { id: [2; 16], epoch_ms: 0 };
        assert_eq!(written.moment_in(&lost_clock, at, now), now);
    }

    #[test]
    fn arithmetic_never_overflows() {
        assert_eq!(Moment::NEVER.after(Duration::MAX), Moment::NEVER);
        assert_eq!(Moment(-5).since(Moment(7)), Duration::ZERO);
        assert_eq!(Moment::NEVER.since(Moment(i64::MIN)).as_millis(), 9_223_372_036_854_775_807);
        assert_eq!(Moment(-1).seconds(), -1);
    }
}
