//! What nodes of this version cannot do, by field.
//!
//! Nothing that was asked is dropped in silence. A field without which the pod would be less safe
//! or would mean something else is refused; one that changes little is reported as ignored. Nodes
//! judge by this, and the tools of operators tell it beforehand. As nodes learn, lines leave this
//! file.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Amounts, Container, PodSpec, PortProtocol};

/// A field that something is asked of in vain, by its path (`spec.containers[0].tty`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The pod cannot run without it.
    Refused(String),
    /// The pod runs without it.
    Ignored(String),
}

/// Collects what `spec` asks for in vain, in the order of its fields.
pub fn findings(spec: &PodSpec) -> Vec<Finding> {
    let mut found = Findings::default();
    let named = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
    for (list, containers) in named {
        for (place, container) in containers.iter().enumerate() {
            let path = format!("spec.{list}[{place}]");
            found.container(&path, container, spec.network.host_network);
        }
    }
    found.pod(spec);
    found.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn refused(&mut self, asked: bool, path: &str, field: &str) {
        if asked {
            self.0.push(Finding::Refused(format!("{path}.{field}")));
        }
    }

    fn ignored(&mut self, asked: bool, path: &str, field: &str) {
        if asked {
            self.0.push(Finding::Ignored(format!("{path}.{field}")));
        }
    }

    fn container(&mut self, path: &str, container: &Container, host_network: bool) {
        for (place, port) in container.ports.iter().enumerate() {
            // In the host's network the port is the host's already.
            let sctp = port.protocol == PortProtocol::Sctp;
            let mapped = port.host_port != 0 && !host_network && sctp;
            self.refused(mapped, path, &format!("ports[{place}].hostPort"));
        }
        self.amounts(&format!("{path}.resources.requests"), &container.requests);
        self.amounts(&format!("{path}.resources.limits"), &container.limits);
        self.ignored(container.stdin, path, "stdin");
        self.refused(container.tty, path, "tty");
    }

    fn amounts(&mut self, path: &str, amounts: &Amounts) {
        // Each node of a device is a resource of this name.
        for name in amounts.others.keys().filter(|name| !name.starts_with("mote.io/")) {
            self.refused(true, path, name);
        }
    }

    fn pod(&mut self, spec: &PodSpec) {
        self.refused(!matches!(spec.os.as_str(), "" | "linux"), "spec", "os.name");
        self.amounts("spec.overhead", &spec.overhead);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::ContainerPort;
    use super::*;

    fn spec(container: Container) -> PodSpec {
        PodSpec { containers: vec![container], ..PodSpec::default() }
    }

    #[test]
    fn a_plain_pod_asks_for_nothing_in_vain() {
        let ports = vec![ContainerPort { container_port: 80, ..ContainerPort::default() }];
        assert_eq!(findings(&spec(Container { ports, ..Container::default() })), []);
    }

    #[test]
    fn what_changes_the_meaning_is_refused_by_path() {
        let container = Container {
            ports: vec![ContainerPort {
                host_port: 80,
                protocol: PortProtocol::Sctp,
                ..ContainerPort::default()
            }],
            stdin: true,
            tty: true,
            ..Container::default()
        };
        let refused = |field: &str| Finding::Refused(format!("spec.containers[0].{field}"));
        assert_eq!(
            findings(&spec(container)),
            [
                refused("ports[0].hostPort"),
                Finding::Ignored("spec.containers[0].stdin".into()),
                refused("tty"),
            ]
        );
    }
}
