//! What the node's firewall must do for pods, as the text of one nftables table. PURE.
//!
//! All of it is replaced at once, so that no packet sees half of it. Other tables are none of ours.
//! Nothing here lets through what another table drops: a firewall of the operator's has its say.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::Share;
use super::link::{GATEWAY_V4, PREFIX};
use super::port::PortMap;
use super::range::Ranges;
use super::service::{self, Served};

/// The table's name, in the family `inet`.
pub const TABLE: &str = "mote";

/// The set of pods that asked for names lately, with how often.
const ASKING: &str = "asking";

/// Questions of one pod that are heard in a second: far more than a busy one asks, and a part of what the
/// resolver answers.
const QUESTIONS: u32 = 1000;

/// Those of them that may come at once: as many as wait for their turns there, and a fifth of what the resolver's
/// socket holds. A pod that may fill that alone would have the questions of others lost.
const AT_ONCE: u32 = 250;

/// Where questions about names are asked: an address, and the ports by UDP and TCP that the resolver
/// listens on there.
pub type Door = (Ipv4Addr, u16, u16);

/// All places where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    /// Where pods ask.
    pub pods: Door,
    /// Where the node's own programs do.
    pub node: Door,
}

/// The table for these pods and services, on a node whose pods get addresses of these ranges; with neither
/// pods nor ranges there is none.
///
/// Ports of the node lead to pods wherever they are asked at: from elsewhere, from pods, from the node,
/// at its localhost. Where whoever asks would be answered past the node, it asks as the node: the pod
/// itself, and the node's localhost.
pub fn table(wanted: &Wanted<'_>) -> Rules {
    let Wanted { ranges, services, pods, served, doors } = *wanted;
    // Made first: what is not there cannot be deleted.
    let whole = format!("table inet {TABLE}\ndelete table inet {TABLE}\n");
    let mut text = String::new();
    let families = [true, false].map(|four| (four, addresses(ranges, pods, four)));
    let families: Vec<_> = families.into_iter().filter(|(_, ours)| !ours.is_empty()).collect();
    if families.is_empty() {
        return Rules { whole, text, sets: Vec::new() };
    }
    let parts = service::parts(services, served);
    let _ = writeln!(text, "table inet {TABLE} {{");
    for (name, of) in &parts.sets {
        let _ = writeln!(text, "\tset {name} {{ {of} }}");
    }
    if doors.is_some() {
        let of_set = "type ipv4_addr; flags dynamic, timeout; timeout 1m; size 65535;";
        let _ = writeln!(text, "\tset {ASKING} {{ {of_set} }}");
    }
    for (name, rules) in &parts.chains {
        let _ = write!(text, "\tchain {name} {{\n{rules}\t}}\n");
    }
    let asking_much = doors.map(|doors| bound(doors.pods)).unwrap_or_default();
    let guard = guard(&families) + &parts.guard + &asking_much;
    chain(&mut text, "guard", "type filter hook prerouting priority raw", &guard);
    let mut ports: String = pods
        .iter()
        .flat_map(|pod| pod.ports.iter().map(move |map| (pod, map)))
        .flat_map(|(pod, map)| leading(pod, map))
        .collect();
    ports.push_str(&parts.leading);
    // Port 53 of these addresses is nobody else's, also where a pod has that of all the node's.
    let asked_by_pods = doors.map(|doors| asking(&format!("iifname \"{PREFIX}*\" "), doors.pods));
    let asked_by_node = doors.map(|doors| asking("", doors.node));
    let (incoming, outgoing) =
        [asked_by_pods, asked_by_node].map(|asked| asked.unwrap_or_default() + &ports).into();
    if !incoming.is_empty() {
        chain(&mut text, "prerouting", "type nat hook prerouting priority dstnat", &incoming);
        // nft knows this one by its number only.
        chain(&mut text, "output", "type nat hook output priority -100", &outgoing);
    }
    let serving: BTreeSet<IpAddr> =
        served.iter().flat_map(|one| &one.endpoints).map(|(address, _)| *address).collect();
    let serves = |pod: &&Share| pod.addresses.iter().any(|address| serving.contains(address));
    let asked = pods.iter().filter(|pod| !pod.ports.is_empty() || serves(pod));
    let mut leaving: String = asked.flat_map(hairpins).collect();
    leaving.extend(families.iter().map(|(four, ours)| masquerade(*four, ours)));
    chain(&mut text, "postrouting", "type nat hook postrouting priority srcnat", &leaving);
    for (name, hook, rules) in &parts.refusing {
        chain(&mut text, name, hook, rules);
    }
    text.push_str("}\n");
    let sets = parts.sets.into_iter().map(|(name, _)| name).collect();
    Rules { whole, text, sets }
}

/// What is there of our table: names of its chains and sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Chains.
    pub chains: Vec<String>,
    /// Sets that have a name.
    pub sets: Vec<String>,
}

