//! Durations as Go writes them, and so as people of Kubernetes do.

use core::time::Duration;

/// Longest text: what is longer is no duration.
const MAX: usize = 32;

/// Reads a duration like `90s`, `2m` or `1h30m`, in whole units down to milliseconds; none where it is
/// none (`time.ParseDuration` of Go, without fractions and signs).
pub fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() || text.len() > MAX {
        return None;
    }
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number.parse().ok()?)?)?;
        rest = behind;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, millis) in
            [("90s", 90_000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        let long = "1s".repeat(20);
        for text in ["", "2", "m", "5x", "-2m", "2 m", "2d", "5s5", "99999999999h", "1.5h", &long] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
