//! `[network]`: which addresses pods get, and who answers their questions about names.

use std::path::PathBuf;
use std::str::FromStr;

use super::NodeLimits;
use super::problem::Rule;
use super::section::Section;
use crate::network::{PodRange, RangeError, Ranges};
use crate::pod::contents::names::ClusterDomain;

/// Where the addresses of pods come from unless the configuration says otherwise: 4094 of them, in a part
/// of the private addresses that neither docker nor home routers nor Kubernetes take by default.
const DEFAULT_POD_CIDR: &str = "10.188.0.0/20";

/// Where every C library looks.
const DEFAULT_RESOLV_CONF: &str = "/etc/resolv.conf";

/// What says that pods have nothing but localhost.
const NONE: &str = "none";

/// Who answers questions about names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesConfig {
    /// What whole names of services and pods end in.
    pub domain: ClusterDomain,
    /// The agent answers for those of this node.
    pub resolver: bool,
    /// Whom the node asks, as the kubelet's `resolvConf`.
    pub resolv_conf: PathBuf,
}

/// The part about names, of a node whose pods have a network or not.
pub(super) fn read_names(section: &mut Section<'_, '_>, network: bool) -> Option<NamesConfig> {
    let domain = section.text("cluster_domain");
    let domain = section.parse::<ClusterDomain>(domain).unwrap_or_default();
    let resolver = section.choice("resolver");
    if resolver == Some(true) && !network {
        let rule = "needs `pod_cidr`, which is `none`: nobody could ask";
        section.report(None, "resolver", Rule::Invalid(rule.to_owned()));
    }
    let resolv_conf = match section.text("resolv_conf") {
        None => PathBuf::from(DEFAULT_RESOLV_CONF),
        found => section.path(found)?,
    };
    Some(NamesConfig { domain, resolver: resolver.unwrap_or(network), resolv_conf })
}

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
