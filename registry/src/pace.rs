//! A bound on how fast downloads go, so that a pull leaves something of a thin line to the pods.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Bytes that may come at once, in time at the full rate. Long enough that pauses are few, short
/// enough that whoever shares the line does not notice the bursts.
const BURST: Duration = Duration::from_millis(250);

/// How far the bytes that came are ahead of what was allowed.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<NonZeroU64>,
    /// When everything that came so far would be through at the bound.
    through: Option<Instant>,
}

impl Pace {
    /// At most `rate` bytes per second; as fast as it goes where unset.
    pub(super) const fn new(rate: Option<NonZeroU64>) -> Self {
        Self { rate, through: None }
    }

    /// `bytes` came at `now`: how long to wait before more is read.
    pub(super) fn after(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let nanos = (bytes as u128 * 1_000_000_000) / u128::from(rate.get());
        let took = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // A line that was idle may not make up for it.
        let begin = self.through.map_or(now, |through| through.max(now));
        let through = begin.checked_add(took).unwrap_or(begin);
        self.through = Some(through);
        through.saturating_duration_since(now).saturating_sub(BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_is_the_bound_and_idleness_saves_nothing() {
        let mut pace = Pace::new(NonZeroU64::new(100_000));
        let start = Instant::now();
        let mut now = start;
        for _ in 0..100 {
            now += pace.after(10_000, now);
        }
        let took = now - start;
        let expected = Duration::from_millis(10_000 - 250);
        assert!(took.abs_diff(expected) < Duration::from_millis(1), "{took:?}");
        now += Duration::from_hours(1);
        assert_eq!(pace.after(25_000, now), Duration::ZERO);
        let wait = pace.after(100_000, now);
        assert!(wait.abs_diff(Duration::from_secs(1)) < Duration::from_millis(1), "{wait:?}");
    }

    #[test]
    fn without_a_bound_nothing_waits() {
        assert_eq!(Pace::new(None).after(usize::MAX, Instant::now()), Duration::ZERO);
    }
}
