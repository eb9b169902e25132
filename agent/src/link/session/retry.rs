//! How long to wait before the next connection.
//!
//! Exponential with full jitter: a fleet that lost its broker must not come back in one wave. So the
//! first try after a connection was lost has its pause as well, of two seconds at most: a broker that
//! restarted meets a thousand nodes over two seconds, and those that it could not serve over twice as
//! long each time. A connection that the broker ended soon after it accepted it is a failure like any
//! other.
//!
//! The first try of a start has none. Boards that get power together are spread by their cards and
//! kernels over many seconds, whoever restarts one agent waits for it, and what fails of it is
//! followed by a pause.

use std::time::Duration;

/// A connection that lived this long was a success: the next failure counts as the first.
const STABLE: Duration = Duration::from_mins(1);

/// Why a connection ended or did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The network, the broker's restart, a timeout: may be over in a second.
    Lost,
    /// The broker, or TLS, will not have us; a file of ours is missing: a person has to mend
    /// something.
    Refused,
    /// Another board connected under our client id. Whoever comes back at once throws it out, and
    /// is thrown out in turn.
    TakenOver,
}

impl Ending {
    /// Upper bound of the first pause and of all.
    const fn bounds(self) -> (Duration, Duration) {
        match self {
            Self::Lost => (Duration::from_secs(2), Duration::from_mins(5)),
            Self::Refused => (Duration::from_secs(30), Duration::from_mins(30)),
            Self::TakenOver => (Duration::from_mins(10), Duration::from_hours(1)),
        }
    }
}

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
}

impl Retry {
    /// The pause after a connection that `lived` so long and ended so.
    pub(super) fn pause(&mut self, ending: Ending, lived: Duration, random: u64) -> Duration {
        if lived >= STABLE {
            self.failures = 0;
        }
        let (first, longest) = ending.bounds();
        let doubled = first.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let bound = doubled.min(longest);
        match ending {
            Ending::Lost => fraction(bound, random),
            // Full jitter may mean at once, which helps nobody here.
            Ending::Refused | Ending::TakenOver => bound / 2 + fraction(bound / 2, random),
        }
    }
}

/// A random part of a duration: 0 up to all of it.
fn fraction(whole: Duration, random: u64) -> Duration {
    let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % millis.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The largest random number gives the longest pause of any jitter.
    fn longest(retry: &mut Retry, ending: Ending, lived: Duration) -> Duration {
        let mut probe = Retry { failures: retry.failures };
        let pauses = (0..2000).map(|step| {
            probe.failures = retry.failures;
            probe.pause(ending, lived, step * 7919)
        });
        let longest = pauses.max().expect("some");
        retry.pause(ending, lived, 0);
        longest
    }

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let mut retry = Retry::default();
        let mut before = Duration::ZERO;
        for _ in 0..7 {
            let pause = longest(&mut retry, Ending::Lost, Duration::ZERO);
            assert!(pause > before && pause <= Duration::from_mins(5), "{pause:?}");
            before = pause;
        }
    }

    #[test]
    fn being_thrown_out_at_once_is_a_failure_and_a_long_life_is_none() {
        let mut retry = Retry::default();
        for _ in 0..5 {
            retry.pause(Ending::Lost, Duration::from_secs(3), 0);
        }
        assert_eq!(retry.failures, 5);
        retry.pause(Ending::Lost, STABLE, 0);
        assert_eq!(retry.failures, 1);
    }

    /// Tries of a thousand nodes whose broker goes away, and accepts them again after `dark`, in
    /// each tenth of a second from then on. It serves so many in one, and throws out the others.
    fn storm(dark: Duration, serves: usize) -> Vec<usize> {
        let mut random = 1_u64;
        let mut draw = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 20
        };
        let mut nodes: Vec<_> = (0..1000)
            .map(|_| {
                let mut retry = Retry::default();
                (retry.pause(Ending::Lost, Duration::from_hours(1), draw()), retry)
            })
            .collect();
        let mut tries = Vec::new();
        let tenth = Duration::from_millis(100);
        for number in 0..3000_u32 {
            let end = tenth * (number + 1);
            let (mut tried, mut left) = (0, Vec::new());
            for (mut at, mut retry) in nodes {
                let mut served = false;
                while at < end && !served {
                    let is_there = at >= dark;
                    tried += usize::from(is_there);
                    served = is_there && tried <= serves;
                    at += retry.pause(Ending::Lost, Duration::ZERO, draw());
                }
                left.extend((!served).then_some((at, retry)));
            }
            nodes = left;
            tries.push(tried);
        }
        assert!(nodes.is_empty(), "all are back after five minutes");
        tries
    }

    #[test]
    fn a_broker_that_restarts_meets_no_wave() {
        for dark in [0, 1, 10, 60] {
            let tries = storm(Duration::from_secs(dark), 20);
            let most = tries.iter().max().expect("some");
            assert!(*most <= 100, "{most} of 1000 in a tenth of a second, after {dark} s");
        }
    }

    proptest! {
        #[test]
        fn every_pause_is_within_its_bounds(
            ending in prop_oneof![
                Just(Ending::Lost), Just(Ending::Refused), Just(Ending::TakenOver)
            ],
            failures in any::<u32>(), lived in 0u64..120, random in any::<u64>(),
        ) {
            let mut retry = Retry { failures };
            let pause = retry.pause(ending, Duration::from_secs(lived), random);
            let (first, longest) = ending.bounds();
            prop_assert!(pause <= longest);
            if ending != Ending::Lost {
                prop_assert!(pause >= first / 2);
            }
        }
    }
}
