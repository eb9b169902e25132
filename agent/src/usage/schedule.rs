//! When a report is due: in the cadence that is configured, or as much slower as the bytes of a day
//! allow.
//!
//! After each report the next waits for as long as a day has room for such ones: a day of reports of
//! one size costs no more than was allowed, whenever it begins, and one report more.

use std::time::Duration;

use crate::pod::Moment;

/// What `[reports]` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reports {
    /// Time between two reports; none where there are none.
    pub usage: Option<Duration>,
    /// Bytes of reports in a day, as MQTT packets.
    pub bytes_per_day: u64,
}

impl Default for Reports {
    fn default() -> Self {
        Self { usage: Some(Duration::from_mins(5)), bytes_per_day: 100 * 1024 }
    }
}

/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// When reports are due.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    reports: Reports,
    pause: Duration,
    next: Moment,
}

impl Schedule {
    /// The first look is due at once.
    pub fn new(reports: Reports, now: Moment) -> Self {
        let (pause, next) = match reports.usage {
            Some(every) => (every, now),
            None => (Duration::MAX, Moment::NEVER),
        };
        Self { reports, pause, next }
    }

    /// When the next report, or look, is due; none where there are none.
    pub fn due(&self) -> Option<Moment> {
        (self.next != Moment::NEVER).then_some(self.next)
    }

    /// Whether a look is too long ago to tell what is used now: nobody listened meanwhile.
    pub fn is_stale(&self, looked: Moment, now: Moment) -> bool {
        now.since(looked) > self.pause.saturating_mul(2)
    }

    /// Somebody looked, and nothing was told: rates take a second look.
    pub fn looked(&mut self, now: Moment) {
        self.wait(now, self.reports.usage.unwrap_or(Duration::MAX));
    }

    /// A report of so many bytes was sent.
    pub fn sent(&mut self, bytes: usize, now: Moment) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let of_day = bytes.saturating_mul(DAY_MS).div_ceil(self.reports.bytes_per_day.max(1));
        let every = self.reports.usage.unwrap_or(Duration::MAX);
        self.wait(now, every.max(Duration::from_millis(of_day)));
    }

    fn wait(&mut self, now: Moment, pause: Duration) {
        self.pause = pause;
        self.next = now.after(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVERY: Duration = Duration::from_mins(5);

    fn reports(bytes_per_day: u64) -> Reports {
        Reports { usage: Some(EVERY), bytes_per_day }
    }

    #[test]
    fn small_reports_keep_the_cadence_and_large_ones_wait_for_their_bytes() {
        let mut schedule = Schedule::new(reports(86_400), Moment(0));
        assert_eq!(schedule.due(), Some(Moment(0)));
        schedule.looked(Moment(0));
        assert_eq!(schedule.due(), Some(Moment(300_000)));
        schedule.sent(300, Moment(300_000));
        assert_eq!(schedule.due(), Some(Moment(600_000)), "a byte a second is what it may");
        schedule.sent(900, Moment(600_000));
        assert_eq!(schedule.due(), Some(Moment(1_500_000)));
        assert!(!schedule.is_stale(Moment(0), Moment(1_800_000)), "a slow rate is no silence");
        assert!(schedule.is_stale(Moment(0), Moment(1_800_001)));
    }

    #[test]
    fn where_there_are_no_reports_nobody_looks() {
        let schedule = Schedule::new(Reports { usage: None, ..Reports::default() }, Moment(0));
        assert_eq!(schedule.due(), None);
    }

    proptest! {
        /// Whatever reports grow and shrink to, and however late each is: no day costs more than it may,
        /// but for the report that it begins with.
        #[test]
        fn no_day_costs_more_than_it_may(
            per_day in 1_000..200_000_u64,
            steps in prop::collection::vec((50..3_000_usize, 0..900_000_i64), 1..400),
        ) {
            let mut schedule = Schedule::new(reports(per_day), Moment(0));
            let mut sent = Vec::new();
            for (bytes, late) in steps {
                let now = Moment(schedule.due().expect("reports").0 + late);
                schedule.sent(bytes, now);
                sent.push((now.0, bytes as u64));
            }
            let day = i64::try_from(DAY_MS).expect("small");
            for (begin, _) in &sent {
                let of_day = sent.iter().filter(|(at, _)| at >= begin && *at < begin + day);
                let of_day: Vec<u64> = of_day.map(|(_, bytes)| *bytes).collect();
                let largest = of_day.last().copied().unwrap_or(0);
                prop_assert!(of_day.iter().sum::<u64>() <= per_day + largest);
            }
        }
    }
}
