//! What of a pod needs a network of the node's.

use mote_protocol::pod::{EnvValue, PodSpec};

use super::{Check, containers};
use crate::pod::fault::Fault;

const NO_ADDRESSES: &str = "pods have no addresses on this node (`network.pod_cidr` is `none`)";

/// Notes what a node whose pods have nothing but localhost cannot do.
pub(super) fn check(check: &mut Check, spec: &PodSpec, addresses: bool) {
    if addresses || spec.network.host_network {
        return;
    }
    for (path, container) in containers(spec) {
        for (place, variable) in container.env.iter().enumerate() {
            let EnvValue::Field(field) = &variable.value else { continue };
            if matches!(field.as_str(), "status.podIP" | "status.podIPs") {
                let field = format!("{path}.env[{place}].valueFrom.fieldRef.fieldPath");
                check.faults.push(unsupported(field));
            }
        }
    }
}

fn unsupported(field: String) -> Fault {
    Fault { reason: "Unsupported", field, message: NO_ADDRESSES.to_owned() }
}
