//! What the kernel must do for services, as parts of our table of nftables. PURE.
//!
//! Whoever asks a service's address, or a port of the node that leads to it, is led to one of its endpoints
//! by chance, once for each connection: the kernel remembers where a flow goes, so that who comes and goes
//! meanwhile breaks no other. What has no endpoint is refused.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Ranges;
use super::link::PREFIX;
use super::port::Transport;

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Whose: `namespace/name`.
    pub name: String,
    /// What it carries.
    pub transport: Transport,
    /// Its number at the service's addresses.
    pub port: u16,
    /// The service's addresses: at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// The node's port that leads there as well; 0 where there is none.
    pub node_port: u16,
    /// For how many seconds after its last connection a client stays with an endpoint.
    pub affinity_s: Option<u32>,
    /// Where it leads.
    pub endpoints: Vec<(IpAddr, u16)>,
}

/// Parts of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Sets of clients that stay with an endpoint, by their names: what they hold must last.
    pub(super) sets: Vec<(String, String)>,
    /// Chains that others go to, and what is in them.
    pub(super) chains: Vec<(String, String)>,
    /// Rules for packets that look for their way.
    pub(super) leading: String,
    /// Base chains that refuse: name, hook, rules.
    pub(super) refusing: Vec<(&'static str, &'static str, String)>,
    /// More for what guards pods.
    pub(super) guard: String,
}

const FAMILIES: [Family; 2] = [
    Family { word: "ip", digit: '4', four: true },
    Family { word: "ip6", digit: '6', four: false },
];

#[derive(Clone, Copy)]
struct Family {
    word: &'static str,
    digit: char,
    four: bool,
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.four
    }
}

/// What of the table is about these services, which have addresses of these ranges; without any of both it is nothing.
pub(super) fn parts(ranges: Option<Ranges>, served: &[Served]) -> Parts {
    let mut parts = Parts::default();
    for family in FAMILIES {
        lead(family, served, &mut parts);
    }
    refuse(ranges, served, &mut parts);
    parts
}

/// Chains of one family, and what leads to them: one look at a map, however many services there are.
fn lead(family: Family, served: &[Served], parts: &mut Parts) {
    let (mut by_address, mut by_port) = (Vec::new(), Vec::new());
    for one in served {
        let Some(address) = one.addresses.iter().find(|address| family.has(**address)) else {
            continue;
        };
        let endpoints: Vec<_> =
            one.endpoints.iter().filter(|(address, _)| family.has(*address)).copied().collect();
        if endpoints.is_empty() {
            continue;
        }
        let (transport, port) = (one.transport.word(), one.port);
        let chain = format!("service/{}/{transport}/{port}/{}", one.name, family.digit);
        balance(&chain, family, one, &endpoints, parts);
        by_address.push(format!("{address} . {transport} . {port} : goto {chain}"));
        if one.node_port != 0 {
            by_port.push(format!("{transport} . {} : goto {chain}", one.node_port));
        }
    }
    let way = "meta l4proto . th dport";
    if !by_address.is_empty() {
        let word = family.word;
        let _ = writeln!(
            parts.leading,
            "\t\t{word} daddr . {way} vmap {{ {} }}",
            by_address.join(", ")
        );
    }
    if !by_port.is_empty() {
        // Localhost of IPv6 leads nowhere: the kernel lets no answers in for it.
        let at = if family.four { "meta nfproto ipv4" } else { "ip6 daddr != ::1" };
        let _ = writeln!(
            parts.leading,
            "\t\t{at} fib daddr type local {way} vmap {{ {} }}",
            by_port.join(", ")
        );
    }
}

