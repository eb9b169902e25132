//! The page of a service.

use mote_protocol::object::{Service, ServicePort, ServiceType};
use mote_protocol::pod::Port;
use mote_protocol::status::{EndpointStatus, ServiceStatus};

use super::or_none;
use crate::command::get::labels;
use crate::kubernetes::service::{HEADLESS, has_no_port, node_ports};
use crate::output::page::Page;
use crate::output::table::Table;
use crate::view::data::DataView;

/// What stands between its head and its nodes.
pub(super) fn put(page: &mut Page, service: &Service, view: &DataView<'_>) {
    let mut fields = vec![
        ("Selector", labels(Some(&service.selector))),
        ("Type", service.service_type.as_str().to_owned()),
    ];
    if service.service_type == ServiceType::ExternalName {
        fields.push(("External Name", service.external_name.clone()));
    } else if service.headless {
        fields.push(("IP", HEADLESS.to_owned()));
    } else {
        fields.push(("IPs", or_none(view.cluster_ips().join(","))));
    }
    let statuses: Vec<&ServiceStatus> = view.services.iter().map(|(_, status)| status).collect();
    for (port, of_node) in node_ports(service, &statuses) {
        fields.extend(port_fields(port, of_node));
    }
    let affinity = service.affinity_s.map(|seconds| format!("ClientIP ({seconds}s)"));
    fields.push(("Session Affinity", affinity.unwrap_or_else(|| "None".to_owned())));
    page.fields(0, &fields);
    page.line(0, "");
    endpoints(page, service, view);
}

fn port_fields(port: &ServicePort, of_node: Option<u16>) -> Vec<(&'static str, String)> {
    let name = if port.name.is_empty() { "<unset>" } else { port.name.as_str() };
    let protocol = port.protocol.as_str();
    let target = match port.target() {
        Port::Number(number) => number.to_string(),
        Port::Name(name) => name,
    };
    let mut fields = vec![
        ("Port", format!("{name}  {}/{protocol}", port.port)),
        ("TargetPort", format!("{target}/{protocol}")),
    ];
    if let Some(of_node) = of_node {
        fields.push(("NodePort", format!("{name}  {of_node}/{protocol}")));
    }
    fields
}

/// Pods that serve, and those that would.
fn endpoints(page: &mut Page, service: &Service, view: &DataView<'_>) {
    let told = view
        .services
        .iter()
        .flat_map(|(node, status)| status.endpoints.iter().map(move |endpoint| (*node, endpoint)));
    let mut table = Table::with_headings(&["Pod", "Node", "Addresses", "Serves"]);
    let mut found = false;
    for (node, endpoint) in told {
        found = true;
        let (addresses, serves) = (addresses(service, endpoint), serves(service, endpoint));
        table.push(vec![endpoint.pod.clone(), node.to_string(), addresses, serves]);
    }
    if !found {
        page.line(0, "Endpoints:  <none>");
        return;
    }
    page.line(0, "Endpoints:");
    page.table(2, &table);
    for name in nowhere(service, view) {
        page.line(0, &format!("Warning:  no pod has a port named `{name}`"));
    }
}

/// Whether clients are led to a pod, and which ports it does not have.
fn serves(service: &Service, endpoint: &EndpointStatus) -> String {
    let truth = if endpoint.serves && !has_no_port(endpoint) { "True" } else { "False" };
    let missing: Vec<_> = named_ports(service)
        .filter(|(place, _)| lacks(endpoint, *place))
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    if missing.is_empty() {
        return truth.into();
    }
    format!("{truth} (no port named {})", missing.join(", "))
}

