//! Which address and ports of the node a service has.
//!
//! Its name says where to look first, so that nodes of one fleet mostly agree, and one that lost its memory
//! finds the same again. Who was there before stays: what was assigned is kept beside the object.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mote_protocol::name::ObjectKey;
use mote_protocol::object::{
    FamilyPolicy, IpFamily, NODE_PORTS, Service, ServicePort, ServiceType,
};
use serde::{Deserialize, Serialize};

use crate::network::port::{HostPort, Transport};
use crate::network::{PodRange, Ranges};
use crate::pod::fault::Fault;
use crate::pod::ports::transport;

/// What a service has of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Its addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Ports of the node that lead to its ports: what they carry, the service's, the node's.
    pub node_ports: Vec<(Transport, u16, u16)>,
}

impl Assigned {
    /// The node's port that leads to one of the service's; 0 where there is none.
    pub fn node_port(&self, transport: Transport, port: u16) -> u16 {
        let same = |known: &&(Transport, u16, u16)| (known.0, known.1) == (transport, port);
        self.node_ports.iter().find(same).map_or(0, |known| known.2)
    }

    /// Ports of the node that nobody else can have.
    pub fn claimed(&self) -> Vec<HostPort> {
        let claim = |(transport, _, port): &(Transport, u16, u16)| HostPort {
            address: None,
            port: *port,
            transport: *transport,
        };
        self.node_ports.iter().map(claim).collect()
    }
}

/// What others of the node have.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Addresses of services.
    pub addresses: BTreeSet<IpAddr>,
    /// Ports of the node, of pods and of services.
    pub ports: Vec<HostPort>,
}

/// Says what a service has: what it asks for, else what it had, else what nobody has.
///
/// `ranges` are those of the node's services; without any, only services without an address can be.
pub fn assign(
    key: &ObjectKey,
    service: &Service,
    had: &Assigned,
    ranges: Option<Ranges>,
    taken: &Taken,
) -> Result<Assigned, Fault> {
    if service.headless || service.service_type == ServiceType::ExternalName {
        return Ok(Assigned::default());
    }
    let Some(ranges) = ranges else {
        let message =
            "this node has no addresses for services (`network.service_cidr`): use `None`";
        return Err(Fault::invalid("spec.clusterIP", message));
    };
    let mut assigned = Assigned::default();
    for (family, range) in families(service, ranges)? {
        assigned.addresses.push(address(key, service, had, (family, range), taken)?);
    }
    if service.service_type == ServiceType::NodePort {
        let mut taken = taken.ports.clone();
        for (place, port) in service.ports.iter().enumerate() {
            let Some(transport) = transport(port.protocol) else { continue };
            let found = node_port(key, (place, port, transport), had, &taken)?;
            assigned.node_ports.push((transport, port.port, found));
            taken.push(HostPort { address: None, port: found, transport });
        }
    }
    Ok(assigned)
}

/// The families that a service has an address of, with the node's range of each.
fn families(service: &Service, ranges: Ranges) -> Result<Vec<(IpFamily, PodRange)>, Fault> {
    let mut wanted = service.families.clone();
    for address in &service.cluster_ips {
        if !wanted.contains(&IpFamily::of(*address)) {
            wanted.push(IpFamily::of(*address));
        }
    }
    if wanted.is_empty() {
        wanted.push(IpFamily::Ipv4);
    }
    let others = [IpFamily::Ipv4, IpFamily::Ipv6];
    let others: Vec<_> = others.into_iter().filter(|family| !wanted.contains(family)).collect();
    let has = |family| match family {
        IpFamily::Ipv4 => Some(ranges.v4),
        IpFamily::Ipv6 => ranges.v6,
    };
    match service.family_policy {
        FamilyPolicy::SingleStack => {}
        FamilyPolicy::PreferDualStack => {
            wanted.extend(others.into_iter().filter(|family| has(*family).is_some()));
        }
        FamilyPolicy::RequireDualStack => wanted.extend(others),
    }
    let missing = || {
        let message = "this node has no IPv6 addresses for services (`network.service_cidr_v6`)";
        Fault::invalid("spec.ipFamilies", message)
    };
    wanted.into_iter().map(|family| Ok((family, has(family).ok_or_else(missing)?))).collect()
}

