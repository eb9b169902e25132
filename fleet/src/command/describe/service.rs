//! The page of a service.

use mote_protocol::object::{Service, ServicePort, ServiceType};
use mote_protocol::pod::Port;
use mote_protocol::status::{EndpointStatus, ServiceStatus};

use super::or_none;
use crate::command::get::labels;
use crate::kubernetes::service::{HEADLESS, node_ports};
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
        let serves = if endpoint.serves { "True" } else { "False" };
        let addresses = addresses(service, endpoint);
        table.push(vec![endpoint.pod.clone(), node.to_string(), addresses, serves.into()]);
    }
    if !found {
        page.line(0, "Endpoints:  <none>");
        return;
    }
    page.line(0, "Endpoints:");
    page.table(2, &table);
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
