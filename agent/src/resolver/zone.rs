//! The names that this node answers for: its services, and its pods. PURE.
//!
//! ```text
//! NAME.NAMESPACE.svc.DOMAIN               addresses of the service; of its ready pods, where it is headless
//! HOSTNAME.NAME.NAMESPACE.svc.DOMAIN      one pod of a headless service
//! _PORT._PROTOCOL.NAME.NAMESPACE.svc.DOMAIN   where a port is (SRV)
//! 10-188-0-1.NAMESPACE.pod.DOMAIN         a pod by its address
//! ```
//! As Kubernetes' DNS specification 1.1.0 has it. Beside whole names it knows those that a pod would make
//! whole by its `resolv.conf`: `NAME`, `NAME.NAMESPACE`, `NAME.NAMESPACE.svc`. Of these only what is there
//! is ours: whatever else is called so is somebody else's to answer.
//!
//! A pod that looks for `NAME` asks for it below every domain that it searches, and some programs (busybox's
//! `nslookup`) take one answer that it is not there for a failure of all. So to a pod beside the service,
//! `NAME.svc.DOMAIN` and `NAME.DOMAIN` are there, and empty.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mote_protocol::object::ServiceType;

use crate::services::{self, Entry, EntryPort, Table};

/// Says in which namespace the pod is that has an address; nothing of what is no pod's.
pub type Pods<'a> = &'a dyn Fn(IpAddr) -> Option<String>;

/// What a port is asked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name; one without is not found by it.
    pub name: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// Its number there.
    pub number: u16,
}

/// A pod that a headless service leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// `hostname`, where the pod has one and its `subdomain` is the service.
    pub hostname: Option<String>,
    /// All addresses of the pod.
    pub addresses: Vec<IpAddr>,
    /// Ports of the service, with the numbers that they have there.
    pub ports: Vec<Port>,
}

/// Where a service leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// To addresses of its own.
    Cluster {
        /// One for each family.
        addresses: Vec<IpAddr>,
        /// Its ports.
        ports: Vec<Port>,
    },
    /// To its ready pods themselves (`clusterIP: None`).
    Headless(Vec<Endpoint>),
    /// To another name (`ExternalName`).
    External(String),
}

/// What a name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV: a port, and the name it is at.
    Port(u16, String),
    /// PTR.
    Pointer(String),
}

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is not ours to answer.
    Elsewhere,
    /// It is ours, and is not there.
    Nothing,
    /// All that it says, of whatever type; maybe nothing.
    Here(Vec<Data>),
    /// It is another name for this one.
    Alias(String),
}

/// The names of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    domain: String,
    /// By `NAME.NAMESPACE`.
    services: BTreeMap<String, Service>,
    /// Names of addresses.
    pointers: BTreeMap<IpAddr, Vec<String>>,
}

impl Zone {
    /// One without any, below a domain.
    pub fn new(domain: &str) -> Self {
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        let (services, pointers) = Default::default();
        Self { domain, services, pointers }
    }

    /// The names of these services.
    pub fn of(domain: &str, table: &Table) -> Self {
        let mut zone = Self::new(domain);
        for entry in &table.services {
            zone.add_service(entry.namespace.as_str(), entry.name.as_str(), Service::of(entry));
        }
        zone
    }

    /// What all its whole names end in.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Takes in a service.
    pub fn add_service(&mut self, namespace: &str, name: &str, service: Service) {
        let name = format!("{name}.{namespace}");
        let whole = format!("{name}.svc.{}", self.domain);
        match &service {
            Service::Cluster { addresses, .. } => {
                for address in addresses {
                    self.pointers.entry(*address).or_default().push(whole.clone());
                }
            }
            Service::Headless(endpoints) => {
                for endpoint in endpoints {
                    let name = format!("{}.{whole}", endpoint.label());
                    for address in &endpoint.addresses {
                        self.pointers.entry(*address).or_default().push(name.clone());
                    }
                }
            }
            Service::External(_) => {}
        }
        self.services.insert(name, service);
    }

