//! A change on trial: kept once its pod is ready, taken back where it is not in time.
//!
//! ```text
//!   Waiting -- every image is here, or cannot be had --> Running -- ready for STEADY --> Final
//!      ^                                                    |
//!      +------------------- another boot -------------------+-- in vain for the limit --> Back
//! ```
//! The time runs on the clock that only goes forward, and only while the pod is to run: not before
//! its images are here, since a thin line is no fault of theirs, and not while the machine is off.
//! What of it was over when the machine went down nobody knows; it begins anew, [`MOST_BOOTS`]
//! times at most, since what is tried may be what brings the machine down. A new agent goes on
//! counting, and looks for [`LOOK`] at least: it does not know what probes said to the one before.

use std::time::Duration;

use mote_protocol::status::Phase;
use serde::{Deserialize, Serialize};

use crate::pod::Moment;
use crate::pod::backoff::written;
use crate::pod::machine::Progress;

/// How long a pod must be ready without a break. A container without a readiness probe is ready as
/// soon as it runs, also one that ends a second later, again and again.
const STEADY: Duration = Duration::from_secs(10);

/// How long an agent looks before it takes a change back, where its limit is not shorter. A container
/// that was adopted is not ready until its probe was heard again, and some are slow.
const LOOK: Duration = Duration::from_mins(1);

/// Boots in which a change may be tried.
const MOST_BOOTS: u8 = 3;

/// What flash knows of a trial, so that neither a new agent nor a new boot begins from nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Boots in which its time ran.
    pub boots: u8,
    /// The last of them.
    pub boot: [u8; 16],
    /// When it began in that one, in milliseconds after the boot.
    pub since_ms: i64,
}

/// A change on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    limit: Duration,
    count: Count,
    /// Since when the pod has been ready.
    ready: Option<Moment>,
    /// When this agent looked first.
    first: Option<Moment>,
    /// It was ready for long enough: nothing that comes later counts against it.
    proven: bool,
}

/// What is to be done about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Wait,
    /// Flash should know that its time runs.
    Counts(Count),
    /// It stays.
    Final,
    /// It is taken back.
    Back(Failure),
}

/// Why a change is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The pod was not ready in this time.
    NotReady(Duration),
    /// It ended, and failed.
    Ended,
    /// The machine went down each time that it was tried.
    Reboots,
}

impl Failure {
    /// Why, for a person; `complaint` is what the pod has to say.
    pub fn message(self, complaint: &str) -> String {
        match self {
            Self::NotReady(limit) => format!("not ready after {}: {complaint}", written(limit)),
            Self::Ended => format!("the pod failed: {complaint}"),
            Self::Reboots => format!("the machine was rebooted {MOST_BOOTS} times meanwhile"),
        }
    }
}

impl Trial {
    /// A change that may take so long; `count` is what flash knows of it.
    pub const fn new(limit: Duration, count: Count) -> Self {
        Self { limit, count, ready: None, first: None, proven: false }
    }

    /// Its pod may run again after a while in which it might not: its time begins anew.
    pub fn begin_anew(&mut self) {
        if !self.proven {
            *self = Self::new(self.limit, Count::default());
        }
    }

    /// Takes in how far the pod is in this boot. Once it is final it stays so: flash may refuse to hear it
    /// for a while.
    pub fn step(&mut self, progress: Progress, boot: [u8; 16], now: Moment) -> Verdict {
        if self.proven {
            return Verdict::Final;
        }
        self.first.get_or_insert(now);
        let verdict = self.judge(progress, boot, now);
        self.proven = verdict == Verdict::Final;
        verdict
    }

    fn judge(&mut self, progress: Progress, boot: [u8; 16], now: Moment) -> Verdict {
        let ready = match progress {
            // Who gave way says nothing of the change, and must not come back in another form.
            Progress::Over(Phase::Succeeded) | Progress::Taken => return Verdict::Final,
            Progress::Over(_) => return Verdict::Back(Failure::Ended),
            Progress::Fetching if !self.runs(boot) => return Verdict::Wait,
            Progress::Fetching | Progress::NotReady => None,
            Progress::Ready => Some(self.ready.unwrap_or(now)),
        };
        self.ready = ready;
        if ready.is_some_and(|since| since.after(STEADY) <= now) {
            return Verdict::Final;
        }
        if !self.runs(boot) {
            if self.count.boots >= MOST_BOOTS {
                return Verdict::Back(Failure::Reboots);
            }
            self.count = Count { boots: self.count.boots + 1, boot, since_ms: now.0 };
            return Verdict::Counts(self.count);
        }
        if ready.is_none() && self.ends() <= now {
            return Verdict::Back(Failure::NotReady(self.limit));
        }
        Verdict::Wait
    }

