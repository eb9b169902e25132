//! A change that is put off: until its window opens and its lock is free, or it waited long enough.
//!
//! The time of the limit runs on the clock that only goes forward, and on the wall clock where somebody
//! keeps that: a machine that is off waits as well. Where nobody does, nobody knows how long the machine was
//! off; the time begins anew then, [`MOST_BOOTS`] times at most, or a board that is switched off every
//! evening would wait for ever.

use std::time::Duration;

use mote_protocol::rollout::{Delay, LockName};

use super::Count;
use crate::pod::Moment;
use crate::pod::backoff::written;

/// Boots in which a change waits on a node whose clock nobody keeps.
const MOST_BOOTS: u8 = 8;

/// A change that is put off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delayed {
    delay: Delay,
    /// When it was asked for, in Unix milliseconds, where somebody kept the clock then.
    asked_unix_ms: Option<i64>,
    count: Count,
}

/// The time at which it is asked for once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The kernel's boot id.
    pub boot: [u8; 16],
    /// Now, in that boot.
    pub now: Moment,
    /// The time of day in Unix milliseconds, where somebody keeps the clock.
    pub unix_ms: Option<i64>,
}

/// What holds a change up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Somebody holds its lock.
    Held(LockName),
    /// Its window is closed.
    Closed,
    /// Nobody keeps the clock that its window is read from.
    NoClock,
}

/// What is to be done about a change that was put off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is made.
    Make {
        /// What still stood in its way when its time was over.
        overdue: Option<Obstacle>,
    },
    /// It waits.
    Wait {
        /// For what.
        obstacle: Obstacle,
        /// When to ask again where nothing happens before.
        until: Moment,
        /// Flash should know that its time runs.
        counts: Option<Count>,
    },
}

impl Delayed {
    /// A change that may be held up by this; the others are what flash knows of it.
    pub const fn new(delay: Delay, asked_unix_ms: Option<i64>, count: Count) -> Self {
        Self { delay, asked_unix_ms, count }
    }

    /// What is to be done about it now.
    pub fn decide(&mut self, occasion: Occasion, is_held: impl Fn(&LockName) -> bool) -> Decision {
        let Some(obstacle) = self.obstacle(occasion, is_held) else {
            return Decision::Make { overdue: None };
        };
        let Occasion { boot, now, unix_ms } = occasion;
        let mut counts = None;
        let by_day = self.by_day(unix_ms);
        if self.count.boots == 0 || self.count.boot != boot {
            if by_day.is_none() && self.count.boots >= MOST_BOOTS {
                return Decision::Make { overdue: Some(obstacle) };
            }
            let boots = self.count.boots.saturating_add(1);
            self.count = Count { boots, boot, since_ms: now.0 };
            counts = Some(self.count);
        }
        if by_day.is_some() && self.count.boots > 1 {
            // The clock is only late, as after each boot: days count, and not boots.
            self.count.boots = 1;
            counts = Some(self.count);
        }
        let left = self.left(occasion);
        if left.is_zero() {
            return Decision::Make { overdue: Some(obstacle) };
        }
        let opens = self.opens_in(unix_ms).filter(|_| obstacle == Obstacle::Closed);
        let wait = opens.map_or(left, |opens| left.min(opens));
        Decision::Wait { obstacle, until: now.after(wait), counts }
    }

    fn obstacle(
        &self,
        occasion: Occasion,
        is_held: impl Fn(&LockName) -> bool,
    ) -> Option<Obstacle> {
        if let Some(lock) = self.delay.lock.as_ref().filter(|lock| is_held(lock)) {
            return Some(Obstacle::Held(lock.clone()));
        }
        self.delay.window.as_ref()?;
        match self.opens_in(occasion.unix_ms) {
            None => Some(Obstacle::NoClock),
            Some(Duration::ZERO) => None,
            Some(_) => Some(Obstacle::Closed),
        }
    }

    /// When its window opens, where it has one and somebody keeps the clock; at once where it is open.
    fn opens_in(&self, unix_ms: Option<i64>) -> Option<Duration> {
        let seconds = self.delay.window.as_ref()?.opens_in(unix_ms?.div_euclid(1000));
        Some(Duration::from_secs(seconds.into()))
    }

    /// How long it waited by the clock, where somebody kept that both times.
    fn by_day(&self, unix_ms: Option<i64>) -> Option<Duration> {
        let waited = unix_ms?.saturating_sub(self.asked_unix_ms?);
        u64::try_from(waited).ok().map(Duration::from_millis)
    }

