//! Whether the clock can be right.

use std::path::Path;
use std::time::SystemTime;

use mote_protocol::doctor::Finding;
use serde::{Deserialize, Serialize};

use crate::daytime::{shown_time, unix_s};
use crate::pod::WRITTEN_S;
use crate::sys::clock;

/// What a file may be ahead of the clock: zones, and machines that copied it.
const TOLERATED_S: i64 = 24 * 60 * 60;

/// What to do about a clock.
const REMEDY: &str = "let time be kept: `timedatectl set-ntp true`, or chrony; a board that is \
                      offline wants a clock with a battery (RTC), or `date -s` by hand";

/// What was seen of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clock {
    /// What it shows, in Unix seconds.
    pub(super) now: i64,
    /// Somebody keeps it right; unknown where the kernel does not say.
    pub(super) synchronized: Option<bool>,
    /// What is there, and since when at the least.
    pub(super) older: Vec<(String, i64)>,
}

impl Clock {
    /// Reads it, and the times of files that are there.
    pub(super) fn read(files: &[(&str, &Path)]) -> Self {
        let time = |path: &Path| Some(unix_s(path.metadata().ok()?.modified().ok()?));
        let older = files.iter().filter_map(|(what, path)| Some(((*what).to_owned(), time(path)?)));
        Self {
            now: unix_s(SystemTime::now()),
            synchronized: clock::is_synchronized().ok(),
            older: older.collect(),
        }
    }

    pub(super) fn judge(&self, found: &mut Vec<Finding>) {
        let newest = self.older.iter().max_by_key(|(_, at)| *at);
        let later = newest.filter(|(_, at)| *at > self.now.saturating_add(TOLERATED_S));
        let is = shown_time(self.now);
        if let Some((what, at)) = later {
            let message = format!("the clock shows {is}, but {what} is of {}", shown_time(*at));
            found.push(Finding::problem("ClockWrong", &message, REMEDY));
        } else if self.now < WRITTEN_S {
            let message =
                format!("the clock shows {is}, which was before this program was written");
            found.push(Finding::problem("ClockWrong", &message, REMEDY));
        } else if self.synchronized == Some(false) {
            let message = format!("nobody keeps the clock right; it shows {is}");
            found.push(Finding::hint("ClockNotSynchronized", &message, REMEDY));
        }
    }
}