fn address(
    key: &ObjectKey,
    service: &Service,
    had: &Assigned,
    (family, range): (IpFamily, PodRange),
    taken: &Taken,
) -> Result<IpAddr, Fault> {
    let of_family = |address: &&IpAddr| IpFamily::of(**address) == family;
    if let Some(asked) = service.cluster_ips.iter().find(of_family) {
        let refuse = |message: String| Err(Fault::invalid("spec.clusterIPs", message));
        if !range.contains(*asked) || *asked == range.first() {
            return refuse(format!(
                "{asked} is none that services of this node have: {range} is theirs"
            ));
        }
        if taken.addresses.contains(asked) {
            return refuse(format!("{asked}: provided IP is already allocated"));
        }
        return Ok(*asked);
    }
    // The first is the node's own, also where that was another in the range of before.
    let usable = |address: &&IpAddr| {
        range.contains(**address)
            && **address != range.first()
            && !taken.addresses.contains(*address)
    };
    if let Some(had) = had.addresses.iter().find(usable) {
        return Ok(*had);
    }
    let mut known = taken.addresses.clone();
    known.insert(range.first());
    let start = range.at(hash(&format!("{}/{}", key.namespace, key.name)));
    range.next_free(Some(start), &known).ok_or_else(|| {
        let message =
            format!("all addresses of {range}, the range of this node's services, are in use");
        Fault::invalid("spec.clusterIP", message)
    })
}

fn node_port(
    key: &ObjectKey,
    (place, port, transport): (usize, &ServicePort, Transport),
    had: &Assigned,
    taken: &[HostPort],
) -> Result<u16, Fault> {
    let field = || format!("spec.ports[{place}].nodePort");
    let is_taken = |port: u16| {
        let wanted = HostPort { address: None, port, transport };
        taken.iter().any(|taken| taken.conflicts(&wanted))
    };
    if port.node_port != 0 {
        if is_taken(port.node_port) {
            let message = format!("{}: provided port is already allocated", port.node_port);
            return Err(Fault::invalid(field(), message));
        }
        return Ok(port.node_port);
    }
    let before = had.node_port(transport, port.port);
    if before != 0 && !is_taken(before) {
        return Ok(before);
    }
    let (first, count) = (*NODE_PORTS.start(), NODE_PORTS.end() - NODE_PORTS.start() + 1);
    let name = format!("{}/{}/{transport:?}/{}", key.namespace, key.name, port.port);
    let start = u16::try_from(hash(&name) % u64::from(count)).unwrap_or(0);
    let mut ports = (0..count).map(|step| first + (start + step) % count);
    ports.find(|port| !is_taken(*port)).ok_or_else(|| {
        Fault::invalid(field(), "all ports of the node that services may have are in use")
    })
}

