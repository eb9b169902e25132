//! What a pod says of its names, and of who knows others': it goes into files that are read by line.

use std::net::IpAddr;

use mote_protocol::name::ContainerName;
use mote_protocol::pod::{DnsPolicy, PodNetwork};

use super::{Check, build};
use crate::pod::contents::names::{
    ClusterDomain, MAX_NAMESERVERS, MAX_NODENAME, MAX_SEARCH_CHARACTERS, MAX_SEARCHES,
};
use crate::pod::spec::PodName;

/// As the API server bounds it.
const MAX_NAME: usize = 253;

/// More than anybody has: they are in memory as long as the pod.
const MAX_ALIASES: usize = 256;

const LABEL: &str = "must be a DNS label (RFC 1123)";
const ADDRESS: &str = "must be a valid IP address";
const DOMAIN: &str =
    "must be a DNS name: labels of letters, digits, `-` and `_`, with dots between";

pub(super) fn check(
    check: &mut Check,
    pod: &PodName,
    (network, domain): (&PodNetwork, &ClusterDomain),
) {
    let is_label = |text: &str| text.is_empty() || ContainerName::new(text).is_ok();
    check.require(is_label(&network.hostname), "spec.hostname", LABEL);
    check.require(is_label(&network.subdomain), "spec.subdomain", LABEL);
    let name = build::hostname(pod, network, domain);
    let rule = format!("`{name}` has {} characters, more than {MAX_NODENAME}", name.len());
    let fits = !network.hostname_as_fqdn || name.len() <= MAX_NODENAME;
    check.require(fits, "spec.setHostnameAsFQDN", rule);
    aliases(check, network);
    dns(check, network);
}

fn aliases(check: &mut Check, network: &PodNetwork) {
    let count: usize = network.host_aliases.iter().map(|alias| alias.hostnames.len()).sum();
    let rule = format!("names {count} hosts, more than {MAX_ALIASES}");
    check.require(count.max(network.host_aliases.len()) <= MAX_ALIASES, "spec.hostAliases", rule);
    for (place, alias) in network.host_aliases.iter().enumerate() {
        let path = format!("spec.hostAliases[{place}]");
        check.require(is_address(&alias.ip), format!("{path}.ip"), ADDRESS);
        for (place, name) in alias.hostnames.iter().enumerate() {
            check.require(is_domain(name), format!("{path}.hostnames[{place}]"), DOMAIN);
        }
    }
}

fn dns(check: &mut Check, network: &PodNetwork) {
    let dns = &network.dns_config;
    let path = "spec.dnsConfig";
    let some = network.dns_policy != DnsPolicy::None || !dns.nameservers.is_empty();
    let rule = "must provide at least one DNS nameserver when `dnsPolicy` is None";
    check.require(some, format!("{path}.nameservers"), rule);
    let rule = format!("must not have more than {MAX_NAMESERVERS} nameservers");
    check.require(dns.nameservers.len() <= MAX_NAMESERVERS, format!("{path}.nameservers"), rule);
    for (place, nameserver) in dns.nameservers.iter().enumerate() {
        check.require(is_address(nameserver), format!("{path}.nameservers[{place}]"), ADDRESS);
    }
    let rule = format!("must not have more than {MAX_SEARCHES} search paths");
    check.require(dns.searches.len() <= MAX_SEARCHES, format!("{path}.searches"), rule);
    let rule = format!("must not have more than {MAX_SEARCH_CHARACTERS} characters");
    let fits = dns.searches.join(" ").len() <= MAX_SEARCH_CHARACTERS;
    check.require(fits, format!("{path}.searches"), rule);
    for (place, search) in dns.searches.iter().enumerate() {
        let named = search == "." || is_domain(search.strip_suffix('.').unwrap_or(search));
        check.require(named, format!("{path}.searches[{place}]"), DOMAIN);
    }
    for (place, (name, value)) in dns.options.iter().enumerate() {
        let path = format!("{path}.options[{place}]");
        let rule = "must be one word without `:`";
        let named = is_word(name) && !name.contains(':') && name.len() <= MAX_NAME;
        check.require(named, format!("{path}.name"), rule);
        let valued = value.as_ref().is_none_or(|value| is_word(value) && value.len() <= MAX_NAME);
        check.require(valued, format!("{path}.value"), "must be one word");
    }
    let rule = format!("has more than {MAX_SEARCHES} entries");
    check.require(dns.options.len() <= MAX_SEARCHES, format!("{path}.options"), rule);
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_domain(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    text.len() <= MAX_NAME && text.split('.').all(label)
}
