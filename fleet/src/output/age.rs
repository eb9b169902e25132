//! Times as kubectl shows them: how long ago, in at most two units.

/// The span between two moments in seconds: `5s`, `3m20s`, `7h5m`, `2d3h`, `400d`, `3y12d`.
pub fn format_span(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 192 {
        two(days, "d", hours % 24, "h")
    } else if days < 730 {
        format!("{days}d")
    } else if days < 2920 {
        two(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

fn two(great: i64, great_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 {
        format!("{great}{great_unit}")
    } else {
        format!("{great}{great_unit}{small}{small_unit}")
    }
}

/// How long ago a moment was; `<unknown>` where nobody knows it.
pub fn format_age(at: Option<i64>, now: i64) -> String {
    at.map_or_else(|| "<unknown>".into(), |at| format_span(now - at))
}

/// A moment as Kubernetes writes it in objects: RFC 3339, UTC, whole seconds.
pub fn format_moment(unix: i64) -> Option<String> {
    jiff::Timestamp::from_second(unix).ok().map(|moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_kubectls() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (179 * 60, "179m"),
            (3 * 3600, "3h"),
            (7 * 3600 + 300, "7h5m"),
            (8 * 3600 + 300, "8h"),
            (47 * 3600, "47h"),
            (51 * 3600, "2d3h"),
            (8 * 86400, "8d"),
            (400 * 86400, "400d"),
            (1107 * 86400, "3y12d"),
            (8 * 365 * 86400, "8y"),
        ] {
            assert_eq!(format_span(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(format_moment(1_700_000_000).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(format_moment(i64::MAX), None);
    }
}
