//! Devices of the board, asked for as extended resources.

use mote_protocol::pod::{self as wire, Amounts};

use super::Check;
use crate::device;

/// Notes what is wrong with the devices of a pod. Whether the node has them is found out when they
/// are needed: they may be plugged in later.
pub(super) fn check(check: &mut Check, spec: &wire::PodSpec) {
    let lists = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
    for (list, containers) in lists {
        for (place, container) in containers.iter().enumerate() {
            let path = format!("spec.{list}[{place}].resources");
            let (requests, limits) = (&container.requests, &container.limits);
            for (side, amounts) in [("requests", requests), ("limits", limits)] {
                for (name, amount) in devices(amounts) {
                    let path = format!("{path}.{side}.{name}");
                    let valid = device::is_resource(name);
                    check.require(valid, path.clone(), "must be named like a device node");
                    check.require(*amount == 1, path, "must be 1: each node is a resource");
                }
            }
            for (name, amount) in devices(requests) {
                let same = limits.others.get(name) == Some(amount);
                let path = format!("{path}.requests.{name}");
                check.require(same, path, "must be equal to the limit");
            }
        }
    }
}

fn devices(amounts: &Amounts) -> impl Iterator<Item = (&String, &u64)> {
    amounts.others.iter().filter(|(name, _)| name.starts_with(device::PREFIX))
}

/// The devices of a container that was checked.
pub(super) fn of(container: &wire::Container) -> Vec<String> {
    devices(&container.limits).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::faults;

    fn with(name: &str, request: Option<u64>, limit: Option<u64>) -> Vec<String> {
        faults(|pod| {
            let container = &mut pod.spec.containers[0];
            container.requests.others.extend(request.map(|amount| (name.to_owned(), amount)));
            container.limits.others.extend(limit.map(|amount| (name.to_owned(), amount)));
        })
    }

    #[test]
    fn a_device_is_one_and_no_half_of_it_is_asked_for() {
        let name = "mote.io/gpiochip0";
        assert_eq!(with(name, None, Some(1)), [""; 0]);
        assert_eq!(with(name, Some(1), Some(1)), [""; 0]);
        let at = |side: &str| vec![format!("spec.containers[0].resources.{side}.{name}")];
        assert_eq!(with(name, Some(1), None), at("requests"));
        assert_eq!(with(name, None, Some(2)), at("limits"));
        let wrong = with("mote.io/a b", None, Some(1));
        assert_eq!(wrong, ["spec.containers[0].resources.limits.mote.io/a b"]);
        assert_eq!(with("example.com/gpu", None, Some(1)).len(), 1, "others are refused");
    }
}