/// The chain of one port of a service.
fn balance(
    chain: &str,
    family: Family,
    one: &Served,
    endpoints: &[(IpAddr, u16)],
    parts: &mut Parts,
) {
    let (word, transport) = (family.word, one.transport.word());
    let to = |(address, port): &(IpAddr, u16)| match address {
        IpAddr::V4(address) => format!("dnat ip to {address}:{port}"),
        IpAddr::V6(address) => format!("dnat ip6 to [{address}]:{port}"),
    };
    let lead = |way: &str| format!("\t\tmeta l4proto {transport} {way}\n");
    let Some(seconds) = one.affinity_s else {
        let rule = match endpoints {
            [only] => lead(&to(only)),
            several => {
                let each = several.iter().enumerate();
                let each: Vec<_> =
                    each.map(|(n, (to, port))| format!("{n} : {to} . {port}")).collect();
                let (count, each) = (several.len(), each.join(", "));
                lead(&format!("dnat {word} to numgen random mod {count} map {{ {each} }}"))
            }
        };
        parts.chains.push((chain.to_owned(), rule));
        return;
    };
    let (mut known, mut chance) = (String::new(), Vec::new());
    let kind = if family.four { "ipv4_addr" } else { "ipv6_addr" };
    for (place, endpoint) in endpoints.iter().enumerate() {
        // Colons are no part of names.
        let address = endpoint.0.to_string().replace(':', "_");
        let own = format!("{chain}/{address}/{}", endpoint.1);
        // The time is in the name: a set's cannot be changed.
        let set = format!("clients/{own}/{seconds}");
        let of_set =
            format!("type {kind}; flags dynamic, timeout; timeout {seconds}s; size 65535;");
        parts.sets.push((set.clone(), of_set));
        let remember = format!("\t\tupdate @{set} {{ {word} saddr }}\n");
        parts.chains.push((own.clone(), remember + &lead(&to(endpoint))));
        let _ = writeln!(known, "\t\t{word} saddr @{set} goto {own}");
        chance.push(format!("{place} : goto {own}"));
    }
    let (count, each) = (endpoints.len(), chance.join(", "));
    let _ = writeln!(known, "\t\tnumgen random mod {count} vmap {{ {each} }}");
    parts.chains.push((chain.to_owned(), known));
}

