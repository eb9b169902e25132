//! Services: one address for those pods of a node that a selector finds.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Meta;
use crate::extension::Extensions;
use crate::limits::{MAX_LABEL, MAX_SELECTOR, MAX_SERVICE_PORTS};
use crate::name::{Namespace, ObjectName};
use crate::pod::{Port, PortProtocol};

/// Ports of the node that services may have, as in Kubernetes.
pub const NODE_PORTS: core::ops::RangeInclusive<u16> = 30_000..=32_767;

/// Seconds for which a client stays with a pod where the object does not say, as in Kubernetes.
pub const AFFINITY_TIMEOUT_S: u32 = 10_800;

/// Longest time for which a client may stay with a pod: a day, as in Kubernetes.
const MAX_AFFINITY_S: u32 = 86_400;

/// Longest name of a port of a container (RFC 6335), which a service may lead to.
const MAX_PORT_NAME: usize = 15;

/// The body of an object of kind [`Kind::Service`](crate::name::Kind::Service).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Labels, annotations, owners.
    pub meta: Meta,
    /// `type`.
    pub service_type: ServiceType,
    /// `externalName`: what the name stands for, of [`ServiceType::ExternalName`] alone.
    pub external_name: String,
    /// `clusterIPs`, as they were asked for: one for each family at most. Where there is none, the node chooses.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`: it has no address, and its name stands for those of its pods.
    pub headless: bool,
    /// `ipFamilies`; the node's where empty.
    pub families: Vec<IpFamily>,
    /// `ipFamilyPolicy`.
    pub family_policy: FamilyPolicy,
    /// `ports`.
    pub ports: Vec<ServicePort>,
    /// `selector`: labels that its pods have. Without any it has no pods.
    pub selector: BTreeMap<String, String>,
    /// `publishNotReadyAddresses`: pods count though they are not ready.
    pub publish_not_ready: bool,
    /// `sessionAffinity: ClientIP`: for how many seconds after its last connection a client stays with a pod.
    pub affinity_s: Option<u32>,
    /// Fields of the future.
    pub extensions: Extensions,
}

/// `type` of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    /// Reached by its own address, from the node and its pods.
    #[default]
    ClusterIp,
    /// By a port of the node as well.
    NodePort,
    /// No pods: another name for a name elsewhere.
    ExternalName,
}

impl ServiceType {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::ExternalName => "ExternalName",
        }
    }
}

/// `ipFamilies[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum IpFamily {
    /// Version 4.
    Ipv4,
    /// Version 6.
    Ipv6,
}

impl IpFamily {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// `ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FamilyPolicy {
    /// One address.
    #[default]
    SingleStack,
    /// One of each family that the node has.
    PreferDualStack,
    /// One of each family, or none at all.
    RequireDualStack,
}

/// `ports[]` of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// `name`; may be empty where there is one port only.
    pub name: String,
    /// `protocol`.
    pub protocol: PortProtocol,
    /// `port`: that of the service's address.
    pub port: u16,
    /// `targetPort`: that of the pods, by number or by its name in their containers' `ports`; the same as `port` where unset.
    pub target: Option<Port>,
    /// `nodePort`; 0: the node chooses, for a service that has one.
    pub node_port: u16,
    /// `appProtocol`.
    pub app_protocol: String,
}

impl ServicePort {
    /// Where it leads to.
    pub fn target(&self) -> Port {
        self.target.clone().unwrap_or(Port::Number(self.port))
    }
}

/// Why a service may not have a name, where it may not: names are found by DNS, which knows labels.
pub fn service_name_fault(name: &ObjectName) -> Option<&'static str> {
    let is_label = Namespace::new(name.as_str()).is_ok();
    (!is_label).then_some("must be a lower case RFC 1123 label of no more than 63 characters")
}

/// What is wrong with a field of a service. Words are those of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceProblem {
    /// It must be there.
    Required,
    /// It has a value that it must not have.
    Invalid {
        /// The value, as JSON.
        value: String,
        /// What it must be.
        detail: String,
    },
    /// Another one has the same.
    Duplicate {
        /// The value.
        value: String,
    },
    /// It must not be there.
    Forbidden {
        /// Why.
        detail: String,
    },
    /// There are too many.
    TooMany {
        /// How many.
        len: usize,
        /// The bound.
        max: usize,
    },
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFault {
    /// Its path (`spec.ports[0].port`).
    pub path: String,
    /// What is wrong with it.
    pub problem: ServiceProblem,
}

