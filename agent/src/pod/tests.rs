//! Pods for the tests of this module and of others.

use mote_protocol::name::{Namespace, ObjectName, Uid};
use mote_protocol::object::{self, Meta};
use mote_protocol::pod::{self as wire, PodSpec};

use super::spec::{Pod, PodName};
use super::validate::{NodePolicy, validate};

pub(crate) fn name(name: &str) -> PodName {
    PodName {
        namespace: Namespace::new("default").unwrap(),
        name: ObjectName::new(name).unwrap(),
        uid: Uid::from_random([7; 16]),
    }
}

/// A container that runs `run` in an image that is not pulled again.
pub(crate) fn container(name: &str) -> wire::Container {
    wire::Container {
        name: name.into(),
        image: "busybox:1".into(),
        command: vec!["run".into()],
        ..wire::Container::default()
    }
}

pub(crate) fn literal(name: &str, value: &str) -> wire::EnvVar {
    wire::EnvVar { name: name.into(), value: wire::EnvValue::Literal(value.into()) }
}

pub(crate) fn wire_pod(containers: Vec<wire::Container>) -> object::Pod {
    let spec = PodSpec { containers, ..PodSpec::default() };
    object::Pod { meta: Meta::default(), spec, ..object::Pod::default() }
}

pub(crate) fn pod_of(containers: Vec<wire::Container>) -> Pod {
    let mut asked = wire_pod(containers);
    if asked.spec.containers.is_empty() {
        asked.spec.containers.push(container("app"));
    }
    pod_from(&asked)
}

pub(crate) fn pod_from(asked: &object::Pod) -> Pod {
    validate(name("web"), asked, &NodePolicy::default()).expect("valid").pod
}
