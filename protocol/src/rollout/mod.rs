//! How a change of a pod is rolled out: what its annotations ask for.
//!
//! | annotation | what it asks for |
//! |---|---|
//! | [`ROLLBACK_AFTER`] | who is not ready within this time goes back to what was before |
//! | [`UPDATE_WINDOW`] | changes are made at these times of the week only (UTC) |
//! | [`UPDATE_LOCK`] | changes wait while this lock of the node is held |
//! | [`DELAY_LIMIT`] | how long the two may hold a change up |

use alloc::collections::BTreeMap;
use alloc::string::String;
use core::ops::RangeInclusive;
use core::time::Duration;

use crate::duration;

mod lock;
mod window;

pub use lock::LockName;
use lock::MAX_LOCK;
use window::MAX_WINDOWS;
pub use window::Windows;

/// Who is not ready within this time goes back to what was before.
pub const ROLLBACK_AFTER: &str = "mote/rollback-after";
/// Changes are made at these times of the week only.
pub const UPDATE_WINDOW: &str = "mote/update-window";
/// Changes wait while this lock is held.
pub const UPDATE_LOCK: &str = "mote/update-lock";
/// How long a window or a lock may hold a change up.
pub const DELAY_LIMIT: &str = "mote/update-delay-limit";

const KNOWN: [&str; 4] = [ROLLBACK_AFTER, UPDATE_WINDOW, UPDATE_LOCK, DELAY_LIMIT];

/// Reason of a refusal: the revision was tried, and the one before runs again.
pub const ROLLED_BACK: &str = "RolledBack";
/// Reason of a refusal: the revision is on flash, and waits for its window or its lock.
pub const DELAYED: &str = "UpdateDelayed";

/// Annotations that begin so mean something to mote, or will.
const OURS: &str = "mote/";

/// A pod needs a moment to start, and who waits for a day may as well look.
const ROLLBACK: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(24);

/// Less would be over before anybody looks, more is longer than a device lies in a drawer.
const LIMIT: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(30 * 24);

/// A lock is held while a device is in use: by a day later somebody forgot it.
const LOCK_LIMIT: Duration = Duration::from_hours(24);

/// Every window comes within a week; if it did not, the clock is wrong.
const WINDOW_LIMIT: Duration = Duration::from_hours(7 * 24);

/// What may hold a change up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// The times at which it may be made.
    pub window: Option<Windows>,
    /// The lock that must be free.
    pub lock: Option<LockName>,
    /// After this time it is made all the same.
    pub limit: Duration,
}

/// Why an annotation cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RolloutError {
    /// It is no duration.
    #[error("must be a duration like 90s, 2m or 1h30m")]
    Duration,
    /// It is out of its bounds.
    #[error("must be between {least} and {most}")]
    Bounds {
        /// The shortest.
        least: &'static str,
        /// The longest.
        most: &'static str,
    },
    /// It is no list of windows.
    #[error(
        "must be a list like `Mon-Fri 02:00-04:00, Sun 22:00-06:00` (UTC), at most {MAX_WINDOWS}"
    )]
    Windows,
    /// It is no name of a lock.
    #[error(
        "must have 1 to {MAX_LOCK} letters, digits, `-`, `_` or `.`, and begin with a letter or digit"
    )]
    Lock,
    /// Nothing is delayed that it could limit.
    #[error("says nothing without `{UPDATE_WINDOW}` or `{UPDATE_LOCK}`")]
    NoDelay,
}

/// An annotation that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub annotation: &'static str,
    /// Why.
    pub error: RolloutError,
}

impl Fault {
    /// Its path, as an operator would write it.
    pub fn field(&self) -> String {
        field(self.annotation)
    }
}

/// The path of an annotation, as an operator would write it.
pub fn field(annotation: &str) -> String {
    alloc::format!("metadata.annotations[{annotation}]")
}

/// Time after which a change that is not ready is taken back, where these annotations ask for that.
pub fn rollback_after(annotations: &BTreeMap<String, String>) -> Result<Option<Duration>, Fault> {
    let bounds = RolloutError::Bounds { least: "10s", most: "24h" };
    read(annotations, ROLLBACK_AFTER, |text| within(text, &ROLLBACK, bounds))
}

