//! Kubernetes' notation for amounts: `100m`, `1.5`, `128Mi`, `1e3`.
//!
//! An amount is held exactly, in billionths; what is finer is rounded up, as the API server does.

/// Billionths in one.
const ONE: i128 = 1_000_000_000;

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not of the form.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Malformed,
    /// Below zero.
    #[error("must be greater than or equal to 0")]
    Negative,
    /// Above what 64 bits hold.
    #[error("must not exceed 9223372036854775807")]
    TooLarge,
}

/// An amount that is not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

impl Quantity {
    /// Reads an amount.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, text) = match text.as_bytes() {
            [b'-', ..] => (true, text.get(1..).unwrap_or_default()),
            [b'+', ..] => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (digits, suffix) = text.split_at(end);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(QuantityError::Malformed);
        }
        let (binary, exponent) = scale(suffix).ok_or(QuantityError::Malformed)?;
        let amount = billionths(whole, fraction, binary, exponent)?;
        match (negative, amount) {
            (true, 1..) => Err(QuantityError::Negative),
            (_, amount) if amount > i128::from(i64::MAX) * ONE => Err(QuantityError::TooLarge),
            (_, amount) => Ok(Self(amount)),
        }
    }

    /// In whole units, rounded up.
    pub fn units(self) -> u64 {
        ceil(self.0, ONE)
    }

    /// In thousandths, rounded up; what exceeds 64 bits is the greatest that they hold.
    pub fn milli(self) -> u64 {
        ceil(self.0, ONE / 1000)
    }
}

fn ceil(amount: i128, unit: i128) -> u64 {
    u64::try_from((amount + unit - 1) / unit).unwrap_or(u64::MAX)
}

/// Factor and power of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            (1, exponent.parse().ok().filter(|exponent: &i32| exponent.abs() <= 400)?)
        }
    })
}

/// `whole.fraction * binary * 10^exponent` in billionths, rounded up.
fn billionths(
    whole: &str,
    fraction: &str,
    binary: i128,
    exponent: i32,
) -> Result<i128, QuantityError> {
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
    let mut mantissa = 0_i128;
    for (place, digit) in digits.enumerate() {
        // 2^60 (Ei) times 10^19 still fits; no amount in use has more digits.
        if place >= 19 {
            return Err(QuantityError::TooLarge);
        }
        mantissa = mantissa * 10 + i128::from(digit - b'0');
    }
    let mantissa = mantissa * binary;
    let power = i64::from(exponent) + 9 - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    if mantissa == 0 {
        return Ok(0);
    }
    let factor =
        u32::try_from(power.unsigned_abs()).ok().and_then(|power| 10_i128.checked_pow(power));
    if power >= 0 {
        factor.and_then(|factor| mantissa.checked_mul(factor)).ok_or(QuantityError::TooLarge)
    } else {
        Ok(factor
            .map_or(1, |factor| mantissa.div_euclid(factor) + i128::from(mantissa % factor != 0)))
    }
}

/// Thousandths, as the API server writes them: `250m`, `2`.
pub fn format_milli(milli: u64) -> String {
    if milli.is_multiple_of(1000) { format_units(milli / 1000) } else { format!("{milli}m") }
}

pub use mote_protocol::quantity::format_units;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_read_as_the_api_server_reads_them() {
        for (text, milli, units) in [
            ("0", 0, 0),
            ("100m", 100, 1),
            ("1.5", 1500, 2),
            (".5", 500, 1),
            ("1.", 1000, 1),
            ("+2", 2000, 2),
            ("-0", 0, 0),
            ("1e3", 1_000_000, 1000),
            ("1E3", 1_000_000, 1000),
            ("1.5e3", 1_500_000, 1500),
            ("5e-3", 5, 1),
            ("1k", 1_000_000, 1000),
            ("1Ki", 1_024_000, 1024),
            ("0.5Gi", 536_870_912_000, 536_870_912),
            ("128Mi", 134_217_728_000, 134_217_728),
            ("1E", u64::MAX, 1_000_000_000_000_000_000),
            ("1n", 1, 1),
            ("1500u", 2, 1),
            ("0.0001", 1, 1),
            ("000012", 12_000, 12),
            ("1e-300", 1, 1),
        ] {
            let quantity = Quantity::parse(text).expect(text);
            assert_eq!(quantity.units(), units, "units of {text}");
            assert_eq!(quantity.milli(), milli, "thousandths of {text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        use QuantityError::{Malformed, Negative, TooLarge};
        for (text, error) in [
            ("", Malformed),
            (".", Malformed),
            ("1.2.3", Malformed),
            ("1 Gi", Malformed),
            ("1gi", Malformed),
            ("1KB", Malformed),
            ("1e", Malformed),
            ("1e999", Malformed),
            ("1em", Malformed),
            ("ten", Malformed),
            ("ü", Malformed),
            ("-1", Negative),
            ("-100m", Negative),
            ("10E", TooLarge),
            ("9Ei", TooLarge),
            ("1e30", TooLarge),
            ("99999999999999999999", TooLarge),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn thousandths_are_written_only_where_there_are_any() {
        assert_eq!(format_milli(250), "250m");
        assert_eq!(format_milli(2000), "2");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(amount in 0..=u64::MAX / 2) {
            prop_assert_eq!(Quantity::parse(&format_units(amount)).map(Quantity::units), Ok(amount));
            prop_assert_eq!(Quantity::parse(&format_milli(amount)).map(Quantity::milli), Ok(amount));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in "[+-]?[0-9.]{0,40}[eEKMGTPinum]{0,3}[+-]?[0-9]{0,12}|.{0,20}") {
            let _ = Quantity::parse(&text);
        }
    }
}