impl Service {
    /// Everything for which an API server would refuse it, or a node could not do it.
    pub fn faults(&self) -> Vec<ServiceFault> {
        let mut faults = Faults::default();
        if self.service_type == ServiceType::ExternalName {
            self.check_external_name(&mut faults);
        } else {
            self.check_addresses(&mut faults);
            let rule = "may only be used when `type` is 'ExternalName'";
            faults.forbidden(!self.external_name.is_empty(), "spec.externalName", rule);
            if self.ports.is_empty() && !self.headless {
                faults.push("spec.ports", ServiceProblem::Required);
            }
        }
        self.check_ports(&mut faults);
        if self.selector.len() > MAX_SELECTOR {
            faults.too_many("spec.selector", self.selector.len(), MAX_SELECTOR);
        }
        if let Some(timeout) =
            self.affinity_s.filter(|timeout| !(1..=MAX_AFFINITY_S).contains(timeout))
        {
            let detail = format!("must be greater than 0 and not more than {MAX_AFFINITY_S}");
            faults.invalid(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
                timeout.to_string(),
                detail,
            );
        }
        faults.0
    }

    fn check_external_name(&self, faults: &mut Faults) {
        let (path, name) = ("spec.externalName", &self.external_name);
        let bare = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            faults.push(path, ServiceProblem::Required);
        } else if let Err(error) = ObjectName::new(bare) {
            faults.invalid(path, quoted(name), error.to_string());
        }
        let has_address = self.headless || !self.cluster_ips.is_empty();
        faults.forbidden(
            has_address,
            "spec.clusterIPs",
            "may not be set for ExternalName services",
        );
        faults.forbidden(
            !self.selector.is_empty(),
            "spec.selector",
            "an external name has no pods: nodes would not look for any",
        );
    }

    fn check_addresses(&self, faults: &mut Faults) {
        if self.headless && self.service_type == ServiceType::NodePort {
            let detail = "may not be set to 'None' for NodePort services".into();
            faults.invalid("spec.clusterIPs[0]", quoted("None"), detail);
        }
        faults.forbidden(
            self.headless && !self.cluster_ips.is_empty(),
            "spec.clusterIPs",
            "a service without an address ('None') has no other",
        );
        let mut families = BTreeSet::new();
        for (place, address) in self.cluster_ips.iter().enumerate() {
            let path = format!("spec.clusterIPs[{place}]");
            if is_special(*address) {
                let detail = "must be an address that a service may have".into();
                faults.invalid(&path, quoted(&address.to_string()), detail);
            }
            if !families.insert(IpFamily::of(*address)) {
                let detail = "may only hold one address of each family".into();
                faults.invalid(&path, quoted(&address.to_string()), detail);
            }
        }
        let mut known = BTreeSet::new();
        for (place, family) in self.families.iter().enumerate() {
            if !known.insert(*family) {
                let value = format!("{family:?}");
                faults.push(
                    &format!("spec.ipFamilies[{place}]"),
                    ServiceProblem::Duplicate { value },
                );
            }
        }
        for (place, (address, family)) in self.cluster_ips.iter().zip(&self.families).enumerate() {
            if IpFamily::of(*address) != *family {
                let detail = format!("is not of the family that `spec.ipFamilies[{place}]` says");
                faults.invalid(
                    &format!("spec.clusterIPs[{place}]"),
                    quoted(&address.to_string()),
                    detail,
                );
            }
        }
    }

    fn check_ports(&self, faults: &mut Faults) {
        if self.ports.len() > MAX_SERVICE_PORTS {
            return faults.too_many("spec.ports", self.ports.len(), MAX_SERVICE_PORTS);
        }
        let (mut names, mut numbers, mut node_ports) = Default::default();
        for (place, port) in self.ports.iter().enumerate() {
            let path = format!("spec.ports[{place}]");
            self.check_name(&path, port, &mut names, faults);
            self.check_numbers(&path, port, &mut numbers, &mut node_ports, faults);
            check_target(&path, port, faults);
        }
    }

    fn check_name<'s>(
        &self,
        path: &str,
        port: &'s ServicePort,
        names: &mut BTreeSet<&'s str>,
        faults: &mut Faults,
    ) {
        let path = format!("{path}.name");
        if port.name.is_empty() {
            if self.ports.len() > 1 {
                faults.push(&path, ServiceProblem::Required);
            }
            return;
        }
        if Namespace::new(&port.name).is_err() {
            let detail = "must be a lower case RFC 1123 label".into();
            faults.invalid(&path, quoted(&port.name), detail);
        } else if !names.insert(&port.name) {
            faults.push(&path, ServiceProblem::Duplicate { value: port.name.clone() });
        }
    }

    fn check_numbers(
        &self,
        path: &str,
        port: &ServicePort,
        numbers: &mut BTreeSet<(u8, u16)>,
        node_ports: &mut BTreeSet<(u8, u16)>,
        faults: &mut Faults,
    ) {
        if port.port == 0 {
            let detail = "must be between 1 and 65535, inclusive".into();
            faults.invalid(&format!("{path}.port"), "0".into(), detail);
        } else if !numbers.insert((port.protocol as u8, port.port)) {
            faults.push(path, ServiceProblem::Duplicate { value: shown(port.port, port.protocol) });
        }
        faults.forbidden(
            port.protocol == PortProtocol::Sctp,
            &format!("{path}.protocol"),
            "nodes carry TCP and UDP only",
        );
        let at = format!("{path}.nodePort");
        if port.node_port == 0 {
            return;
        }
        if self.service_type != ServiceType::NodePort {
            faults.forbidden(true, &at, "may only be used when `type` is 'NodePort'");
        } else if !NODE_PORTS.contains(&port.node_port) {
            let (first, last) = (NODE_PORTS.start(), NODE_PORTS.end());
            let detail = format!(
                "provided port is not in the valid range. The range of valid ports is {first}-{last}"
            );
            faults.invalid(&at, port.node_port.to_string(), detail);
        } else if !node_ports.insert((port.protocol as u8, port.node_port)) {
            faults.push(
                &at,
                ServiceProblem::Duplicate { value: shown(port.node_port, port.protocol) },
            );
        }
    }
}

