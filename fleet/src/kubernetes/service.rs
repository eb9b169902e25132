//! `spec` of a Service.

use std::net::IpAddr;

use mote_protocol::object::{
    AFFINITY_TIMEOUT_S, FamilyPolicy, IpFamily, Service, ServicePort, ServiceType,
};
use mote_protocol::status::{EndpointStatus, ServiceStatus};
use serde_json::{Map, Value, json};

use super::field::{Fields, object, put, put_flag, put_inside, read_flag, words};

/// `clusterIP` of a service without an address.
pub const HEADLESS: &str = "None";

words!(ServiceType, shown: |_| true, {
    ClusterIp = "ClusterIP",
    NodePort = "NodePort",
    ExternalName = "ExternalName",
});

words!(IpFamily, shown: |_| true, { Ipv4 = "IPv4", Ipv6 = "IPv6" });

words!(FamilyPolicy, shown: |policy| *policy != Self::SingleStack, {
    SingleStack = "SingleStack",
    PreferDualStack = "PreferDualStack",
    RequireDualStack = "RequireDualStack",
});

object!(ServicePort {
    "name" => name,
    "protocol" => protocol,
    "port" => port as port,
    "targetPort" => target,
    "nodePort" => node_port as port,
    "appProtocol" => app_protocol,
});

/// Words of `sessionAffinity`: without, and with.
const AFFINITY: [&str; 2] = ["None", "ClientIP"];

/// Reads a Service's own fields.
pub fn read_service(fields: &mut Fields<'_, '_>) -> Service {
    let mut service = Service::default();
    fields.inside("spec", |spec| {
        spec.set("type", &mut service.service_type);
        spec.set("externalName", &mut service.external_name);
        read_addresses(spec, &mut service);
        spec.set("ipFamilies", &mut service.families);
        spec.set("ipFamilyPolicy", &mut service.family_policy);
        spec.set("ports", &mut service.ports);
        spec.set("selector", &mut service.selector);
        spec.set("publishNotReadyAddresses", &mut service.publish_not_ready);
        read_affinity(spec, &mut service);
        // All pods of a service are on the node that was asked, so that these say what it does anyway.
        spec.skip(&["externalTrafficPolicy", "internalTrafficPolicy", "trafficDistribution"]);
        spec.unsupported(&["allocateLoadBalancerNodePorts", "healthCheckNodePort"]);
        spec.refused(&[
            "externalIPs",
            "loadBalancerClass",
            "loadBalancerIP",
            "loadBalancerSourceRanges",
        ]);
    });
    service
}

fn read_addresses(spec: &mut Fields<'_, '_>, service: &mut Service) {
    let first: Option<String> = spec.get("clusterIP").filter(|text: &String| !text.is_empty());
    let mut all: Vec<String> = spec.get("clusterIPs").unwrap_or_default();
    let at = spec.at();
    match (&first, all.first()) {
        (Some(first), Some(other)) if first != other => {
            let detail = "first value must match `clusterIP`";
            spec.findings().invalid_text(at.field("clusterIPs").index(0), other, detail);
        }
        (Some(first), None) => all.push(first.clone()),
        _ => {}
    }
    for (place, text) in all.iter().enumerate() {
        match text.parse::<IpAddr>() {
            Ok(address) => service.cluster_ips.push(address),
            Err(_) if text == HEADLESS => service.headless = true,
            Err(_) => {
                let at = at.field("clusterIPs");
                let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                spec.findings().invalid_text(at.index(place), text, detail);
            }
        }
    }
}

fn read_affinity(spec: &mut Fields<'_, '_>, service: &mut Service) {
    let wanted = read_flag(spec, "sessionAffinity", AFFINITY);
    let mut timeout = None;
    spec.inside("sessionAffinityConfig", |config| {
        config.inside("clientIP", |client| timeout = client.get("timeoutSeconds"));
    });
    let at = spec.at();
    if !wanted && timeout.is_some() {
        let detail = "must not be set when session affinity is None";
        spec.findings().forbidden(at.field("sessionAffinityConfig"), detail);
    }
    service.affinity_s = wanted.then(|| timeout.unwrap_or(AFFINITY_TIMEOUT_S));
}

/// Ports of a service, each with the node's that leads to it: what was asked for, or what nodes chose.
///
/// Nodes tell numbers without protocols, in the order of the ports: the second 53 that they tell is of
/// the second port 53.
pub fn node_ports<'s>(
    service: &'s Service,
    statuses: &[&ServiceStatus],
) -> Vec<(&'s ServicePort, Option<u16>)> {
    let each = service.ports.iter().enumerate().map(|(place, port)| {
        let before = service.ports.iter().take(place);
        let nth = before.filter(|other| other.port == port.port).count();
        let chosen = statuses.iter().find_map(|status| {
            let mut same = status.node_ports.iter().filter(|(of, _)| *of == port.port);
            same.nth(nth).map(|(_, of_node)| *of_node)
        });
        (port, Some(port.node_port).filter(|asked| *asked != 0).or(chosen))
    });
    each.collect()
}

/// Pods that serve at least one port. One that is led to and has none of the ports serves nobody.
pub fn serving(status: &ServiceStatus) -> u16 {
    let idle = status.endpoints.iter().filter(|endpoint| endpoint.serves && has_no_port(endpoint));
    status.serving.saturating_sub(u16::try_from(idle.count()).unwrap_or(u16::MAX))
}

