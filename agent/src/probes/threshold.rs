//! Makes results of attempts: so many equal ones in a row decide.

use crate::handler::Outcome;
use crate::pod::handler::ProbeKind;

/// Counts the attempts of one probe of one attempt of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    success: u32,
    failure: u32,
    /// What counts now; a startup probe begins undecided.
    result: Option<bool>,
    /// The last attempt, and how many in a row ended like it.
    run: Option<(bool, u32)>,
}

impl Threshold {
    /// Before the first attempt: alive, not ready, and neither started nor failed to.
    pub const fn new(kind: ProbeKind, success: u32, failure: u32) -> Self {
        let result = match kind {
            ProbeKind::Startup => None,
            ProbeKind::Liveness => Some(true),
            ProbeKind::Readiness => Some(false),
        };
        Self { success, failure, result, run: None }
    }

    /// Counts an attempt; gives the result where this attempt changed it. An attempt that could
    /// not be made counts neither way, and does not break a row.
    pub fn count(&mut self, outcome: &Outcome) -> Option<bool> {
        let success = match outcome {
            Outcome::Success | Outcome::Warning(_) => true,
            Outcome::Failure(_) => false,
            Outcome::Errored(_) => return None,
        };
        let before = self.run.filter(|(last, _)| *last == success).map_or(0, |(_, count)| count);
        let count = before.saturating_add(1);
        self.run = Some((success, count));
        let needed = if success { self.success } else { self.failure };
        if count < needed || self.result == Some(success) {
            return None;
        }
        self.result = Some(success);
        self.result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The result after a whole history, by looking back from each attempt.
    fn naive(kind: ProbeKind, success: u32, failure: u32, history: &[Outcome]) -> Option<bool> {
        let counted: Vec<bool> = history
            .iter()
            .filter(|outcome| !matches!(outcome, Outcome::Errored(_)))
            .map(|outcome| !matches!(outcome, Outcome::Failure(_)))
            .collect();
        let mut result = match kind {
            ProbeKind::Startup => None,
            ProbeKind::Liveness => Some(true),
            ProbeKind::Readiness => Some(false),
        };
        for end in 1..=counted.len() {
            let last = counted[end - 1];
            let row = counted[..end].iter().rev().take_while(|other| **other == last).count();
            if row >= (if last { success } else { failure }) as usize {
                result = Some(last);
            }
        }
        result
    }

    fn agrees(kind: ProbeKind, success: u32, failure: u32, history: &[Outcome]) {
        let mut threshold = Threshold::new(kind, success, failure);
        let mut before = naive(kind, success, failure, &[]);
        for end in 1..=history.len() {
            let after = naive(kind, success, failure, &history[..end]);
            let told = threshold.count(&history[end - 1]);
            let expected = after.filter(|_| after != before);
            assert_eq!(told, expected, "{kind} {success} {failure}: {:?}", &history[..end]);
            before = after;
        }
    }

    fn outcomes() -> [Outcome; 4] {
        [
            Outcome::Success,
            Outcome::Warning(String::new()),
            Outcome::Failure(String::new()),
            Outcome::Errored(String::new()),
        ]
    }

    #[test]
    fn every_short_history_is_counted_like_the_model() {
        const LENGTH: u32 = 6;
        let mut histories = 0;
        for number in 0..4_usize.pow(LENGTH) {
            let outcome = |place| outcomes()[number / 4_usize.pow(place) % 4].clone();
            let history: Vec<Outcome> = (0..LENGTH).map(outcome).collect();
            for kind in ProbeKind::ALL {
                for (success, failure) in (1..=3).flat_map(|s| (1..=3).map(move |f| (s, f))) {
                    agrees(kind, success, failure, &history);
                    histories += 1;
                }
            }
        }
        assert!(histories >= 100_000, "{histories}");
    }

    proptest! {
        #[test]
        fn every_long_history_is_counted_like_the_model(
            places in proptest::collection::vec(0_usize..4, 0..40),
            success in 1_u32..8,
            failure in 1_u32..8,
        ) {
            let history: Vec<Outcome> = places.iter().map(|i| outcomes()[*i].clone()).collect();
            for kind in ProbeKind::ALL {
                agrees(kind, success, failure, &history);
            }
        }
    }
}
