//! Times of the week at which a change may be made.

use alloc::string::String;

use super::RolloutError;

/// Longest list of windows: what is longer is no plan of a week.
pub(super) const MAX_WINDOWS: usize = 16;

const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The day of the week on which Unix time began: a Thursday.
const FIRST_DAY: u32 = 3;

/// Times of the week, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    windows: heapless::Vec<Window, MAX_WINDOWS>,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    /// Bit n is day n from Monday on which it opens.
    days: u8,
    /// Minutes after midnight.
    opens: u32,
    /// Minutes that it is open: it may reach into the next day.
    minutes: u32,
}

impl Windows {
    /// Reads a list of windows.
    pub fn parse(text: &str) -> Result<Self, RolloutError> {
        let mut windows = heapless::Vec::new();
        for part in text.split(',') {
            let window = Window::parse(part.trim()).ok_or(RolloutError::Windows)?;
            windows.push(window).map_err(|_| RolloutError::Windows)?;
        }
        Ok(Self { windows, text: text.into() })
    }

    /// The list as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Seconds until one is open; zero where one is.
    pub fn opens_in(&self, unix_s: i64) -> u32 {
        let of_week = (unix_s + i64::from(FIRST_DAY * DAY * 60)).rem_euclid(i64::from(WEEK * 60));
        let now = u32::try_from(of_week).unwrap_or_default();
        let waits = self.windows.iter().map(|window| window.opens_in(now));
        waits.min().unwrap_or_default()
    }
}

impl Window {
    fn parse(text: &str) -> Option<Self> {
        let (days, times) = match text.split_once(char::is_whitespace) {
            Some((days, times)) => (days_of(days)?, times.trim()),
            None => (0x7f, text),
        };
        let (from, to) = times.split_once('-')?;
        let (opens, closes) = (minute(from)?, minute(to)?);
        let whole = (closes + DAY - opens) % DAY;
        let minutes = if (opens, closes) == (0, DAY) { DAY } else { whole };
        (opens < DAY && minutes > 0).then_some(Self { days, opens, minutes })
    }

    fn opens_in(&self, now: u32) -> u32 {
        let week = WEEK * 60;
        let days = (0..7).filter(|day| self.days >> day & 1 == 1);
        let wait = days.map(|day| {
            let opens = (day * DAY + self.opens) * 60;
            let since = (now + week - opens) % week;
            if since < self.minutes * 60 { 0 } else { week - since }
        });
        wait.min().unwrap_or(week)
    }
}

/// The bits of `Mon`, or of `Mon-Fri`; a range may go over the end of the week.
fn days_of(text: &str) -> Option<u8> {
    let day = |text: &str| DAYS.iter().position(|day| text.eq_ignore_ascii_case(day));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let count = (last + 7 - first) % 7;
    Some((0..=count).fold(0, |days, next| days | 1 << ((first + next) % 7)))
}

/// Minutes after midnight of `04:30`; `24:00` is its end.
fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.trim().split_once(':')?;
    let two = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { text.parse::<u32>().ok() } else { None }
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-30, a Monday, at midnight.
    const MONDAY: i64 = 1_795_996_800;

    fn at(day: i64, hour: i64, minute: i64) -> i64 {
        MONDAY + ((day * 24 + hour) * 60 + minute) * 60
    }

    #[test]
    fn a_window_opens_on_its_days_and_may_cross_midnight() {
        let opens_in = |text: &str, at| Windows::parse(text).unwrap().opens_in(at) / 60;
        let nights = "Mon-Fri 02:00-04:00";
        assert_eq!(opens_in(nights, at(0, 2, 0)), 0);
        assert_eq!(opens_in(nights, at(0, 3, 59)), 0);
        assert_eq!(opens_in(nights, at(0, 4, 0)), 22 * 60);
        assert_eq!(opens_in(nights, at(4, 4, 0)), (2 * 24 + 22) * 60, "over the weekend");
        let late = "sun 22:30-06:00";
        assert_eq!(opens_in(late, at(6, 22, 30)), 0);
        assert_eq!(opens_in(late, at(7, 5, 59)), 0, "on Monday");
        assert_eq!(opens_in(late, at(1, 5, 59)), (5 * 24 + 16) * 60 + 31, "not on Tuesday");
        assert_eq!(opens_in("Sat-Mon 00:00-24:00", at(0, 23, 59)), 0);
        assert_eq!(opens_in("Sat-Mon 00:00-24:00", at(1, 0, 0)), 4 * 24 * 60);
        assert_eq!(opens_in("01:00-02:00,Wed 12:00-13:00", at(2, 11, 0)), 60);
    }

    #[test]
    fn what_is_no_list_of_windows_is_refused() {
        let many = ["01:00-02:00"; 17].join(",");
        for text in [
            "",
            "02:00",
            "2:00-4:00",
            "02:00-02:00",
            "24:00-25:00",
            "02:60-04:00",
            "Mo 02:00-04:00",
            "Mon-Fri",
            "Mon,Tue 02:00-04:00",
            "02:00-04:00,",
            "24:00-01:00",
            "+1:00-04:00",
            &many,
        ] {
            assert_eq!(Windows::parse(text), Err(RolloutError::Windows), "{text}");
        }
    }

    proptest! {
        /// A window is open for its minutes from its opening on, and opens when it says so.
        #[test]
        fn a_window_is_open_when_it_said_that_it_would_be(
            day in 0_u8..7,
            opens in 0_u32..DAY,
            minutes in 1_u32..DAY,
            at in -4_000_000_000_i64..4_000_000_000,
        ) {
            let closes = (opens + minutes) % DAY;
            let name = DAYS[usize::from(day)];
            let text = alloc::format!(
                "{name} {:02}:{:02}-{:02}:{:02}", opens / 60, opens % 60, closes / 60, closes % 60,
            );
            let windows = Windows::parse(&text).unwrap();
            let wait = windows.opens_in(at);
            let opening = at + i64::from(wait);
            prop_assert_eq!(windows.opens_in(opening), 0);
            if wait > 0 {
                prop_assert!(windows.opens_in(opening - 1) == 1);
                let end = opening + i64::from(minutes * 60);
                prop_assert_eq!(windows.opens_in(end - 1), 0);
                prop_assert!(windows.opens_in(end) > 0);
                prop_assert_eq!((opening - MONDAY).rem_euclid(604_800) / 86_400, i64::from(day));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = Windows::parse(&text);
        }
    }
}
