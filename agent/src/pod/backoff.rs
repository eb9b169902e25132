//! How long something that failed waits before it is tried again.

use std::time::Duration;

use super::Moment;

/// First pause. Ten seconds, as in Kubernetes: a database that is still starting is there by then.
pub const FIRST: Duration = Duration::from_secs(10);

/// Longest pause. Five minutes, as in Kubernetes: a broken image costs nothing, and a person who
/// fixed the cause does not wait for a coffee.
pub const LONGEST: Duration = Duration::from_mins(5);

/// What ran longer than this after its start begins anew: it worked, and something else happened.
pub const RESET: Duration = Duration::from_mins(10);

/// The pauses between restarts of one container, counted from its end.
///
/// The first restart is immediate; each later one waits twice as long as the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrashBackoff {
    last: Option<LastRestart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastRestart {
    pause: Duration,
    at: Moment,
}

impl CrashBackoff {
    /// When a container that ended at `finished` may start again, and after which pause; none
    /// where it may at once.
    pub fn hold(&self, finished: Moment) -> Option<(Moment, Duration)> {
        let last = self.last.filter(|last| finished.since(last.at) <= RESET)?;
        Some((finished.after(last.pause), last.pause))
    }

    /// Notes that a container which had ended at `finished` was started again.
    pub fn restarted(&mut self, finished: Moment, now: Moment) {
        let pause = match self.last {
            Some(last) if finished.since(last.at) <= RESET => (last.pause * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(LastRestart { pause, at: now });
    }

    /// The state to keep across a restart of the agent: the last pause, and the last restart.
    pub fn save(&self) -> Option<(Duration, Moment)> {
        self.last.map(|last| (last.pause, last.at))
    }

    /// The state that was kept.
    pub fn restore(saved: Option<(Duration, Moment)>) -> Self {
        let last = saved.map(|(pause, at)| LastRestart { pause: pause.clamp(FIRST, LONGEST), at });
        Self { last }
    }
}

/// The pauses between attempts that never got as far as a running process: pulls, creations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TroubleBackoff {
    last: Option<LastRestart>,
    again: bool,
}

impl TroubleBackoff {
    /// Notes a failure; says when to try again, and after which pause.
    pub fn failed(&mut self, now: Moment) -> (Moment, Duration) {
        let pause = match self.last {
            Some(last) if now.since(last.at) <= RESET => (last.pause * 2).min(LONGEST),
            _ => FIRST,
        };
        self.again = self.last.is_some();
        self.last = Some(LastRestart { pause, at: now });
        (now.after(pause), pause)
    }

    /// Whether anything failed since the last success.
    pub const fn is_clear(&self) -> bool {
        self.last.is_none()
    }

    /// Whether it failed more than once: nobody knows whether it ever will succeed.
    pub const fn failed_again(&self) -> bool {
        self.again
    }

    /// Notes a success, or something that comes near one.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A pause as the kubelet's messages write it: `10s`, `1m20s`, `5m0s`.
pub fn written(pause: Duration) -> String {
    let (hours, minutes) = (pause.as_secs() / 3600, pause.as_secs() / 60 % 60);
    match (hours, minutes, pause.as_secs() % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> Moment {
        Moment(seconds * 1000)
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_begin_with_none() {
        let mut backoff = CrashBackoff::default();
        let (mut now, mut pauses) = (seconds(0), Vec::new());
        for _ in 0..8 {
            let finished = now.after(Duration::from_secs(1));
            let (ready, pause) = backoff.hold(finished).unwrap_or((finished, Duration::ZERO));
            pauses.push(pause.as_secs());
            backoff.restarted(finished, ready);
            now = ready;
        }
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_long_run_begins_anew() {
        let mut backoff = CrashBackoff::default();
        backoff.restarted(seconds(0), seconds(0));
        assert!(backoff.hold(seconds(600)).is_some());
        assert!(backoff.hold(seconds(601)).is_none());
        backoff.restarted(seconds(601), seconds(601));
        assert_eq!(backoff.hold(seconds(602)), Some((seconds(612), FIRST)));
    }

    #[test]
    fn trouble_is_lasting_from_its_second_failure_on_and_until_a_success() {
        let mut trouble = TroubleBackoff::default();
        let said = |trouble: &TroubleBackoff| (trouble.is_clear(), trouble.failed_again());
        assert_eq!(said(&trouble), (true, false));
        trouble.failed(seconds(0));
        assert_eq!(said(&trouble), (false, false));
        trouble.failed(seconds(900));
        assert_eq!(said(&trouble), (false, true), "however long each took");
        trouble.clear();
        trouble.failed(seconds(901));
        assert_eq!(said(&trouble), (false, false));
    }

    #[test]
    fn what_is_kept_survives_a_new_agent() {
        let mut backoff = CrashBackoff::default();
        backoff.restarted(seconds(5), seconds(5));
        assert_eq!(CrashBackoff::restore(backoff.save()), backoff);
        let forged = CrashBackoff::restore(Some((Duration::MAX, seconds(5))));
        assert_eq!(forged.hold(seconds(6)), Some((seconds(306), LONGEST)));
    }

    #[test]
    fn pauses_read_like_the_kubelets() {
        let text = |s| written(Duration::from_secs(s));
        assert_eq!([text(10), text(80), text(300)], ["10s", "1m20s", "5m0s"]);
    }
}