/// Names of ports that a service leads to and no pod of those that it finds has; none where a node has more
/// pods than it tells of.
fn nowhere<'s>(service: &'s Service, view: &DataView<'_>) -> Vec<&'s str> {
    let statuses = || view.services.iter().map(|(_, status)| status);
    if statuses().any(|status| usize::from(status.found) > status.endpoints.len()) {
        return Vec::new();
    }
    let lacked =
        |place| statuses().flat_map(|status| &status.endpoints).all(|pod| lacks(pod, place));
    let nowhere = named_ports(service).filter(|(place, _)| lacked(*place));
    let mut names: Vec<_> = nowhere.map(|(_, name)| name).collect();
    names.dedup();
    names
}

/// Ports that a service leads to by their names, with their places.
fn named_ports(service: &Service) -> impl Iterator<Item = (usize, &str)> {
    service.ports.iter().enumerate().filter_map(|(place, port)| match &port.target {
        Some(Port::Name(name)) => Some((place, name.as_str())),
        Some(Port::Number(_)) | None => None,
    })
}

fn lacks(endpoint: &EndpointStatus, place: usize) -> bool {
    endpoint.ports.get(place) == Some(&0)
}

fn addresses(service: &Service, endpoint: &EndpointStatus) -> String {
    let ports = endpoint.ports.iter().filter(|port| **port != 0);
    let each = endpoint.addresses.iter().flat_map(|address| {
        ports.clone().map(move |port| std::net::SocketAddr::new(*address, *port).to_string())
    });
    let mut each: Vec<String> = each.collect();
    each.dedup();
    if service.ports.is_empty() {
        each = endpoint.addresses.iter().map(ToString::to_string).collect();
    }
    if each.is_empty() { "<no such port>".to_owned() } else { each.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::name::{Kind, Namespace, NodeName, ObjectKey, ObjectName};
    use mote_protocol::topic::Scope;

    fn endpoint(pod: &str, ports: &[u16]) -> EndpointStatus {
        let addresses = vec!["10.88.0.2".parse().expect("an address")];
        EndpointStatus { pod: pod.into(), addresses, serves: true, ports: ports.to_vec() }
    }

    /// What is told of the endpoints of a service that leads to ports of these names.
    fn told(names: &[&str], endpoints: Vec<EndpointStatus>) -> String {
        let port = |name: &&str| ServicePort {
            target: Some(Port::Name((*name).into())),
            ..ServicePort::default()
        };
        let service = Service { ports: names.iter().map(port).collect(), ..Service::default() };
        let (namespace, name) = (Namespace::new("default"), ObjectName::new("web"));
        let (namespace, name) = (namespace.expect("label"), name.expect("name"));
        let key = ObjectKey { kind: Kind::Service, namespace, name };
        let node = NodeName::new("pi-7").expect("label");
        let status = ServiceStatus { endpoints, ..ServiceStatus::default() };
        let view = DataView {
            key: &key,
            scope: Scope::All,
            object: None,
            content: None,
            nodes: Vec::new(),
            services: vec![(&node, status)],
        };
        let mut page = Page::default();
        super::endpoints(&mut page, &service, &view);
        page.finish()
    }

    #[test]
    fn a_pod_without_the_port_does_not_serve_and_the_page_says_why() {
        let page = told(&["nope"], vec![endpoint("web", &[0])]);
        assert!(page.contains("<no such port>   False (no port named `nope`)"), "{page}");
        assert!(page.contains("\nWarning:  no pod has a port named `nope`\n"), "{page}");
    }

    #[test]
    fn a_port_that_one_of_several_pods_has_is_served() {
        let page = told(&["http", "nope"], vec![endpoint("a", &[80, 0]), endpoint("b", &[0, 0])]);
        assert!(page.contains("10.88.0.2:80     True (no port named `nope`)"), "{page}");
        assert!(page.contains("False (no port named `http`, `nope`)"), "{page}");
        assert!(!page.contains("no pod has a port named `http`"), "{page}");
        assert!(page.contains("no pod has a port named `nope`"), "{page}");
        assert!(!told(&["nope"], Vec::new()).contains("Warning"), "nobody knows a pod");
    }
}
