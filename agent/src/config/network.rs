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

/// Where the addresses of services come from unless the configuration says otherwise: 253 of them, beside those
/// of pods, or elsewhere where pods have those.
const DEFAULT_SERVICE_CIDRS: [&str; 2] = ["10.189.0.0/24", "172.30.189.0/24"];

/// The same of IPv6, where pods have some: a range of a site's own (RFC 4193).
const DEFAULT_SERVICE_CIDRS_V6: [&str; 2] = ["fd6d:6f74:65:189::/112", "fd6d:6f74:65:190::/112"];

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

/// Ranges that services get addresses of, beside these of pods; none where there are none.
pub(super) fn read_services(section: &mut Section<'_, '_>, pods: Option<Ranges>) -> Option<Ranges> {
    let (found, found_v6) = (section.text("service_cidr"), section.text("service_cidr_v6"));
    let (asked, asked_v6) = (found.is_some(), found_v6.is_some());
    let v4 = section.parse::<V4>(found);
    let v6 = section.parse::<V6>(found_v6).map(|V6(range)| range);
    let none = matches!(v4, Some(V4(None)));
    let Some(pods) = pods.filter(|_| !none) else {
        for (key, asked) in [("service_cidr", asked && !none), ("service_cidr_v6", asked_v6)] {
            if asked {
                let rule = "needs `pod_cidr` and `service_cidr`, one of which is `none`";
                section.report(None, key, Rule::Invalid(rule.to_owned()));
            }
        }
        return None;
    };
    if pods.v6.is_none() && asked_v6 {
        let rule = "needs `pod_cidr_v6`: pods have no IPv6 addresses that services could lead to";
        section.report(None, "service_cidr_v6", Rule::Invalid(rule.to_owned()));
    }
    let free = |range: &PodRange| !pods.all().any(|of_pods| of_pods.overlaps(*range));
    for (key, range) in [("service_cidr", v4.as_ref().and_then(|v4| v4.0)), ("service_cidr_v6", v6)]
    {
        if range.is_some_and(|range| !free(&range)) {
            let rule = "overlaps the range of pods".to_owned();
            section.report(None, key, Rule::Invalid(rule));
        }
    }
    let first = |texts: [&str; 2], parse: fn(&str) -> Result<PodRange, RangeError>| {
        texts.into_iter().filter_map(|text| parse(text).ok()).find(free)
    };
    let v4 = v4.and_then(|v4| v4.0).or_else(|| first(DEFAULT_SERVICE_CIDRS, PodRange::parse_v4))?;
    let v6 = v6.or_else(|| first(DEFAULT_SERVICE_CIDRS_V6, PodRange::parse_v6));
    Some(Ranges { v4, v6: v6.filter(|_| pods.v6.is_some()) })
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