/// Our table, and the ways to put it into the place of what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    whole: String,
    text: String,
    sets: Vec<String>,
}

impl Rules {
    /// Replaces everything.
    pub fn whole(&self) -> String {
        format!("{}{}", self.whole, self.text)
    }

    /// Some of it must last, where it is there.
    pub const fn has_sets(&self) -> bool {
        !self.sets.is_empty()
    }

    /// Replaces everything but what sets hold; none where nothing of the kind is there.
    pub fn keeping(&self, present: &Present) -> Option<String> {
        let kept = |set: &&String| self.sets.contains(set);
        present.sets.iter().find(kept)?;
        let mut text = String::new();
        for act in ["flush", "delete"] {
            for name in &present.chains {
                let _ = writeln!(text, "{act} chain inet {TABLE} {name}");
            }
        }
        for name in present.sets.iter().filter(|set| !kept(set)) {
            let _ = writeln!(text, "delete set inet {TABLE} {name}");
        }
        text.push_str(&self.text);
        Some(text)
    }
}

/// What rules are made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Ranges of pods.
    pub ranges: Option<Ranges>,
    /// Ranges of services.
    pub services: Option<Ranges>,
    /// Pods.
    pub pods: &'a [Share],
    /// Ports of services.
    pub served: &'a [Served],
    /// Where questions about names lead, where somebody answers.
    pub doors: Option<Doors>,
}

/// What nobody but the node itself says to its localhost, which ports of it may lead to pods; and what nobody but
/// pods says with their addresses, nor one of them with that of another. `rp_filter` is no help with that: where it
/// is 2 for all interfaces, no single one is stricter. And what nobody says to pods by their own addresses: a
/// neighbour who sends it to the node, which passes packets on, would reach every port. The node's own address
/// stays its own.
fn guard(families: &[(bool, String)]) -> String {
    let mut rules = String::new();
    let from_pods = format!("\t\tiifname \"{PREFIX}*\"");
    let others = format!("\t\tiifname != \"{PREFIX}*\"");
    // The kernel looks whose that is only after rules have led it elsewhere.
    let _ = writeln!(rules, "\t\tiifname != \"lo\" ip daddr 127.0.0.0/8 drop");
    let _ = writeln!(rules, "{from_pods} ip saddr 127.0.0.0/8 drop");
    let _ = writeln!(rules, "{from_pods} fib saddr . iif oif missing drop");
    for (four, ours) in families {
        let family = if *four { "ip" } else { "ip6" };
        let _ =
            writeln!(rules, "{others} {family} daddr {{ {ours} }} fib daddr type != local drop");
        let _ = writeln!(rules, "{others} iifname != \"lo\" {family} saddr {{ {ours} }} drop");
    }
    rules
}

/// What leaves the node with the node's address: what pods send to others than pods.
fn masquerade(four: bool, ours: &str) -> String {
    let (family, several) =
        if four { ("ip", "224.0.0.0/4") } else { ("ip6", "fe80::/10, ff00::/8") };
    format!(
        "\t\t{family} saddr {{ {ours} }} {family} daddr != {{ {ours}, {several} }} \
         masquerade fully-random\n"
    )
}

