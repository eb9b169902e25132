//! Spans of time, the way kubectl writes them.

/// `45s`, `3m20s`, `5h`, `12d`: two units while small, one when it no longer matters.
pub(super) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (seconds, seconds % 60, minutes % 60, hours % 24) {
        (0..120, ..) => format!("{seconds}s"),
        (120..600, 1.., ..) => format!("{minutes}m{}s", seconds % 60),
        (120..10_800, ..) => format!("{minutes}m"),
        (10_800..28_800, _, 1.., _) => format!("{hours}h{}m", minutes % 60),
        (10_800..172_800, ..) => format!("{hours}h"),
        (172_800..691_200, _, _, 1..) => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, shown) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (200, "3m20s"),
            (600, "10m"),
            (10_800, "3h"),
            (11_000, "3h3m"),
            (100_000, "27h"),
            (180_000, "2d2h"),
            (1_000_000, "11d"),
        ] {
            assert_eq!(age(seconds), shown);
        }
    }
}
