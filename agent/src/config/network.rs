//! `[network]`: which addresses pods get.

use std::str::FromStr;

use super::NodeLimits;
use super::problem::Rule;
use super::section::Section;
use crate::network::{PodRange, RangeError, Ranges};

/// Where the addresses of pods come from unless the configuration says otherwise: 4094 of them, in a part
/// of the private addresses that neither docker nor home routers nor Kubernetes take by default.
const DEFAULT_POD_CIDR: &str = "10.188.0.0/20";

/// What says that pods have nothing but localhost.
const NONE: &str = "none";

/// Ranges that pods get addresses of; none where they have nothing but localhost.
pub(super) fn read(section: &mut Section<'_, '_>, limits: &NodeLimits) -> Option<Ranges> {
    let found = section.text("pod_cidr");
    let found_v6 = section.text("pod_cidr_v6");
    let asked_v6 = found_v6.is_some();
    let v4 = match found {
        None => Some(V4(PodRange::parse_v4(DEFAULT_POD_CIDR).ok())),
        found => section.parse::<V4>(found),
    };
    let v6 = section.parse::<V6>(found_v6).map(|V6(range)| range);
    let Some(v4) = v4?.0 else {
        if asked_v6 {
            let rule = "needs `pod_cidr`, which is `none`: pods have nothing but localhost";
            section.report(None, "pod_cidr_v6", Rule::Invalid(rule.to_owned()));
        }
        return None;
    };
    for (key, range) in [("pod_cidr", Some(v4)), ("pod_cidr_v6", v6)] {
        let Some(range) = range.filter(|range| range.capacity() < limits.pods.into()) else {
            continue;
        };
        let (has, pods) = (range.capacity(), limits.pods);
        let rule = format!("has {has} addresses, fewer than `limits.pods` ({pods})");
        section.report(None, key, Rule::Invalid(rule));
    }
    Some(Ranges { v4, v6 })
}

struct V4(Option<PodRange>);

impl FromStr for V4 {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        if text == NONE { Ok(Self(None)) } else { PodRange::parse_v4(text).map(Some).map(Self) }
    }
}

struct V6(PodRange);

impl FromStr for V6 {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        PodRange::parse_v6(text).map(Self)
    }
}