    /// How long it may still be held up.
    fn left(&self, occasion: Occasion) -> Duration {
        let waited = occasion.now.since(Moment(self.count.since_ms));
        let by_day = self.by_day(occasion.unix_ms).unwrap_or_default();
        self.delay.limit.saturating_sub(waited.max(by_day))
    }

    /// What it waits for, for a person: always the same words for the same obstacle.
    pub fn reason(&self, obstacle: &Obstacle) -> String {
        let limit = written(self.delay.limit);
        format!("waits for {}; it is made after {limit} in any case", self.name(obstacle))
    }

    /// That it is made all the same, for a person.
    pub fn excuse(&self, obstacle: &Obstacle) -> String {
        format!("is made after {}, without {}", written(self.delay.limit), self.name(obstacle))
    }

    fn name(&self, obstacle: &Obstacle) -> String {
        let window = self.delay.window.as_ref().map_or("", |window| window.as_str());
        match obstacle {
            Obstacle::Held(lock) => format!("the lock {}", lock.as_str()),
            Obstacle::Closed => format!("its window ({window} UTC)"),
            Obstacle::NoClock => format!("its window ({window} UTC), by a clock that nobody keeps"),
        }
    }
}

#[cfg(test)]
mod tests {
    use mote_protocol::rollout::Windows;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_hours(2);
    /// 2026-11-30, a Monday, at midnight.
    const MONDAY_MS: i64 = 1_795_996_800_000;

    fn delayed(window: Option<&str>, lock: Option<&str>) -> Delayed {
        let window = window.map(|text| Windows::parse(text).unwrap());
        let lock = lock.map(|name| LockName::new(name).unwrap());
        Delayed::new(Delay { window, lock, limit: LIMIT }, Some(MONDAY_MS), Count::default())
    }

    fn at(minutes: i64) -> Occasion {
        let unix_ms = Some(MONDAY_MS + minutes * 60_000);
        Occasion { boot: [1; 16], now: Moment(5000 + minutes * 60_000), unix_ms }
    }

    fn waits(decision: &Decision) -> (Obstacle, i64) {
        let Decision::Wait { obstacle, until, .. } = decision else { panic!("{decision:?}") };
        (obstacle.clone(), (until.0 - 5000) / 60_000)
    }

    const MADE: Decision = Decision::Make { overdue: None };

    #[test]
    fn it_is_made_as_soon_as_its_lock_is_free() {
        let mut one = delayed(None, Some("printing"));
        let held = Obstacle::Held(LockName::new("printing").unwrap());
        assert_eq!(waits(&one.decide(at(0), |_| true)), (held.clone(), 120));
        assert_eq!(waits(&one.decide(at(60), |_| true)), (held.clone(), 120));
        assert_eq!(one.clone().decide(at(61), |_| false), MADE);
        let overdue = Some(held);
        assert_eq!(one.decide(at(120), |_| true), Decision::Make { overdue });
    }

    #[test]
    fn it_is_made_when_its_window_opens() {
        let mut one = delayed(Some("01:00-02:00"), None);
        assert_eq!(waits(&one.decide(at(0), |_| true)), (Obstacle::Closed, 60));
        assert_eq!(one.decide(at(60), |_| true), MADE);
        let mut late = delayed(Some("03:00-04:00"), None);
        assert_eq!(waits(&late.decide(at(0), |_| true)), (Obstacle::Closed, 120), "the limit");
        let overdue = Some(Obstacle::Closed);
        assert_eq!(late.decide(at(120), |_| true), Decision::Make { overdue });
    }

    #[test]
    fn both_must_agree() {
        let mut one = delayed(Some("00:00-01:00"), Some("printing"));
        assert!(matches!(waits(&one.decide(at(0), |_| true)).0, Obstacle::Held(_)));
        assert_eq!(one.clone().decide(at(59), |_| false), MADE);
        assert_eq!(waits(&one.decide(at(60), |_| false)).0, Obstacle::Closed);
    }