/// FNV-1a: what it gives for a name must never change, and nobody gains by finding names that meet.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::name::{Kind, Namespace, ObjectName};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn ranges(v4: &str, v6: bool) -> Ranges {
        let v4 = PodRange::parse_v4(v4).unwrap();
        Ranges { v4, v6: v6.then(|| PodRange::parse_v6("fd6d:6f74:65::/112").unwrap()) }
    }

    fn key(name: &str) -> ObjectKey {
        let (namespace, name) = (Namespace::new("default"), ObjectName::new(name));
        ObjectKey { kind: Kind::Service, namespace: namespace.unwrap(), name: name.unwrap() }
    }

    fn of(
        name: &str,
        service: &Service,
        ranges: Ranges,
        taken: &Taken,
    ) -> Result<Assigned, String> {
        let assigned = assign(&key(name), service, &Assigned::default(), Some(ranges), taken);
        assigned.map_err(|fault| fault.to_string())
    }

    fn shown(assigned: Result<Assigned, String>) -> String {
        let addresses = assigned.map(|assigned| assigned.addresses);
        addresses.map_or_else(|fault| fault, |addresses| format!("{addresses:?}"))
    }

    #[test]
    fn a_name_always_gives_the_same_address() {
        // On flash of nobody, but what nodes of a fleet agree on.
        let web = of("web", &Service::default(), ranges("10.189.0.0/24", false), &Taken::default());
        assert_eq!(shown(web), "[10.189.0.229]");
    }

    #[test]
    fn families_are_those_that_are_asked_for_and_that_the_node_has() {
        use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};

        let both = ranges("10.189.0.0/24", true);
        let four = ranges("10.189.0.0/24", false);
        let with = |families: &[IpFamily], family_policy| Service {
            families: families.to_vec(),
            family_policy,
            ..Service::default()
        };
        let count = |service: &Service, ranges| {
            of("web", service, ranges, &Taken::default()).map(|has| has.addresses.len())
        };
        assert_eq!(count(&with(&[], SingleStack), both), Ok(1));
        assert_eq!(count(&with(&[], PreferDualStack), both), Ok(2));
        assert_eq!(count(&with(&[], PreferDualStack), four), Ok(1));
        assert_eq!(count(&with(&[], RequireDualStack), both), Ok(2));
        assert!(count(&with(&[], RequireDualStack), four).is_err());
        assert!(count(&with(&[IpFamily::Ipv6], SingleStack), four).is_err());
        let six = of("web", &with(&[IpFamily::Ipv6], SingleStack), both, &Taken::default());
        assert!(six.unwrap().addresses[0].is_ipv6());
        let headless = Service { headless: true, ..Service::default() };
        assert_eq!(
            assign(&key("web"), &headless, &Assigned::default(), None, &Taken::default()),
            Ok(Assigned::default())
        );
        let none =
            assign(&key("web"), &Service::default(), &Assigned::default(), None, &Taken::default());
        assert_eq!(none.unwrap_err().field, "spec.clusterIP");
    }

    #[test]
    fn what_is_the_nodes_own_in_another_range_is_given_up() {
        let had =
            Assigned { addresses: vec!["10.189.1.1".parse().unwrap()], ..Assigned::default() };
        let keeps = |range| {
            let range = Some(ranges(range, false));
            let taken = Taken::default();
            assign(&key("web"), &Service::default(), &had, range, &taken).map(|has| has == had)
        };
        assert_eq!(keeps("10.189.0.0/20"), Ok(true));
        assert_eq!(keeps("10.189.1.0/24"), Ok(false));
    }

    #[test]
    fn an_address_that_is_asked_for_must_be_free_and_of_the_range() {
        let range = ranges("10.189.0.0/24", false);
        let with = |address: &str| Service {
            cluster_ips: vec![address.parse().unwrap()],
            ..Service::default()
        };
        let taken = Taken { addresses: ["10.189.0.9".parse().unwrap()].into(), ports: vec![] };
        let ask = |address: &str| shown(of("web", &with(address), range, &taken));
        assert_eq!(ask("10.189.0.8"), "[10.189.0.8]");
        assert_eq!(
            ask("10.189.0.9"),
            "spec.clusterIPs: 10.189.0.9: provided IP is already allocated"
        );
        for foreign in ["10.189.0.1", "10.190.0.5"] {
            assert!(ask(foreign).contains("10.189.0.0/24 is theirs"), "{}", ask(foreign));
        }
    }

    #[test]
    fn ports_of_the_node_are_those_asked_for_or_some_that_nobody_has() {
        let range = ranges("10.189.0.0/24", false);
        let port = |node_port| ServicePort { port: 80, node_port, ..ServicePort::default() };
        let with =
            |ports| Service { service_type: ServiceType::NodePort, ports, ..Service::default() };
        let taken_port = HostPort { address: None, port: 30_080, transport: Transport::Tcp };
        let taken = Taken { ports: vec![taken_port], ..Taken::default() };
        let refused = of("web", &with(vec![port(30_080)]), range, &taken).unwrap_err();
        assert_eq!(refused, "spec.ports[0].nodePort: 30080: provided port is already allocated");
        let free = of("web", &with(vec![port(30_081)]), range, &taken).unwrap();
        assert_eq!(free.node_ports, [(Transport::Tcp, 80, 30_081)]);
        let chosen = of("web", &with(vec![port(0)]), range, &Taken::default()).unwrap();
        let (_, _, first) = chosen.node_ports[0];
        assert!(NODE_PORTS.contains(&first));
        let taken = Taken { ports: chosen.claimed(), ..Taken::default() };
        let other = of("web", &with(vec![port(0)]), range, &taken).unwrap();
        assert_ne!(other.node_ports, chosen.node_ports);
        let had =
            assign(&key("other"), &with(vec![port(0)]), &chosen, Some(range), &Taken::default());
        assert_eq!(had.unwrap(), chosen, "what it had, it keeps");
    }

    proptest! {
        /// As services come, change and go in a small range: no two have one address, who has one keeps
        /// it, and nobody is refused while there are some.
        #[test]
        fn addresses_are_of_one_service_and_stay(
            steps in proptest::collection::vec((0..24_u8, any::<bool>()), 1..120),
        ) {
            let range = ranges("10.189.0.0/28", false);
            let mut has: BTreeMap<u8, Assigned> = BTreeMap::new();
            for (which, comes) in steps {
                if !comes {
                    has.remove(&which);
                    continue;
                }
                let others = has.iter().filter(|(other, _)| **other != which);
                let addresses = others.flat_map(|(_, of)| of.addresses.clone()).collect();
                let taken = Taken { addresses, ports: vec![] };
                let had = has.get(&which).cloned().unwrap_or_default();
                let name = format!("s{which}");
                let found = assign(&key(&name), &Service::default(), &had, Some(range), &taken);
                let Ok(assigned) = found else {
                    // All but the node's own.
                    prop_assert_eq!(taken.addresses.len(), 13);
                    continue;
                };
                let address = assigned.addresses[0];
                prop_assert!(range.v4.contains(address) && address != range.v4.first());
                prop_assert!(!taken.addresses.contains(&address));
                prop_assert!(had.addresses.is_empty() || had == assigned);
                has.insert(which, assigned);
            }
        }
    }
}