/// Whether a pod has none of the ports that a service leads to.
pub fn has_no_port(endpoint: &EndpointStatus) -> bool {
    !endpoint.ports.is_empty() && endpoint.ports.iter().all(|port| *port == 0)
}

/// Ports as one word: `80:30080/TCP,53/UDP`.
pub fn port_list(service: &Service, statuses: &[&ServiceStatus]) -> String {
    let each = node_ports(service, statuses).into_iter().map(|(port, of_node)| {
        let protocol = port.protocol.as_str();
        match of_node {
            Some(of_node) => format!("{}:{of_node}/{protocol}", port.port),
            None => format!("{}/{protocol}", port.port),
        }
    });
    let each: Vec<_> = each.collect();
    if each.is_empty() { "<none>".into() } else { each.join(",") }
}

/// Shows the addresses that nodes chose, where all chose the same.
pub fn put_chosen(object: &mut Map<String, Value>, statuses: &[&ServiceStatus]) {
    let Some(first) = statuses.first().map(|status| &status.addresses) else { return };
    let agreed = statuses.iter().all(|status| status.addresses == *first);
    let spec = object.get_mut("spec").and_then(Value::as_object_mut);
    let (Some(spec), true, Some(address)) = (spec, agreed, first.first()) else { return };
    spec.insert("clusterIP".into(), address.to_string().into());
    let all: Vec<String> = first.iter().map(ToString::to_string).collect();
    spec.insert("clusterIPs".into(), all.into());
}

/// `clusterIPs`, as they were asked for.
pub fn asked_addresses(service: &Service) -> Vec<String> {
    if service.headless {
        return vec![HEADLESS.into()];
    }
    service.cluster_ips.iter().map(ToString::to_string).collect()
}

/// Writes what [`read_service`] reads.
pub fn put_service(object: &mut Map<String, Value>, service: &Service) {
    let mut spec = Map::new();
    put(&mut spec, "type", &service.service_type);
    put(&mut spec, "externalName", &service.external_name);
    let addresses = asked_addresses(service);
    put(&mut spec, "clusterIP", &addresses.first().cloned().unwrap_or_default());
    put(&mut spec, "clusterIPs", &addresses);
    put(&mut spec, "ipFamilies", &service.families);
    put(&mut spec, "ipFamilyPolicy", &service.family_policy);
    put(&mut spec, "ports", &service.ports);
    put(&mut spec, "selector", &service.selector);
    put(&mut spec, "publishNotReadyAddresses", &service.publish_not_ready);
    put_flag(&mut spec, "sessionAffinity", AFFINITY, service.affinity_s.is_some());
    if let Some(timeout) = service.affinity_s {
        let config = json!({ "clientIP": { "timeoutSeconds": timeout } });
        spec.insert("sessionAffinityConfig".into(), config);
    }
    put_inside(object, "spec", spec);
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::pod::PortProtocol;

    #[test]
    fn a_pod_without_the_ports_serves_nobody() {
        let endpoint = |serves, ports: &[u16]| EndpointStatus {
            serves,
            ports: ports.to_vec(),
            ..EndpointStatus::default()
        };
        let told = |endpoints: &[EndpointStatus]| ServiceStatus {
            serving: 20,
            found: 30,
            endpoints: endpoints.to_vec(),
            ..ServiceStatus::default()
        };
        assert_eq!(serving(&told(&[])), 20);
        // Without ports it stands for the pods themselves; some of several are enough.
        assert_eq!(serving(&told(&[endpoint(true, &[]), endpoint(true, &[0, 80])])), 20);
        assert_eq!(serving(&told(&[endpoint(true, &[0, 0]), endpoint(true, &[0])])), 18);
        assert_eq!(serving(&told(&[endpoint(false, &[0])])), 20, "it is not counted anyway");
    }

    #[test]
    fn one_number_of_two_protocols_has_a_port_of_the_node_for_each() {
        let port = |port, protocol| ServicePort { port, protocol, ..ServicePort::default() };
        let mut service = Service {
            service_type: ServiceType::NodePort,
            ports: vec![
                port(53, PortProtocol::Tcp),
                port(80, PortProtocol::Tcp),
                port(53, PortProtocol::Udp),
            ],
            ..Service::default()
        };
        let told = |node_ports: &[(u16, u16)]| ServiceStatus {
            node_ports: node_ports.to_vec(),
            ..ServiceStatus::default()
        };
        let (first, second) = (
            told(&[(53, 30_001), (80, 30_002), (53, 30_003)]),
            told(&[(53, 30_011), (80, 30_012), (53, 30_013)]),
        );
        let all = "53:30001/TCP,80:30002/TCP,53:30003/UDP";
        assert_eq!(port_list(&service, &[&first, &second]), all);
        // One that tells nothing, or not yet of all, leaves it to the next.
        let (nothing, less) = (ServiceStatus::default(), told(&[(53, 30_021)]));
        assert_eq!(port_list(&service, &[&nothing, &first]), all);
        assert_eq!(port_list(&service, &[&less, &first]), "53:30021/TCP,80:30002/TCP,53:30003/UDP");
        assert_eq!(port_list(&service, &[&nothing]), "53/TCP,80/TCP,53/UDP");
        // Ports that were asked for are told as well, and count.
        if let Some(tcp) = service.ports.first_mut() {
            tcp.node_port = 30_001;
        }
        assert_eq!(port_list(&service, &[&first]), all);
    }
}