/// Refuses what asks services in vain: what leads somewhere has another address by then. A range's first address is the
/// node's own.
fn refuse(ranges: Option<Ranges>, served: &[Served], parts: &mut Parts) {
    let (mut passing, mut coming, mut going) = (String::new(), String::new(), String::new());
    for range in ranges.into_iter().flat_map(Ranges::all) {
        let word = if range.first().is_ipv4() { "ip" } else { "ip6" };
        let of = format!("{word} daddr {range} {word} daddr != {}", range.first());
        // Nobody but pods and the node has a way to them.
        let others = format!("iifname != \"{PREFIX}*\" iifname != \"lo\"");
        let _ = writeln!(parts.guard, "\t\t{others} {word} daddr {range} drop");
        let _ = writeln!(parts.guard, "\t\t{others} {word} saddr {range} drop");
        for rules in [&mut passing, &mut coming, &mut going] {
            // Who just asks does not hear ICMP for a second, and the node never what it would say to itself.
            let _ = writeln!(rules, "\t\t{of} meta l4proto tcp reject with tcp reset");
            let _ = writeln!(rules, "\t\t{of} reject");
        }
    }
    for family in FAMILIES {
        let in_vain = |one: &&Served| {
            let lacks = !one.endpoints.iter().any(|(address, _)| family.has(*address));
            one.node_port != 0 && lacks && one.addresses.iter().any(|at| family.has(*at))
        };
        let ports: BTreeSet<_> = served
            .iter()
            .filter(in_vain)
            .map(|one| format!("{} . {}", one.transport.word(), one.node_port))
            .collect();
        if !ports.is_empty() {
            let ports = ports.into_iter().collect::<Vec<_>>().join(", ");
            let at = if family.four { "meta nfproto ipv4" } else { "meta nfproto ipv6" };
            let _ = writeln!(
                coming,
                "\t\t{at} ct state new fib daddr type local meta l4proto . th dport {{ {ports} }} reject"
            );
        }
    }
    let hooks = [
        ("refused_passing", "type filter hook forward priority filter", passing),
        ("refused_coming", "type filter hook input priority filter", coming),
        ("refused_going", "type filter hook output priority filter", going),
    ];
    parts.refusing.extend(hooks.into_iter().filter(|(_, _, rules)| !rules.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::PodRange;

    fn served(port: u16, endpoints: &[(&str, u16)]) -> Served {
        Served {
            name: "default/web".into(),
            transport: Transport::Tcp,
            port,
            addresses: vec!["10.189.0.9".parse().unwrap(), "fd6d::9".parse().unwrap()],
            node_port: 0,
            affinity_s: None,
            endpoints: endpoints.iter().map(|(to, port)| (to.parse().unwrap(), *port)).collect(),
        }
    }

    fn ranges() -> Ranges {
        Ranges { v4: PodRange::parse_v4("10.189.0.0/24").unwrap(), v6: None }
    }

    #[test]
    fn without_services_there_are_no_rules() {
        assert_eq!(parts(None, &[]), Parts::default());
        // The node has a way to them still.
        assert_eq!(parts(Some(ranges()), &[]).refusing.len(), 3);
    }

    #[test]
    fn each_family_leads_to_its_own() {
        let one = served(80, &[("10.188.0.1", 8080), ("10.188.0.2", 81), ("fd00::1", 8080)]);
        let parts = parts(Some(ranges()), &[one]);
        assert_eq!(
            parts.leading,
            "\t\tip daddr . meta l4proto . th dport vmap { 10.189.0.9 . tcp . 80 : goto \
             service/default/web/tcp/80/4 }\n\
             \t\tip6 daddr . meta l4proto . th dport vmap { fd6d::9 . tcp . 80 : goto \
             service/default/web/tcp/80/6 }\n"
        );
        assert_eq!(
            parts.chains,
            [
                (
                    "service/default/web/tcp/80/4".into(),
                    "\t\tmeta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.188.0.1 . 8080, \
                     1 : 10.188.0.2 . 81 }\n"
                        .into()
                ),
                (
                    "service/default/web/tcp/80/6".into(),
                    "\t\tmeta l4proto tcp dnat ip6 to [fd00::1]:8080\n".into()
                ),
            ]
        );
    }

    #[test]
    fn what_has_no_endpoint_is_refused_and_leads_nowhere() {
        let one = Served { node_port: 30_080, ..served(80, &[("fd00::1", 8080)]) };
        let parts = parts(Some(ranges()), &[one]);
        assert!(!parts.leading.contains("10.189.0.9"), "{}", parts.leading);
        let of = |name: &str| parts.refusing.iter().find(|part| part.0 == name).unwrap().2.clone();
        let range = "ip daddr 10.189.0.0/24 ip daddr != 10.189.0.1";
        let reset = format!("\t\t{range} meta l4proto tcp reject with tcp reset\n");
        assert_eq!(of("refused_passing"), format!("{reset}\t\t{range} reject\n"));
        assert!(of("refused_going").starts_with(&format!("\t\t{range} meta l4proto tcp reject")));
        let port = "meta nfproto ipv4 ct state new fib daddr type local meta l4proto . th dport { tcp . 30080 } reject";
        assert!(of("refused_coming").contains(port), "{}", of("refused_coming"));
    }

    #[test]
    fn clients_that_stay_are_asked_for_first() {
        let one =
            Served { affinity_s: Some(60), ..served(80, &[("10.188.0.1", 80), ("fd00::1", 80)]) };
        let parts = parts(Some(ranges()), &[one]);
        let set = "clients/service/default/web/tcp/80/4/10.188.0.1/80/60";
        assert_eq!(parts.sets[0].0, set);
        assert!(parts.sets[1].0.contains("/fd00__1/80/60"), "{:?}", parts.sets);
        let chain = &parts.chains.iter().find(|chain| chain.0.ends_with("/80/4")).unwrap().1;
        assert!(chain.starts_with(&format!("\t\tip saddr @{set} goto")), "{chain}");
    }
}