/// What may hold a change up, where these annotations ask for that.
pub fn delay(annotations: &BTreeMap<String, String>) -> Result<Option<Delay>, Fault> {
    let window = read(annotations, UPDATE_WINDOW, Windows::parse)?;
    let lock = read(annotations, UPDATE_LOCK, LockName::new)?;
    let bounds = RolloutError::Bounds { least: "1m", most: "720h" };
    let limit = read(annotations, DELAY_LIMIT, |text| within(text, &LIMIT, bounds))?;
    match (&window, &lock, limit) {
        (None, None, None) => return Ok(None),
        (None, None, Some(_)) => {
            return Err(Fault { annotation: DELAY_LIMIT, error: RolloutError::NoDelay });
        }
        _ => {}
    }
    let usual = if window.is_some() { WINDOW_LIMIT } else { LOCK_LIMIT };
    Ok(Some(Delay { window, lock, limit: limit.unwrap_or(usual) }))
}

fn read<T>(
    annotations: &BTreeMap<String, String>,
    annotation: &'static str,
    parse: impl Fn(&str) -> Result<T, RolloutError>,
) -> Result<Option<T>, Fault> {
    let parsed = annotations.get(annotation).map(|text| parse(text.trim())).transpose();
    parsed.map_err(|error| Fault { annotation, error })
}

fn within(
    text: &str,
    bounds: &RangeInclusive<Duration>,
    outside: RolloutError,
) -> Result<Duration, RolloutError> {
    let found = duration::parse(text).ok_or(RolloutError::Duration)?;
    if bounds.contains(&found) { Ok(found) } else { Err(outside) }
}

/// Annotations of ours that this version does not know.
pub fn unknown(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let names = annotations.keys().map(String::as_str);
    names.filter(|name| name.starts_with(OURS) && !KNOWN.contains(name))
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nothing_asks_for_nothing() {
        let annotations = annotations(&[("a", "b")]);
        assert_eq!(rollback_after(&annotations), Ok(None));
        assert_eq!(delay(&annotations), Ok(None));
    }

    #[test]
    fn the_time_is_bounded() {
        let after = |text| rollback_after(&annotations(&[(ROLLBACK_AFTER, text)]));
        for (text, seconds) in [("10s", 10), (" 2m ", 120), ("1h30m0s", 5400), ("24h", 86400)] {
            assert_eq!(after(text), Ok(Some(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["", "soon", "2"] {
            let fault = after(text).unwrap_err();
            assert_eq!(fault.error, RolloutError::Duration, "{text}");
        }
        for text in ["9s", "24h1ms", "0s"] {
            let fault = after(text).unwrap_err();
            assert_eq!(fault.field(), "metadata.annotations[mote/rollback-after]");
            assert_eq!(fault.error.to_string(), "must be between 10s and 24h");
        }
    }

    #[test]
    fn a_limit_belongs_to_what_it_limits() {
        let limit = |pairs: &[_]| delay(&annotations(pairs)).map(|asked| asked.unwrap().limit);
        let lock = (UPDATE_LOCK, "printing");
        let window = (UPDATE_WINDOW, "02:00-04:00");
        assert_eq!(limit(&[lock]), Ok(LOCK_LIMIT));
        assert_eq!(limit(&[lock, window]), Ok(WINDOW_LIMIT));
        assert_eq!(limit(&[lock, (DELAY_LIMIT, "90m")]), Ok(Duration::from_mins(90)));
        let fault = limit(&[(DELAY_LIMIT, "90m")]).unwrap_err();
        assert_eq!((fault.annotation, fault.error), (DELAY_LIMIT, RolloutError::NoDelay));
        let fault = limit(&[lock, (DELAY_LIMIT, "59s")]).unwrap_err();
        assert_eq!(fault.error.to_string(), "must be between 1m and 720h");
    }

    #[test]
    fn annotations_of_ours_that_are_not_known_are_named() {
        let asked = annotations(&[("mote/x", ""), (ROLLBACK_AFTER, "2m"), ("other/mote", "")]);
        assert_eq!(unknown(&asked).collect::<Vec<_>>(), ["mote/x"]);
    }
}
