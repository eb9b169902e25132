//! Instants as text, the way container logs want them.

const SECONDS_PER_DAY: u64 = 86_400;

/// Length of a [`Stamp`].
pub const STAMP_LEN: usize = 30;

/// `2026-11-23T18:04:05.000000001Z`: RFC 3339 with always nine digits.
pub type Stamp = [u8; STAMP_LEN];

/// Writes the instant `real_ns` nanoseconds after 1970 began, in UTC.
pub fn stamp(real_ns: u64) -> Stamp {
    let (seconds, nanos) = (real_ns / 1_000_000_000, real_ns % 1_000_000_000);
    let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
    let second = seconds % SECONDS_PER_DAY;
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    digits(&mut text, 0..4, year);
    digits(&mut text, 5..7, month);
    digits(&mut text, 8..10, day);
    digits(&mut text, 11..13, second / 3600);
    digits(&mut text, 14..16, second / 60 % 60);
    digits(&mut text, 17..19, second % 60);
    digits(&mut text, 20..29, nanos);
    text
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Counts in years that begin in March, so that the leap day comes last and the lengths of the
/// months repeat every five (the algorithm is Howard Hinnant's `civil_from_days`).
fn civil(day: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    let day = day + 719_468;
    let (era, day) = (day / DAYS_PER_ERA, day % DAYS_PER_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day + 2) / 153;
    let day = day - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Writes `value` in decimal, filling the range from its end.
fn digits(text: &mut Stamp, range: core::ops::Range<usize>, mut value: u64) {
    for digit in text.get_mut(range).unwrap_or_default().iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(real_ns: u64) -> String {
        String::from_utf8(stamp(real_ns).to_vec()).expect("ascii")
    }

    #[test]
    fn known_instants() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_399_999_999_999), "2000-02-28T23:59:59.999999999Z");
        assert_eq!(text(951_782_400_000_000_000), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(text(1_696_551_429_669_794_202), "2023-10-06T00:17:09.669794202Z");
        assert_eq!(text(4_107_542_400_000_000_001), "2100-03-01T00:00:00.000000001Z");
        assert_eq!(text(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }

    proptest! {
        #[test]
        fn later_instants_are_greater_text(a: u64, b: u64) {
            prop_assert_eq!(a.cmp(&b), stamp(a).cmp(&stamp(b)));
        }
    }
}
