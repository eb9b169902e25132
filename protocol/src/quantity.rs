//! Amounts of resources as Kubernetes writes them.

use alloc::format;
use alloc::string::String;

/// Whole units (`128Mi`, `1k`, `1500`), with the suffix that leaves the shortest whole number: which
/// one was written is not kept.
pub fn format_units(units: u64) -> String {
    let shorten = |base: u64, suffixes: &[&'static str]| {
        let mut shortest = (units, "");
        for suffix in suffixes.iter().copied() {
            if shortest.0 == 0 || !shortest.0.is_multiple_of(base) {
                break;
            }
            shortest = (shortest.0 / base, suffix);
        }
        shortest
    };
    let binary = shorten(1024, &["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]);
    let decimal = shorten(1000, &["k", "M", "G", "T", "P", "E"]);
    let (number, suffix) = if binary.0 <= decimal.0 { binary } else { decimal };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_written_as_people_write_them() {
        let rows = [
            (0, "0"),
            (1, "1"),
            (1 << 20, "1Mi"),
            (1_500_000, "1500k"),
            (4_000_000_000, "4G"),
            (500 << 20, "500Mi"),
            (1025, "1025"),
            (1_024_000, "1000Ki"),
            (134_217_728, "128Mi"),
            (128_000_000, "128M"),
            (1_000_001, "1000001"),
        ];
        for (units, text) in rows {
            assert_eq!(format_units(units), text);
        }
    }
}
