//! How often something may be done: a bucket of tokens.

use std::time::Duration;

use crate::pod::Moment;

#[derive(Debug)]
pub(super) struct Allowance {
    /// Tokens of a full bucket, after the first.
    more: i64,
    refill_ms: i64,
    /// The bucket is full at this instant, and one refill later for each token that is missing.
    full: Moment,
}

impl Allowance {
    /// As many at once after a quiet time, and then one for each `refill`.
    pub(super) fn new(burst: u32, refill: Duration) -> Self {
        let refill_ms = i64::try_from(refill.as_millis()).unwrap_or(i64::MAX);
        Self { more: i64::from(burst) - 1, refill_ms, full: Moment(i64::MIN / 2) }
    }

    /// Takes a token where there is one.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        if self.next() > now {
            return false;
        }
        self.full = Moment(self.full.0.max(now.0).saturating_add(self.refill_ms));
        true
    }

    /// When the next token is there; in the past where it already is.
    pub(super) const fn next(&self) -> Moment {
        Moment(self.full.0.saturating_sub(self.more.saturating_mul(self.refill_ms)))
    }
}
