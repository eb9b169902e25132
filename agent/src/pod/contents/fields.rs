//! The downward API: what a container may learn of its pod, its limits and its node.

use std::fmt::Write as _;

use mote_protocol::pod::{Amounts, ResourceRef};

use super::{ContentsError, Given};

/// A field that may be asked for by path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPath<'a> {
    /// `metadata.name`.
    Name,
    /// `metadata.namespace`.
    Namespace,
    /// `metadata.uid`.
    Uid,
    /// `metadata.labels['KEY']`.
    Label(&'a str),
    /// `metadata.annotations['KEY']`.
    Annotation(&'a str),
    /// `metadata.labels`.
    Labels,
    /// `metadata.annotations`.
    Annotations,
    /// `spec.nodeName`.
    NodeName,
    /// `spec.serviceAccountName`.
    ServiceAccountName,
    /// `status.hostIP`.
    HostIp,
    /// `status.hostIPs`.
    HostIps,
    /// `status.podIP`.
    PodIp,
    /// `status.podIPs`.
    PodIps,
}

impl<'a> FieldPath<'a> {
    /// Reads a path; none where it is none that can be asked for.
    pub fn parse(path: &'a str) -> Option<Self> {
        let subscript = |rest: &'a str| rest.strip_prefix("['")?.strip_suffix("']");
        Some(match path {
            "metadata.name" => Self::Name,
            "metadata.namespace" => Self::Namespace,
            "metadata.uid" => Self::Uid,
            "metadata.labels" => Self::Labels,
            "metadata.annotations" => Self::Annotations,
            "spec.nodeName" => Self::NodeName,
            "spec.serviceAccountName" => Self::ServiceAccountName,
            "status.hostIP" => Self::HostIp,
            "status.hostIPs" => Self::HostIps,
            "status.podIP" => Self::PodIp,
            "status.podIPs" => Self::PodIps,
            _ => {
                let label = path.strip_prefix("metadata.labels").and_then(subscript);
                let annotation = path.strip_prefix("metadata.annotations").and_then(subscript);
                return label.map(Self::Label).or(annotation.map(Self::Annotation));
            }
        })
    }

    /// A variable can hold it: all but whole maps.
    pub const fn fits_a_variable(self) -> bool {
        !matches!(self, Self::Labels | Self::Annotations)
    }

    /// A file can hold it: what is known before the pod has an address, and never changes but with
    /// the pod's object.
    pub const fn fits_a_file(self) -> bool {
        use FieldPath::{Annotation, Annotations, Label, Labels, Name, Namespace, Uid};
        matches!(self, Name | Namespace | Uid | Labels | Annotations | Label(_) | Annotation(_))
    }

    /// It is told of labels or annotations, which are kept in memory only for those who ask.
    pub const fn is_of_meta(self) -> bool {
        use FieldPath::{Annotation, Annotations, Label, Labels};
        matches!(self, Labels | Annotations | Label(_) | Annotation(_))
    }
}

/// The value of a field for a variable.
pub(super) fn in_variable(path: &str, given: Given<'_>) -> Result<String, ContentsError> {
    let field = FieldPath::parse(path).filter(|field| field.fits_a_variable());
    value(field.ok_or_else(|| unknown(path))?, given)
}

/// The value of a field for a file.
pub(super) fn in_volume(path: &str, given: Given<'_>) -> Result<String, ContentsError> {
    let field = FieldPath::parse(path).filter(|field| field.fits_a_file());
    value(field.ok_or_else(|| unknown(path))?, given)
}

fn unknown(path: &str) -> ContentsError {
    ContentsError::UnknownField { path: path.to_owned() }
}

fn value(field: FieldPath<'_>, given: Given<'_>) -> Result<String, ContentsError> {
    let (pod, node) = (given.pod, given.node);
    let meta = pod.meta.as_deref();
    let single = |map: Option<&std::collections::BTreeMap<String, String>>, key: &str| {
        map.and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    let own = matches!(field, FieldPath::PodIp | FieldPath::PodIps) && !pod.host.network;
    let missing = if own { ContentsError::NoPodAddress } else { ContentsError::NoAddress };
    let addresses = if own { &node.pod_addresses } else { &node.addresses };
    let addresses = || addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(match field {
        FieldPath::Name => pod.name.name.to_string(),
        FieldPath::Namespace => pod.name.namespace.to_string(),
        FieldPath::Uid => pod.name.uid.to_string(),
        FieldPath::Label(key) => single(meta.map(|meta| &meta.labels), key),
        FieldPath::Annotation(key) => single(meta.map(|meta| &meta.annotations), key),
        FieldPath::Labels => lines(meta.map(|meta| &meta.labels)),
        FieldPath::Annotations => lines(meta.map(|meta| &meta.annotations)),
        FieldPath::NodeName => node.name.clone(),
        FieldPath::ServiceAccountName => {
            meta.map(|meta| meta.service_account.clone()).unwrap_or_default()
        }
        FieldPath::HostIp | FieldPath::PodIp => addresses().into_iter().next().ok_or(missing)?,
        FieldPath::HostIps | FieldPath::PodIps => match addresses() {
            none if none.is_empty() => return Err(missing),
            some => some.join(","),
        },
    })
}

/// A map as the kubelet writes it: sorted `key="value"`, one to a line, the last without its end.
fn lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={}", quoted(value));
    map.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

/// A text as Go's `%q` writes it (`strconv.Quote`).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(control));
            }
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// A resource that may be asked for: whether it is a limit, and its name.
pub fn parse_resource(resource: &str) -> Option<(bool, &str)> {
    let (side, name) = resource.split_once('.')?;
    let limit = match side {
        "limits" => true,
        "requests" => false,
        _ => return None,
    };
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage");
    (known || name.starts_with("hugepages-")).then_some((limit, name))
}

/// The value of a `resourceFieldRef`, rounded up; `own` is the container that asks, for itself
/// where it names none.
pub(super) fn resource(
    reference: &ResourceRef,
    own: Option<&str>,
    given: Given<'_>,
) -> Result<String, ContentsError> {
    let unknown = || ContentsError::UnknownResource { resource: reference.resource.clone() };
    let (limit, name) = parse_resource(&reference.resource).ok_or_else(unknown)?;
    let asked = Some(reference.container.as_str()).filter(|name| !name.is_empty()).or(own);
    let asked = asked.unwrap_or_default();
    let container = given.pod.containers.iter().find(|container| container.name == asked);
    let container = container.ok_or_else(|| ContentsError::NoContainer { name: asked.into() })?;
    let amounts = container.amounts.as_deref();
    // A limit of nothing is none; a request of nothing is one.
    let limits = amounts.and_then(|amounts| amount(&amounts.limits, name)).filter(|of| *of > 0);
    let milli = if limit {
        limits.or_else(|| amount(&given.node.allocatable, name)).unwrap_or(0)
    } else {
        // A request that is not set is the limit, as the API server fills it in.
        amounts.and_then(|amounts| amount(&amounts.requests, name)).or(limits).unwrap_or(0)
    };
    let divisor = u128::from(reference.divisor_milli.filter(|one| *one > 0).unwrap_or(1000));
    Ok(milli.div_ceil(divisor).to_string())
}

/// An amount in thousandths of its unit; none where it is not set.
fn amount(amounts: &Amounts, name: &str) -> Option<u128> {
    let whole = |amount: Option<u64>| amount.map(|amount| u128::from(amount) * 1000);
    match name {
        "cpu" => amounts.cpu_milli.map(u128::from),
        "memory" => whole(amounts.memory_bytes),
        "ephemeral-storage" => whole(amounts.ephemeral_bytes),
        other => whole(amounts.others.get(other).copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Library, NodeFacts};
    use super::*;
    use crate::pod::tests::{container, pod_from, wire_pod};
    use mote_protocol::pod::{EnvValue, EnvVar};

    fn asks(field: &str) -> EnvVar {
        EnvVar { name: "A".into(), value: EnvValue::Field(field.into()) }
    }

    fn node() -> NodeFacts {
        NodeFacts {
            name: "pi-7".into(),
            addresses: vec!["10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
            pod_addresses: vec!["10.188.0.1".parse().unwrap(), "fd00:188::1".parse().unwrap()],
            allocatable: Amounts {
                cpu_milli: Some(3900),
                memory_bytes: Some(1 << 30),
                ..Amounts::default()
            },
            services: Vec::new(),
        }
    }

    #[test]
    fn fields_are_told_as_the_kubelet_tells_them() {
        let mut asked = wire_pod(vec![container("app")]);
        asked.spec.containers[0].env = vec![asks("metadata.labels['zone']")];
        asked.spec.service_account_name = "robot".into();
        asked.meta.labels =
            [("zone".into(), "a \"b\"".into()), ("app".into(), "x\ty".into())].into();
        asked.meta.annotations = [("k.io/n".into(), "\u{1}\u{e4}".into())].into();
        let (pod, node, library) = (pod_from(&asked), node(), Library::default());
        let given = Given { pod: &pod, node: &node, library: &library };
        let variable = |path| in_variable(path, given).unwrap();
        assert_eq!(variable("metadata.name"), "web");
        assert_eq!(variable("metadata.namespace"), "default");
        assert_eq!(variable("metadata.uid"), pod.name.uid.to_string());
        assert_eq!(variable("metadata.labels['zone']"), "a \"b\"");
        assert_eq!(variable("metadata.labels['none']"), "");
        assert_eq!(variable("metadata.annotations['k.io/n']"), "\u{1}\u{e4}");
        assert_eq!(variable("spec.nodeName"), "pi-7");
        assert_eq!(variable("spec.serviceAccountName"), "robot");
        assert_eq!(variable("status.hostIP"), "10.0.0.7");
        assert_eq!(variable("status.hostIPs"), "10.0.0.7,2001:db8::7");
        assert_eq!(variable("status.podIP"), "10.188.0.1");
        assert_eq!(variable("status.podIPs"), "10.188.0.1,fd00:188::1");
        let file = |path| in_volume(path, given).unwrap();
        assert_eq!(file("metadata.labels"), "app=\"x\\ty\"\nzone=\"a \\\"b\\\"\"");
        assert_eq!(file("metadata.annotations"), "k.io/n=\"\\x01\u{e4}\"");
        for path in ["metadata.labels", "metadata.label['a']", "spec.volumes", "metadata.labels[a]"]
        {
            assert_eq!(in_variable(path, given), Err(unknown(path)));
        }
        for path in ["status.hostIP", "spec.nodeName", ""] {
            assert_eq!(in_volume(path, given), Err(unknown(path)));
        }
    }

    #[test]
    fn a_node_without_an_address_says_so() {
        let (pod, library) = (pod_from(&wire_pod(vec![container("app")])), Library::default());
        let node = NodeFacts::default();
        let given = Given { pod: &pod, node: &node, library: &library };
        assert_eq!(in_variable("status.hostIP", given), Err(ContentsError::NoAddress));
        assert_eq!(in_variable("status.podIP", given), Err(ContentsError::NoPodAddress));
        let mut pod = pod.clone();
        pod.host.network = true;
        let node = super::super::NodeFacts { addresses: vec!["10.0.0.7".parse().unwrap()], ..node };
        let given = Given { pod: &pod, node: &node, library: &library };
        assert_eq!(in_variable("status.podIP", given).as_deref(), Ok("10.0.0.7"));
    }

    #[test]
    fn resources_are_rounded_up_and_limits_stand_in() {
        let mut asked = wire_pod(vec![container("app"), container("other")]);
        let app = &mut asked.spec.containers[0];
        app.limits.cpu_milli = Some(250);
        app.requests.memory_bytes = Some(33 << 20);
        let reference = |resource: &str, divisor_milli| ResourceRef {
            container: String::new(),
            resource: resource.into(),
            divisor_milli,
        };
        app.requests.ephemeral_bytes = Some(0);
        app.limits.ephemeral_bytes = Some(1 << 20);
        let value = EnvValue::Resource(reference("limits.cpu", None));
        app.env = vec![EnvVar { name: "A".into(), value }];
        let (pod, node, library) = (pod_from(&asked), node(), Library::default());
        let given = Given { pod: &pod, node: &node, library: &library };
        let of = |resource: &str, divisor, own: &str| {
            super::resource(&reference(resource, divisor), Some(own), given)
        };
        assert_eq!(of("limits.cpu", None, "app").unwrap(), "1");
        assert_eq!(of("limits.cpu", Some(1), "app").unwrap(), "250");
        assert_eq!(of("requests.cpu", Some(1), "app").unwrap(), "250");
        assert_eq!(of("requests.memory", Some((1 << 20) * 1000), "app").unwrap(), "33");
        assert_eq!(of("requests.ephemeral-storage", None, "app").unwrap(), "0", "as it says");
        assert_eq!(of("limits.cpu", None, "other").unwrap(), "4", "what the node has");
        assert_eq!(of("limits.memory", None, "other").unwrap(), (1 << 30).to_string());
        assert_eq!(of("requests.memory", None, "other").unwrap(), "0");
        assert!(of("limits.gpu", None, "app").is_err());
        assert!(of("limits.cpu", None, "none").is_err());
    }
}