    /// When to look at it again where nothing happens before.
    pub fn deadline(&self, boot: [u8; 16]) -> Option<Moment> {
        match self.ready {
            Some(since) => Some(since.after(STEADY)),
            None => self.runs(boot).then(|| self.ends()),
        }
    }

    fn runs(&self, boot: [u8; 16]) -> bool {
        self.count.boots > 0 && self.count.boot == boot
    }

    fn ends(&self) -> Moment {
        let over = Moment(self.count.since_ms).after(self.limit);
        let looked = self.first.map(|first| first.after(self.limit.min(LOOK)));
        looked.map_or(over, |looked| looked.max(over))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Progress::{Fetching, NotReady, Over, Ready};
    use proptest::prelude::*;

    const LIMIT: Duration = Duration::from_mins(2);
    const BOOT: [u8; 16] = [1; 16];

    fn at(seconds: i64) -> Moment {
        Moment(seconds * 1000)
    }

    fn trial() -> Trial {
        Trial::new(LIMIT, Count::default())
    }

    #[test]
    fn who_is_ready_for_a_while_stays() {
        let mut trial = trial();
        let count = Count { boots: 1, boot: BOOT, since_ms: 5000 };
        assert_eq!(trial.step(NotReady, BOOT, at(5)), Verdict::Counts(count));
        assert_eq!(trial.deadline(BOOT), Some(at(125)));
        assert_eq!(trial.step(Ready, BOOT, at(60)), Verdict::Wait);
        assert_eq!(trial.deadline(BOOT), Some(at(70)));
        assert_eq!(trial.step(Ready, BOOT, at(69)), Verdict::Wait);
        assert_eq!(trial.step(Ready, BOOT, at(70)), Verdict::Final);
    }

    #[test]
    fn who_is_ready_in_between_only_goes_back() {
        let mut trial = trial();
        trial.step(NotReady, BOOT, at(0));
        for second in 1..12 {
            let ready = if second % 2 == 0 { Ready } else { NotReady };
            assert_eq!(trial.step(ready, BOOT, at(second * 9)), Verdict::Wait);
        }
        assert_eq!(trial.step(Ready, BOOT, at(119)), Verdict::Wait);
        assert_eq!(trial.step(Ready, BOOT, at(121)), Verdict::Wait, "it may still be steady");
        let back = Verdict::Back(Failure::NotReady(LIMIT));
        assert_eq!(trial.step(NotReady, BOOT, at(122)), back);
    }

    #[test]
    fn time_in_which_images_come_does_not_count() {
        let mut trial = trial();
        assert_eq!(trial.step(Fetching, BOOT, at(0)), Verdict::Wait);
        assert_eq!(trial.step(Fetching, BOOT, at(9000)), Verdict::Wait);
        assert_eq!(trial.deadline(BOOT), None);
        assert!(matches!(trial.step(NotReady, BOOT, at(9001)), Verdict::Counts(_)));
        // Each restart looks for its image again.
        assert_eq!(trial.step(Fetching, BOOT, at(9120)), Verdict::Wait);
        assert!(matches!(trial.step(Fetching, BOOT, at(9121)), Verdict::Back(_)));
    }

    #[test]
    fn a_pod_that_is_over_says_so_itself() {
        assert_eq!(trial().step(Over(Phase::Succeeded), BOOT, at(0)), Verdict::Final);
        assert_eq!(trial().step(Over(Phase::Failed), BOOT, at(0)), Verdict::Back(Failure::Ended));
    }

    #[test]
    fn a_new_agent_goes_on_counting_and_a_new_boot_begins_anew_a_few_times() {
        let mut trial = trial();
        let Verdict::Counts(count) = trial.step(NotReady, BOOT, at(100)) else { panic!() };
        let mut again = Trial::new(LIMIT, count);
        assert_eq!(again.step(NotReady, BOOT, at(119)), Verdict::Wait);
        assert_eq!(again.deadline(BOOT), Some(at(220)), "the time of the agent before counts");
        assert_eq!(again.step(NotReady, BOOT, at(219)), Verdict::Wait);
        let mut late = again.clone();
        assert!(matches!(again.step(NotReady, BOOT, at(220)), Verdict::Back(_)));
        for boot in [[2; 16], [3; 16]] {
            let Verdict::Counts(_) = late.step(NotReady, boot, at(400)) else { panic!() };
            assert_eq!(late.step(NotReady, boot, at(500)), Verdict::Wait);
        }
        let failed = Verdict::Back(Failure::Reboots);
        assert_eq!(late.clone().step(NotReady, [4; 16], at(1)), failed);
        // Who is ready at once is well.
        assert_eq!(late.step(Fetching, [4; 16], at(1)), Verdict::Wait);
    }

    #[test]
    fn a_new_agent_hears_the_probes_before_it_takes_anything_back() {
        let count = Count { boots: 1, boot: BOOT, since_ms: 100_000 };
        // The agent was replaced, and the time was over meanwhile.
        let mut trial = Trial::new(LIMIT, count);
        assert_eq!(trial.step(NotReady, BOOT, at(500)), Verdict::Wait);
        assert_eq!(trial.deadline(BOOT), Some(at(560)));
        let mut bad = trial.clone();
        assert_eq!(bad.step(NotReady, BOOT, at(559)), Verdict::Wait);
        assert!(matches!(bad.step(NotReady, BOOT, at(560)), Verdict::Back(_)));
        assert_eq!(trial.step(Ready, BOOT, at(505)), Verdict::Wait);
        assert_eq!(trial.step(Ready, BOOT, at(515)), Verdict::Final);
        let mut short = Trial::new(Duration::from_secs(10), count);
        assert_eq!(short.step(NotReady, BOOT, at(500)), Verdict::Wait);
        assert_eq!(short.deadline(BOOT), Some(at(510)), "no longer than it has in all");
    }

    #[test]
    fn what_is_final_stays_so_until_flash_heard_of_it() {
        let mut trial = trial();
        trial.step(Ready, BOOT, at(0));
        assert_eq!(trial.step(Ready, BOOT, at(10)), Verdict::Final);
        for progress in [NotReady, Over(Phase::Failed)] {
            assert_eq!(trial.step(progress, BOOT, at(900)), Verdict::Final);
        }
    }

    #[test]
    fn why_it_went_back_is_said() {
        let text = |failure: Failure| failure.message("container web: CrashLoopBackOff");
        let not_ready = "not ready after 2m0s: container web: CrashLoopBackOff";
        assert_eq!(text(Failure::NotReady(LIMIT)), not_ready);
        assert_eq!(text(Failure::Reboots), "the machine was rebooted 3 times meanwhile");
    }

    fn progress() -> impl Strategy<Value = Progress> {
        prop_oneof![Just(Fetching), Just(NotReady), Just(Ready)]
    }

    proptest! {
        /// Whatever happens, who is looked at when they ask for it, and whose images are had or not
        /// to be had, hears a last word within a bounded time; and who never was steady is not kept.
        #[test]
        fn every_trial_ends(said in proptest::collection::vec((progress(), 1_u32..40, 0_u8..12), 400)) {
            let (mut trial, mut now, mut boot) = (trial(), at(0), BOOT);
            let (mut ready_since, mut ran, mut end) = (None, Duration::ZERO, None);
            for (progress, seconds, crash) in said {
                let progress = if progress == Fetching && ran > Duration::ZERO { NotReady } else { progress };
                if crash == 0 {
                    // Another boot, and another agent.
                    boot[0] = boot[0].wrapping_add(1);
                    trial = Trial::new(LIMIT, trial.count);
                    now = at(seconds.into());
                    ready_since = None;
                } else {
                    now = now.after(Duration::from_secs(seconds.into()));
                }
                ready_since = if progress == Ready { ready_since.or(Some(now)) } else { None };
                let verdict = trial.step(progress, boot, now);
                ran += Duration::from_secs(if progress == Fetching { 0 } else { seconds.into() });
                match verdict {
                    Verdict::Final => {
                        prop_assert!(ready_since.is_some_and(|since: Moment| now.since(since) >= STEADY));
                        end = Some(());
                    }
                    Verdict::Back(Failure::NotReady(_)) => {
                        prop_assert!(progress != Ready);
                        end = Some(());
                    }
                    Verdict::Back(_) => end = Some(()),
                    Verdict::Wait | Verdict::Counts(_) => {}
                }
                if end.is_some() {
                    break;
                }
                let bound = (LIMIT + STEADY + Duration::from_secs(80)) * u32::from(MOST_BOOTS + 1);
                prop_assert!(ran <= bound, "{ran:?}");
            }
            prop_assert!(end.is_some());
        }
    }
}
