//! How often something may be done: a bucket of tokens.

use crate::pod::Moment;

/// Events told at once after a quiet time: one rollout of a few pods goes out whole.
pub(super) const BURST: u32 = 50;

/// Milliseconds until one more may be told: a storm that lasts costs 12 messages a minute.
const REFILL_MS: i64 = 5_000;

#[derive(Debug)]
pub(super) struct Allowance {
    /// The bucket is full at this instant, and `REFILL_MS` later for each token that is missing.
    full: Moment,
}

impl Allowance {
    pub(super) const fn new() -> Self {
        Self { full: Moment(i64::MIN / 2) }
    }

    /// Takes a token where there is one.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        if self.next() > now {
            return false;
        }
        self.full = Moment(self.full.0.max(now.0) + REFILL_MS);
        true
    }

    /// When the next token is there; in the past where it already is.
    pub(super) const fn next(&self) -> Moment {
        Moment(self.full.0 - (BURST as i64 - 1) * REFILL_MS)
    }
}