fn check_target(path: &str, port: &ServicePort, faults: &mut Faults) {
    let path = format!("{path}.targetPort");
    match &port.target {
        Some(Port::Number(0)) => {
            faults.invalid(&path, "0".into(), "must be between 1 and 65535, inclusive".into());
        }
        Some(Port::Name(name)) if name.len() > MAX_PORT_NAME || Namespace::new(name).is_err() => {
            let detail = format!(
                "must be a number, or the name of a port: a lower case label of no more than {MAX_PORT_NAME} characters"
            );
            faults.invalid(&path, quoted(name), detail);
        }
        _ => {}
    }
}

/// Whether an address means something else than one machine among others.
fn is_special(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local
}

fn shown(port: u16, protocol: PortProtocol) -> String {
    format!("{port}/{}", protocol.as_str())
}

/// A text as JSON has it, control characters escaped, cut to a readable length.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(MAX_LABEL).collect::<String>())
}

/// Bound for a fault's path and words: whoever is told of a thousand mends none.
const MAX_FAULTS: usize = 32;

#[derive(Default)]
struct Faults(Vec<ServiceFault>);

impl Faults {
    fn push(&mut self, path: &str, problem: ServiceProblem) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(ServiceFault { path: path.into(), problem });
        }
    }

    fn invalid(&mut self, path: &str, value: String, detail: String) {
        self.push(path, ServiceProblem::Invalid { value, detail });
    }

    fn forbidden(&mut self, is: bool, path: &str, detail: &str) {
        if is {
            self.push(path, ServiceProblem::Forbidden { detail: detail.into() });
        }
    }

    fn too_many(&mut self, path: &str, len: usize, max: usize) {
        self.push(path, ServiceProblem::TooMany { len, max });
    }
}

impl core::fmt::Display for ServiceProblem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Required => f.write_str("required value"),
            Self::Invalid { value, detail } => write!(f, "{value}: {detail}"),
            Self::Duplicate { value } => write!(f, "duplicate value `{value}`"),
            Self::Forbidden { detail } => f.write_str(detail),
            Self::TooMany { len, max } => write!(f, "{len} items, more than {max}"),
        }
    }
}

#[cfg(test)]
mod tests;
