//! Durations as Go writes them.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a duration as 90, 90s, 1m30s, 500ms or 2h")]
pub struct DurationError;

/// Reads a duration as Go writes it; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    mote_protocol::duration::parse(text).ok_or(DurationError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [
            ("5", 5000),
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("2h", 7_200_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5x", "-5s", "1.5s", "5s5", "99999999999s"] {
            assert_eq!(duration(text), Err(DurationError), "{text}");
        }
    }
}
