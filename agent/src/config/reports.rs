//! `[reports]`: what the node tells regularly beside its state.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mote_protocol::duration;

use super::section::Section;
use crate::usage::Reports;

/// Shortest time between two reports of what is used: who wants to see more asks.
const SHORTEST: Duration = Duration::from_secs(10);

/// Longest.
const LONGEST: Duration = Duration::from_hours(24);

/// Fewest bytes of a day: a report or two.
const FEWEST_BYTES: u64 = 1024;

/// Most.
const MOST_BYTES: u64 = 1 << 30;

pub(super) fn read(section: &mut Section<'_, '_>) -> Reports {
    let default = Reports::default();
    let usage = section.text("usage");
    let usage = section.parse::<Cadence>(usage).map_or(default.usage, |cadence| cadence.0);
    let bytes = FEWEST_BYTES..=MOST_BYTES;
    let bytes_per_day = section.integer("usage_bytes_per_day", bytes, default.bytes_per_day);
    Reports { usage, bytes_per_day }
}

/// Time between two reports; none for `off`.
struct Cadence(Option<Duration>);

impl FromStr for Cadence {
    type Err = CadenceError;

    fn from_str(text: &str) -> Result<Self, CadenceError> {
        if text == "off" {
            return Ok(Self(None));
        }
        let every = duration::parse(text).filter(|every| (SHORTEST..=LONGEST).contains(every));
        every.map(|every| Self(Some(every))).ok_or(CadenceError)
    }
}

struct CadenceError;

impl fmt::Display for CadenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a duration from 10s to 24h like 5m, or off")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cadence_is_a_duration_within_bounds_or_none() {
        let read = |text: &str| text.parse::<Cadence>().ok().map(|cadence| cadence.0);
        assert_eq!(read("5m"), Some(Some(Duration::from_mins(5))));
        assert_eq!(read("off"), Some(None));
        for wrong in ["", "0s", "9s", "25h", "5", "never"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
