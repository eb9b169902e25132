//! Instants that may lie before the boot.

use std::time::Duration;

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

impl From<BootTime> for Moment {
    fn from(time: BootTime) -> Self {
        Self(0).after(time.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_never_overflows() {
        assert_eq!(Moment::NEVER.after(Duration::MAX), Moment::NEVER);
        assert_eq!(Moment(-5).since(Moment(7)), Duration::ZERO);
        assert_eq!(Moment::NEVER.since(Moment(i64::MIN)).as_millis(), 9_223_372_036_854_775_807);
        assert_eq!(Moment(-1).seconds(), -1);
    }
}
