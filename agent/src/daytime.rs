//! What this node knows of the time of day, which no clock of its own may know. PURE.
//!
//! Nothing that the node does waits for the time of day: timers, back-offs and deadlines count from
//! boot. It is needed to say when something was, and for certificates. A clock counts where somebody
//! keeps it right and it is not before this program was written. Everything else is doubted, and what
//! is not doubted is remembered on flash, rarely: no clock of this node can be right and show less later.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mote_registry::trust::Clock;

use crate::pod::WRITTEN_S;
use crate::ports::WallClock;

/// How far the time goes on before it is remembered again. A day makes no difference to certificates,
/// and a write a day none to a card.
const REMEMBERED: Duration = Duration::from_hours(24);

/// The same at an orderly stop, after which the board may start without a clock.
const REMEMBERED_AT_STOP: Duration = Duration::from_hours(1);

/// What is known of the time of day at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daytime {
    /// What the clock shows, in Unix seconds.
    pub shown_s: i64,
    /// Somebody (NTP, PTP) keeps it right.
    pub is_kept: bool,
    /// What it showed last when it was right, or when this program was written.
    pub floor_s: i64,
}

/// Why the clock does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It shows less than it has to.
    Behind,
    /// Nobody keeps it right.
    NotKept,
}

impl Daytime {
    /// Reads a clock of which `floor_s` is known.
    pub fn read(wall: &impl WallClock, floor_s: i64) -> Self {
        let shown_s = unix_s(wall.now());
        Self { shown_s, is_kept: wall.is_kept(), floor_s: floor_s.max(WRITTEN_S) }
    }

    /// Why the clock does not count; none where it does. Who keeps it knows better than what is remembered,
    /// since that came from a clock as well.
    pub const fn doubt(&self) -> Option<Doubt> {
        if self.shown_s < WRITTEN_S || !self.is_kept && self.shown_s < self.floor_s {
            Some(Doubt::Behind)
        } else if self.is_kept {
            None
        } else {
            Some(Doubt::NotKept)
        }
    }

    /// What certificates are judged by.
    pub fn clock(&self) -> Clock {
        let floor_s = u64::try_from(self.floor_s).unwrap_or_default();
        Clock { is_kept: self.doubt().is_none(), floor_s }
    }

    /// What to remember while the node runs, if anything.
    pub fn to_remember(&self) -> Option<i64> {
        self.farther_than(REMEMBERED)
    }

    /// What to remember when the agent is asked to stop.
    pub fn to_remember_at_stop(&self) -> Option<i64> {
        self.farther_than(REMEMBERED_AT_STOP)
    }

    /// Also where it is less than what is remembered: then that was wrong.
    fn farther_than(&self, least: Duration) -> Option<i64> {
        let far = self.shown_s.abs_diff(self.floor_s) >= least.as_secs();
        (far && self.doubt().is_none()).then_some(self.shown_s)
    }

    /// What is doubted, for a person.
    pub fn describe(&self, doubt: Doubt) -> String {
        let shown = shown_time(self.shown_s);
        match doubt {
            Doubt::NotKept => format!("nobody keeps the clock right; it shows {shown}"),
            Doubt::Behind => {
                let floor = shown_time(self.floor_s);
                format!("the clock shows {shown}, and it is {floor} at the least")
            }
        }
    }
}

impl Doubt {
    /// The reason of the condition.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Behind => "ClockBehind",
            Self::NotKept => "ClockNotSynchronized",
        }
    }
}

/// In Unix seconds; negative before 1970.
pub fn unix_s(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
    }
}

/// Unix seconds, for a person.
pub fn shown_time(unix_s: i64) -> String {
    let time = jiff::Timestamp::from_second(unix_s);
    time.map_or_else(|_| unix_s.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * 60;
    const SEEN: i64 = WRITTEN_S + 30 * 24 * HOUR;

    fn at(shown_s: i64, is_kept: bool) -> Daytime {
        Daytime { shown_s, is_kept, floor_s: SEEN }
    }

    #[test]
    fn a_clock_counts_where_it_is_kept_and_not_older_than_the_program() {
        let table = [
            (SEEN + 1, true, None),
            (SEEN - HOUR, true, None),
            (WRITTEN_S - 1, true, Some(Doubt::Behind)),
            (7, true, Some(Doubt::Behind)),
            (-7, false, Some(Doubt::Behind)),
            (SEEN - 1, false, Some(Doubt::Behind)),
            (SEEN, false, Some(Doubt::NotKept)),
            (i64::MAX, false, Some(Doubt::NotKept)),
        ];
        for (shown_s, is_kept, doubt) in table {
            let daytime = at(shown_s, is_kept);
            assert_eq!(daytime.doubt(), doubt, "{daytime:?}");
            assert_eq!(daytime.clock().is_kept, doubt.is_none());
        }
    }

    #[test]
    fn it_is_remembered_once_a_day_and_never_while_it_is_doubted() {
        assert_eq!(at(SEEN + 24 * HOUR - 1, true).to_remember(), None);
        assert_eq!(at(SEEN + 24 * HOUR, true).to_remember(), Some(SEEN + 24 * HOUR));
        assert_eq!(at(SEEN + 24 * HOUR, false).to_remember(), None);
        assert_eq!(at(SEEN + HOUR, true).to_remember_at_stop(), Some(SEEN + HOUR));
        assert_eq!(at(SEEN + HOUR - 1, true).to_remember_at_stop(), None);
        assert_eq!(at(9, true).to_remember_at_stop(), None);
    }

    #[test]
    fn what_was_remembered_of_a_clock_that_ran_ahead_does_not_stay() {
        let daytime = Daytime { floor_s: SEEN + 1000 * 24 * HOUR, ..at(SEEN, true) };
        assert_eq!((daytime.doubt(), daytime.to_remember()), (None, Some(SEEN)));
    }

    #[test]
    fn both_times_are_named() {
        let daytime = Daytime { floor_s: WRITTEN_S, ..at(9, false) };
        assert_eq!(
            daytime.describe(Doubt::Behind),
            "the clock shows 1970-01-01T00:00:09Z, and it is 2026-11-01T00:00:00Z at the least"
        );
    }
}