    /// What a name says, in lower case and without the dot at its end, to who has an address.
    pub fn find(&self, name: &str, asker: IpAddr, pods: Pods<'_>) -> Found {
        if let Some(address) = address_in(name) {
            return self.pointers_of(address, pods);
        }
        if let Some(inner) = below(name, &self.domain) {
            let found = self.inside(inner, pods);
            let searched = found == Found::Nothing && self.is_searched(inner, asker, pods);
            return if searched { Found::Here(Vec::new()) } else { found };
        }
        let whole = match name.matches('.').count() {
            0 => match self.beside(name, asker, pods) {
                Some(service) => format!("{service}.svc"),
                None => return Found::Elsewhere,
            },
            1 => format!("{name}.svc"),
            _ if below(name, "svc").is_some() => name.to_owned(),
            _ => return Found::Elsewhere,
        };
        match self.inside(&whole, pods) {
            Found::Here(data) if !data.is_empty() => Found::Here(data),
            Found::Alias(name) => Found::Alias(name),
            _ => Found::Elsewhere,
        }
    }

    /// Whether a name below the domain is what a search makes of the name of a service beside the asker. Who
    /// asks from the node has no namespace: a pod in the node's network may search in any.
    fn is_searched(&self, inner: &str, asker: IpAddr, pods: Pods<'_>) -> bool {
        let name = below(inner, "svc").unwrap_or(inner);
        // Whose pod it is the kernel is asked: not for names that nothing has anywhere.
        let beside = || {
            let namespace = pods(asker);
            namespace.is_none_or(|of| self.services.contains_key(&format!("{name}.{of}")))
        };
        !name.contains('.') && self.is_somewhere(name) && beside()
    }

    /// A service has this name in some namespace.
    fn is_somewhere(&self, name: &str) -> bool {
        let start = format!("{name}.");
        self.services.range(start.clone()..).next().is_some_and(|(one, _)| one.starts_with(&start))
    }

    /// The service of this name in the namespace of who asks.
    fn beside(&self, name: &str, asker: IpAddr, pods: Pods<'_>) -> Option<String> {
        if !self.is_somewhere(name) {
            return None;
        }
        let whole = format!("{name}.{}", pods(asker)?);
        self.services.contains_key(&whole).then_some(whole)
    }

    fn pointers_of(&self, address: IpAddr, pods: Pods<'_>) -> Found {
        match self.pointers.get(&address) {
            Some(names) => Found::Here(names.iter().cloned().map(Data::Pointer).collect()),
            // Nobody else knows it.
            None if pods(address).is_some() => Found::Nothing,
            None => Found::Elsewhere,
        }
    }

    /// What a name below the domain says.
    fn inside(&self, inner: &str, pods: Pods<'_>) -> Found {
        if let Some(rest) = below(inner, "svc") {
            return self.of_services(rest);
        }
        match below(inner, "pod") {
            Some(rest) => of_pods(rest, pods),
            // The domain itself.
            None if inner.is_empty() => Found::Here(Vec::new()),
            None => Found::Nothing,
        }
    }

    fn of_services(&self, rest: &str) -> Found {
        let empty = Found::Here(Vec::new());
        let Some((rest, namespace)) = rest.rsplit_once('.') else {
            let ends = format!(".{rest}");
            let known = rest.is_empty() || self.services.keys().any(|name| name.ends_with(&ends));
            return if known { empty } else { Found::Nothing };
        };
        let (rest, name) = rest.rsplit_once('.').map_or((None, rest), |(a, b)| (Some(a), b));
        let whole = format!("{name}.{namespace}");
        let Some(service) = self.services.get(&whole) else { return Found::Nothing };
        let Some(rest) = rest else { return service.itself() };
        if let Some(endpoint) = service.endpoints().iter().find(|pod| pod.label() == rest) {
            return Found::Here(addresses(&endpoint.addresses));
        }
        let ports = service.ports(&format!("{whole}.svc.{}", self.domain));
        let asked = |port: &Port, text: &str| match text.split_once('.') {
            Some((name, protocol)) => {
                is_called(name, &port.name) && is_called(protocol, port.protocol)
            }
            None => is_called(text, port.protocol),
        };
        let mut ports = ports.into_iter().filter(|(port, _)| asked(port, rest)).peekable();
        if ports.peek().is_none() {
            return Found::Nothing;
        }
        let whole = |_: &(Port, String)| rest.contains('.');
        Found::Here(ports.filter(whole).map(|(port, at)| Data::Port(port.number, at)).collect())
    }
}