/// The range, and what pods have from ranges of an earlier configuration.
fn addresses(ranges: Option<Ranges>, pods: &[Share], four: bool) -> String {
    let range = ranges.and_then(|ranges| if four { Some(ranges.v4) } else { ranges.v6 });
    let others = pods.iter().flat_map(|pod| &pod.addresses);
    let others = others.filter(|address| address.is_ipv4() == four);
    let others = others.filter(|address| range.is_none_or(|range| !range.contains(**address)));
    let others: BTreeSet<String> = others.map(ToString::to_string).collect();
    let range = range.map(|range| range.to_string());
    range.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

/// The rules by which a port of the node leads to a pod: one for each family in which it has an address,
/// and the node's may be asked. An address that is none of the node's leads nowhere: what the node itself
/// sends there is not the pod's to have.
fn leading(pod: &Share, map: &PortMap) -> Vec<String> {
    let transport = map.host.transport.word();
    let asked =
        |address: &&IpAddr| map.host.address.is_none_or(|at| at.is_ipv4() == address.is_ipv4());
    let rule = |to: &IpAddr| {
        let (family, to) = match to {
            IpAddr::V4(to) => ("ip", to.to_string()),
            IpAddr::V6(to) => ("ip6", format!("[{to}]")),
        };
        let at = match map.host.address {
            Some(at) => format!("{family} daddr {at} fib daddr type local"),
            None if family == "ip" => "meta nfproto ipv4 fib daddr type local".to_owned(),
            None => "meta nfproto ipv6 fib daddr type local ip6 daddr != ::1".to_owned(),
        };
        format!("\t\t{at} {transport} dport {} dnat {family} to {to}:{}\n", map.host.port, map.port)
    };
    pod.addresses.iter().filter(asked).map(rule).collect()
}

/// How often each pod may ask for names: who asks more would have the answers of all others wait in one
/// queue behind its own. The resolver's own port is no way around that, and nobody else finds that address.
fn bound((address, udp, _): Door) -> String {
    let others = format!("iifname != \"{PREFIX}*\" iifname != \"lo\" ip daddr {address}");
    let asks = format!("iifname \"{PREFIX}*\" ip daddr {address} udp dport {{ 53, {udp} }}");
    let more = format!("limit rate over {QUESTIONS}/second burst {AT_ONCE} packets");
    format!("\t\t{others} drop\n\t\t{asks} update @{ASKING} {{ ip saddr {more} }} drop\n")
}

/// The rules by which port 53 of an address leads to the resolver.
fn asking(from: &str, (address, udp, tcp): Door) -> String {
    let rule = |(transport, port): (&str, u16)| {
        format!("\t\t{from}ip daddr {address} {transport} dport 53 dnat ip to {address}:{port}\n")
    };
    [("udp", udp), ("tcp", tcp)].map(rule).concat()
}

/// Whoever asks a pod by a port of the node, and would be answered past the node.
fn hairpins(pod: &Share) -> Vec<String> {
    let rule = |address: &IpAddr| match address {
        IpAddr::V4(_) => {
            // The node's end of the cable. What the kernel would take itself is another address of the node,
            // and nothing where it has none: a node with no network has its ports all the same.
            let asker = format!("ip saddr {{ {address}, 127.0.0.0/8 }} ip daddr {address}");
            format!("\t\t{asker} snat ip to {GATEWAY_V4}\n")
        }
        IpAddr::V6(_) => format!("\t\tip6 saddr {address} ip6 daddr {address} masquerade\n"),
    };
    pod.addresses.iter().map(rule).collect()
}

fn chain(text: &mut String, name: &str, hook: &str, rules: &str) {
    let _ = write!(text, "\tchain {name} {{\n\t\t{hook}; policy accept;\n{rules}\t}}\n");
}

#[cfg(test)]
mod tests {
    use super::super::port::Transport;
    use super::*;
    use crate::network::port::HostPort;
    use crate::network::range::PodRange;

    fn ranges(v6: bool) -> Ranges {
        let v4 = PodRange::parse_v4("10.188.0.0/20").unwrap();
        Ranges { v4, v6: v6.then(|| PodRange::parse_v6("fd00:188::/112").unwrap()) }
    }

    fn table(ranges: Option<Ranges>, pods: &[Share]) -> String {
        super::table(&Wanted { ranges, pods, ..Wanted::default() }).whole()
    }

    fn pod(addresses: &[&str], ports: &[(Option<&str>, u16, Transport)]) -> Share {
        let map = |(address, port, transport): &(Option<&str>, u16, Transport)| {
            let address = address.map(|address| address.parse().unwrap());
            let host = HostPort { address, port: *port, transport: *transport };
            PortMap { host, port: 8000 + port }
        };
        Share {
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ports: ports.iter().map(map).collect(),
        }
    }

    #[test]
    fn the_table_is_one_text_that_replaces_itself() {
        assert_eq!(
            table(Some(ranges(false)), &[pod(&["10.188.0.1"], &[])]),
            "table inet mote\n\
             delete table inet mote\n\
             table inet mote {\n\
             \tchain guard {\n\
             \t\ttype filter hook prerouting priority raw; policy accept;\n\
             \t\tiifname != \"lo\" ip daddr 127.0.0.0/8 drop\n\
             \t\tiifname \"mote-*\" ip saddr 127.0.0.0/8 drop\n\
             \t\tiifname \"mote-*\" fib saddr . iif oif missing drop\n\
             \t\tiifname != \"mote-*\" ip daddr { 10.188.0.0/20 } fib daddr type != local drop\n\
             \t\tiifname != \"mote-*\" iifname != \"lo\" ip saddr { 10.188.0.0/20 } drop\n\
             \t}\n\
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
        let others = [pod(&["10.7.0.1", "fd00:7::1"], &[])];
        let text = table(Some(ranges(false)), &others);
        assert!(text.contains("ip saddr { 10.188.0.0/20, 10.7.0.1 }"), "{text}");
        assert!(text.contains("ip6 saddr { fd00:7::1 }"), "{text}");
        let both = table(Some(ranges(true)), &others);
        assert!(both.contains("ip6 saddr { fd00:188::/112, fd00:7::1 }"), "{both}");
        let guard = "ip6 daddr { fd00:188::/112, fd00:7::1 } fib daddr type != local drop";
        assert!(both.contains(guard), "{both}");
    }

    #[test]
    fn without_a_range_there_are_rules_as_long_as_there_are_pods() {
        let none = table(None, &[]);
        assert_eq!(none, "table inet mote\ndelete table inet mote\n");
        let left = table(None, &[pod(&["10.7.0.1"], &[])]);
        assert!(left.starts_with(&none) && left.contains("ip saddr { 10.7.0.1 }"), "{left}");
        assert!(!left.contains("ip6"), "{left}");
    }

    #[test]
    fn ports_lead_to_pods_in_the_families_that_they_have() {
        let ports = [
            (None, 80, Transport::Tcp),
            (Some("192.0.2.1"), 53, Transport::Udp),
            (Some("2001:db8::1"), 54, Transport::Udp),
        ];
        let text = table(Some(ranges(true)), &[pod(&["10.188.0.1", "fd00:188::1"], &ports)]);
        let rules = [
            "meta nfproto ipv4 fib daddr type local tcp dport 80 dnat ip to 10.188.0.1:8080",
            "meta nfproto ipv6 fib daddr type local ip6 daddr != ::1 tcp dport 80 \
             dnat ip6 to [fd00:188::1]:8080",
            "ip daddr 192.0.2.1 fib daddr type local udp dport 53 dnat ip to 10.188.0.1:8053",
            "ip6 daddr 2001:db8::1 fib daddr type local udp dport 54 \
             dnat ip6 to [fd00:188::1]:8054",
        ];
        for rule in rules {
            assert_eq!(text.matches(&format!("\t\t{rule}\n")).count(), 2, "{rule} in {text}");
        }
        assert!(
            text.contains("ip saddr { 10.188.0.1, 127.0.0.0/8 } ip daddr 10.188.0.1 snat"),
            "{text}"
        );
        assert_eq!(text.matches(" dnat ").count(), 8, "{text}");
    }

    #[test]
    fn questions_about_names_come_before_ports_of_pods() {
        let doors = Doors {
            pods: ([169, 254, 1, 1].into(), 15353, 15354),
            node: ([127, 254, 1, 1].into(), 1, 2),
        };
        let ports = [(None, 53, Transport::Udp)];
        let pods = [pod(&["10.188.0.1"], &ports)];
        let with = |pods| Wanted {
            ranges: Some(ranges(false)),
            pods,
            doors: Some(doors),
            ..Wanted::default()
        };
        let text = super::table(&with(&pods)).whole();
        let of_pods =
            "iifname \"mote-*\" ip daddr 169.254.1.1 udp dport 53 dnat ip to 169.254.1.1:15353";
        let of_node = "ip daddr 127.254.1.1 tcp dport 53 dnat ip to 127.254.1.1:2";
        let place = |rule: &str| text.find(rule).unwrap_or_else(|| panic!("{rule} in {text}"));
        let port = place("fib daddr type local udp dport 53");
        assert!(place(of_pods) < port && place(of_node) > port, "{text}");
        assert!(place(of_node) < text.rfind("fib daddr type local udp dport 53").unwrap());
        assert_eq!(text.matches("dnat").count(), 6, "{text}");
        let without = super::table(&with(&[])).whole();
        assert!(without.contains(of_pods), "it is there before the first pod: {without}");
    }

    #[test]
    fn what_sets_hold_lasts_where_it_is_there() {
        let served = [Served {
            name: "default/web".into(),
            transport: Transport::Tcp,
            port: 80,
            addresses: vec!["10.189.0.9".parse().unwrap()],
            node_port: 0,
            affinity_s: Some(60),
            endpoints: vec![("10.188.0.1".parse().unwrap(), 80)],
        }];
        let pods = [pod(&["10.188.0.1"], &[])];
        let wanted = Wanted {
            ranges: Some(ranges(false)),
            pods: &pods,
            served: &served,
            ..Wanted::default()
        };
        let rules = super::table(&wanted);
        let set = rules.sets[0].clone();
        let none = Present { chains: vec!["guard".into()], sets: vec!["other".into()] };
        assert_eq!(rules.keeping(&none), None);
        let there = Present { sets: vec![set.clone(), "other".into()], ..none };
        let text = rules.keeping(&there).unwrap();
        assert!(
            text.starts_with("flush chain inet mote guard\ndelete chain inet mote guard\n"),
            "{text}"
        );
        assert!(text.contains("delete set inet mote other\n"), "{text}");
        assert!(!text.contains(&format!("delete set inet mote {set}")), "{text}");
        assert!(text.ends_with(&rules.text) && rules.whole().ends_with(&rules.text));
        let hairpin =
            "ip saddr { 10.188.0.1, 127.0.0.0/8 } ip daddr 10.188.0.1 snat ip to 169.254.1.1";
        assert!(text.contains(hairpin), "a pod reaches its own service: {text}");
    }
}
