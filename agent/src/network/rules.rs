//! What the node's firewall must do for pods, as the text of one nftables table. PURE.
//!
//! All of it is replaced at once, so that no packet sees half of it. Other tables are none of ours.
//! Nothing here lets through what another table drops: a firewall of the operator's has its say.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::link::PREFIX;
use super::range::Ranges;

/// The table's name, in the family `inet`.
pub const TABLE: &str = "mote";

/// The table for pods of these ranges, and for those with `others`, which they got from ranges of an
/// earlier configuration.
pub fn table(ranges: Ranges, others: &[IpAddr]) -> String {
    let mut text = String::new();
    let mut postrouting = String::new();
    let four: Vec<String> = others_of(others, true).collect();
    let six: Vec<String> = others_of(others, false).collect();
    let masquerade = |family: &str, sources: &[String], multicast: &str| {
        let sources = sources.join(", ");
        format!(
            "\t\t{family} saddr {{ {sources} }} {family} daddr != {{ {sources}, {multicast} }} \
             masquerade fully-random\n"
        )
    };
    let sources = |own: Option<String>, others: Vec<String>| {
        own.into_iter().chain(others).collect::<Vec<_>>()
    };
    let four = sources(Some(ranges.v4.to_string()), four);
    postrouting.push_str(&masquerade("ip", &four, "224.0.0.0/4"));
    let six = sources(ranges.v6.map(|range| range.to_string()), six);
    if !six.is_empty() {
        postrouting.push_str(&masquerade("ip6", &six, "fe80::/10, ff00::/8"));
    }
    // Made first: what is not there cannot be deleted.
    let _ = write!(text, "table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    if !six.is_empty() {
        chain(&mut text, "spoofed", "type filter hook prerouting priority raw", &spoofed());
    }
    chain(&mut text, "postrouting", "type nat hook postrouting priority srcnat", &postrouting);
    text.push_str("}\n");
    text
}

/// What a pod says with an address of another. For IPv4 the kernel looks by itself (`rp_filter`).
fn spoofed() -> String {
    format!("\t\tiifname \"{PREFIX}*\" meta nfproto ipv6 fib saddr . iif oif missing drop\n")
}

fn chain(text: &mut String, name: &str, hook: &str, rules: &str) {
    let _ = write!(text, "\tchain {name} {{\n\t\t{hook}; policy accept;\n{rules}\t}}\n");
}

fn others_of(others: &[IpAddr], four: bool) -> impl Iterator<Item = String> + '_ {
    others.iter().filter(move |other| other.is_ipv4() == four).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::range::PodRange;

    fn ranges(v6: bool) -> Ranges {
        let v4 = PodRange::parse_v4("10.188.0.0/20").unwrap();
        Ranges { v4, v6: v6.then(|| PodRange::parse_v6("fd00:188::/112").unwrap()) }
    }

    #[test]
    fn the_table_is_one_text_that_replaces_itself() {
        assert_eq!(
            table(ranges(false), &[]),
            "table inet mote\n\
             delete table inet mote\n\
             table inet mote {\n\
             \tchain postrouting {\n\
             \t\ttype nat hook postrouting priority srcnat; policy accept;\n\
             \t\tip saddr { 10.188.0.0/20 } ip daddr != { 10.188.0.0/20, 224.0.0.0/4 } \
             masquerade fully-random\n\
             \t}\n\
             }\n"
        );
    }

    #[test]
    fn pods_of_an_earlier_configuration_are_in_it() {
        let others = ["10.7.0.1".parse().unwrap(), "fd00:7::1".parse().unwrap()];
        let text = table(ranges(false), &others);
        assert!(text.contains("ip saddr { 10.188.0.0/20, 10.7.0.1 }"), "{text}");
        assert!(text.contains("ip6 saddr { fd00:7::1 }"), "{text}");
        let both = table(ranges(true), &others);
        assert!(both.contains("ip6 saddr { fd00:188::/112, fd00:7::1 }"), "{both}");
        assert!(both.contains("iifname \"mote-*\" meta nfproto ipv6"), "{both}");
    }
}