impl Service {
    fn of(entry: &Entry) -> Self {
        let named = |port: &EntryPort, number| Port {
            name: port.name.to_ascii_lowercase(),
            protocol: port.transport.word(),
            number,
        };
        if entry.service_type == ServiceType::ExternalName {
            return Self::External(entry.external_name.clone());
        }
        if !entry.headless {
            let ports = entry.ports.iter().map(|port| named(port, port.port)).collect();
            return Self::Cluster { addresses: entry.addresses.clone(), ports };
        }
        let endpoint = |endpoint: &services::Endpoint| {
            let ports = entry.ports.iter().zip(&endpoint.ports);
            Endpoint {
                hostname: Some(&endpoint.hostname).filter(|name| !name.is_empty()).cloned(),
                addresses: endpoint.addresses.clone(),
                ports: ports.filter_map(|(port, number)| Some(named(port, (*number)?))).collect(),
            }
        };
        let serving = entry.endpoints.iter().filter(|endpoint| endpoint.serves);
        Self::Headless(serving.map(endpoint).collect())
    }

    fn itself(&self) -> Found {
        match self {
            Self::Cluster { addresses: own, .. } => Found::Here(addresses(own)),
            Self::Headless(pods) => {
                Found::Here(pods.iter().flat_map(|pod| addresses(&pod.addresses)).collect())
            }
            Self::External(name) => Found::Alias(name.trim_end_matches('.').to_ascii_lowercase()),
        }
    }

    fn endpoints(&self) -> &[Endpoint] {
        if let Self::Headless(endpoints) = self { endpoints } else { &[] }
    }

    /// All ports, with the names that they are at, where the service is called `whole`.
    fn ports(&self, whole: &str) -> Vec<(Port, String)> {
        if let Self::Cluster { ports, .. } = self {
            return ports.iter().map(|port| (port.clone(), whole.to_owned())).collect();
        }
        let at = |pod: &Endpoint| format!("{}.{whole}", pod.label());
        let of_pod = |pod: &Endpoint| {
            let at = at(pod);
            pod.ports.iter().map(|port| (port.clone(), at.clone())).collect::<Vec<_>>()
        };
        self.endpoints().iter().flat_map(of_pod).collect()
    }
}

impl Endpoint {
    /// What comes before the service's name; one without a hostname is called by its address.
    fn label(&self) -> String {
        match (&self.hostname, self.addresses.first()) {
            (Some(hostname), _) => hostname.clone(),
            (None, Some(address)) => address.to_string().replace(['.', ':'], "-"),
            (None, None) => String::new(),
        }
    }
}

fn addresses(addresses: &[IpAddr]) -> Vec<Data> {
    addresses.iter().copied().map(Data::Address).collect()
}

fn of_pods(rest: &str, pods: Pods<'_>) -> Found {
    // A namespace, or all of them.
    let Some((label, namespace)) = rest.rsplit_once('.') else { return Found::Here(Vec::new()) };
    let Ok(address) = label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::from) else {
        return Found::Nothing;
    };
    if pods(address).is_some_and(|known| known == namespace) {
        Found::Here(addresses(&[address]))
    } else {
        Found::Nothing
    }
}

/// Whether a label of a name for SRV is this word.
fn is_called(label: &str, word: &str) -> bool {
    !word.is_empty() && label.strip_prefix('_') == Some(word)
}

/// What stands before a domain, without the dot between; empty for the domain itself.
fn below<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    let rest = name.strip_suffix(domain)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_suffix('.') }
}

/// The address that is asked for backwards.
fn address_in(name: &str) -> Option<IpAddr> {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<_> = rest.rsplit('.').collect();
        return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::from);
    }
    let mut bits = 0_u128;
    let mut digits = 0;
    for digit in name.strip_suffix(".ip6.arpa")?.rsplit('.') {
        let value = u128::from_str_radix(digit, 16).ok().filter(|_| digit.len() == 1)?;
        bits = bits.wrapping_shl(4) | value;
        digits += 1;
    }
    (digits == 32).then(|| Ipv6Addr::from_bits(bits).into())
}
