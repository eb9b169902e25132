//! From when to when a certificate is valid: as much of X.509 (RFC 5280, 4.1) as that takes.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// From when to when, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// Not before.
    pub from: i64,
    /// Not after.
    pub to: i64,
}

impl Validity {
    /// That of a certificate in DER; none where it is no certificate.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let mut rest = certificate;
        let mut whole = element(&mut rest, SEQUENCE)?;
        let mut body = element(&mut whole, SEQUENCE)?;
        if body.first() == Some(&VERSION) {
            element(&mut body, VERSION)?;
        }
        // Serial number, algorithm, issuer.
        for _ in 0..3 {
            any_element(&mut body)?;
        }
        let mut times = element(&mut body, SEQUENCE)?;
        Some(Self { from: time(&mut times)?, to: time(&mut times)? })
    }
}

/// Tag and content of the next element; `rest` goes on behind it.
fn any_element<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, behind) = rest.split_first()?;
    let (len, mut behind) = behind.split_first()?;
    let mut length = usize::from(*len);
    if *len >= 0x80 {
        let (digits, content) = behind.split_at_checked(usize::from(*len & 0x7f))?;
        if digits.len() > 3 {
            return None;
        }
        length = digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit));
        behind = content;
    }
    let (content, after) = behind.split_at_checked(length)?;
    *rest = after;
    Some((*tag, content))
}

fn element<'a>(rest: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    any_element(rest).filter(|(tag, _)| *tag == wanted).map(|(_, content)| content)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(rest: &mut &[u8]) -> Option<i64> {
    let (tag, text) = any_element(rest)?;
    let text = std::str::from_utf8(text).ok()?;
    let (year, text) = match tag {
        UTC_TIME => {
            let (year, text) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text)
        }
        GENERALIZED_TIME => {
            let (year, text) = text.split_at_checked(4)?;
            (year.parse().ok()?, text)
        }
        _ => return None,
    };
    let number = |place: usize| text.get(2 * place..2 * place + 2)?.parse::<i8>().ok();
    let [month, day, hour, minute, second] = [0, 1, 2, 3, 4].map(number);
    let time = DateTime::new(year, month?, day?, hour?, minute?, second?, 0).ok()?;
    // The last hours of the year 9999, which stand for "never", are beyond what can be counted.
    Some(TimeZone::UTC.to_timestamp(time).map_or(i64::MAX, jiff::Timestamp::as_second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn certificate(from: (i32, u8, u8), to: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["n".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().to_vec()
    }

    #[test]
    fn both_forms_of_a_time_are_read() {
        let found = Validity::of(&certificate((2026, 1, 2), (2027, 3, 4)));
        assert_eq!(found, Some(Validity { from: 1_767_312_000, to: 1_804_118_400 }));
        let found = Validity::of(&certificate((1999, 12, 31), (2060, 1, 1)));
        assert_eq!(found, Some(Validity { from: 946_598_400, to: 2_840_140_800 }));
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        let whole = certificate((2026, 1, 2), (2027, 3, 4));
        for end in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..end]), None, "{end}");
        }
        for noise in [&b"noise"[..], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x80]] {
            assert_eq!(Validity::of(noise), None, "{noise:?}");
        }
    }
}