    #[test]
    fn a_clock_that_nobody_keeps_opens_no_window_and_bounds_the_wait_all_the_same() {
        let unkept =
            |boot: u8, minutes| Occasion { boot: [boot; 16], unix_ms: None, ..at(minutes) };
        let mut one = delayed(Some("00:00-24:00"), None);
        let first = one.decide(unkept(1, 0), |_| false);
        let count = Count { boots: 1, boot: [1; 16], since_ms: 5000 };
        assert!(matches!(first, Decision::Wait { counts: Some(counts), .. } if counts == count));
        assert_eq!(waits(&first), (Obstacle::NoClock, 120));
        let again = one.decide(unkept(1, 119), |_| false);
        assert!(matches!(again, Decision::Wait { counts: None, .. }));
        let overdue = || Decision::Make { overdue: Some(Obstacle::NoClock) };
        assert_eq!(one.clone().decide(unkept(1, 120), |_| false), overdue());
        assert_eq!(one.clone().decide(at(1), |_| false), MADE, "somebody keeps it now");
        for boot in 2..=MOST_BOOTS {
            assert!(matches!(one.decide(unkept(boot, 0), |_| false), Decision::Wait { .. }));
        }
        assert_eq!(one.decide(unkept(99, 0), |_| false), overdue());
    }

    #[test]
    fn boots_count_only_where_days_cannot_be_counted() {
        let boot = |boot: u8, unix_ms| Occasion { boot: [boot; 16], unix_ms, ..at(0) };
        // Each time the clock is set a moment after the boot.
        let mut one = delayed(None, Some("printing"));
        for boots in 1..50 {
            assert!(matches!(one.decide(boot(boots, None), |_| true), Decision::Wait { .. }));
            assert!(matches!(
                one.decide(boot(boots, Some(MONDAY_MS)), |_| true),
                Decision::Wait { .. }
            ));
        }
        // It was not when the change was asked for, or it was wrong.
        for asked_unix_ms in [None, Some(MONDAY_MS + 1)] {
            let mut one = Delayed { asked_unix_ms, ..delayed(None, Some("printing")) };
            for boots in 1..=MOST_BOOTS {
                let decision = one.decide(boot(boots, Some(MONDAY_MS)), |_| true);
                assert!(matches!(decision, Decision::Wait { .. }));
            }
            let last = one.decide(boot(99, Some(MONDAY_MS)), |_| true);
            assert!(matches!(last, Decision::Make { overdue: Some(_) }));
        }
    }

    #[test]
    fn a_machine_that_is_off_waits_as_well_and_a_new_agent_goes_on_counting() {
        let mut one = delayed(None, Some("printing"));
        let Decision::Wait { counts: Some(count), .. } = one.decide(at(0), |_| true) else {
            panic!()
        };
        let mut again = Delayed::new(one.delay.clone(), None, count);
        assert_eq!(waits(&again.decide(at(30), |_| true)).1, 120);
        // Two hours later, of which the machine ran for one minute.
        let booted = Occasion { boot: [2; 16], now: Moment(60_000), ..at(120) };
        assert!(matches!(one.decide(booted, |_| true), Decision::Make { overdue: Some(_) }));
        // Who was asked without a clock does not know.
        assert!(matches!(again.decide(booted, |_| true), Decision::Wait { .. }));
    }

    #[test]
    fn why_it_waits_is_said() {
        let one = delayed(Some("Mon 01:00-02:00"), Some("printing"));
        let held = Obstacle::Held(LockName::new("printing").unwrap());
        let text = "waits for the lock printing; it is made after 2h0m0s in any case";
        assert_eq!(one.reason(&held), text);
        let text = "is made after 2h0m0s, without its window (Mon 01:00-02:00 UTC)";
        assert_eq!(one.excuse(&Obstacle::Closed), text);
    }

    proptest! {
        /// However the clock jumps, and whoever holds the lock: it is made within its limit of a boot,
        /// and never asks to be asked again in the past.
        #[test]
        fn no_change_waits_for_longer_than_its_limit(
            steps in proptest::collection::vec((1_i64..40, proptest::option::of(any::<i32>()), any::<bool>()), 200),
        ) {
            let mut one = delayed(Some("03:00-03:01"), Some("printing"));
            let mut minutes = 0;
            for (more, clock, held) in steps {
                let unix_ms = clock.map(|at| i64::from(at) * 1000);
                let occasion = Occasion { unix_ms, ..at(minutes) };
                match one.decide(occasion, |_| held) {
                    Decision::Make { .. } => return Ok(()),
                    Decision::Wait { until, .. } => {
                        prop_assert!(minutes < 120);
                        prop_assert!(until > occasion.now);
                        prop_assert!(until <= at(120).now);
                    }
                }
                minutes += more;
            }
            prop_assert!(false, "it waits for ever");
        }
    }
}
