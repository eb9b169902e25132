//! The budget file: one number per name.

use std::collections::BTreeMap;

const TEXT: &str = include_str!("../../budget.toml");

/// How much more than its budget something may be, in percent: room for another compiler, not for
/// another feature.
const TOLERANCE: u64 = 10;

/// Fails where `measured` is above its budget, and says what was measured.
#[track_caller]
pub(crate) fn check(name: &str, measured: u64) {
    let budgets: BTreeMap<String, u64> = toml::from_str(TEXT).expect("budget.toml is a flat table");
    let budget = *budgets.get(name).unwrap_or_else(|| panic!("budget.toml has no `{name}`"));
    println!("{name} = {measured} (budget {budget})");
    assert!(
        measured * 100 <= budget * (100 + TOLERANCE),
        "{name} is {measured}, its budget {budget}: make it less, or change tests/budget.toml and say why"
    );
}
