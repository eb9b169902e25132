use std::net::IpAddr;

use mote_protocol::object::{FamilyPolicy, IpFamily, Service, ServicePort, ServiceType};
use mote_protocol::pod::{Port, PortProtocol};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{extensions, meta, text};

fn port() -> impl Strategy<Value = ServicePort> {
    let protocol = select(vec![PortProtocol::Tcp, PortProtocol::Udp, PortProtocol::Sctp]);
    let target = prop_oneof![
        (1..=u16::MAX).prop_map(Port::Number),
        "[a-z][a-z0-9]{0,12}".prop_map(Port::Name),
    ];
    (text(), protocol, any::<u16>(), option::of(target), any::<u16>(), text()).prop_map(
        |(name, protocol, port, target, node_port, app_protocol)| ServicePort {
            name,
            protocol,
            port,
            target,
            node_port,
            app_protocol,
        },
    )
}

fn addresses() -> impl Strategy<Value = (Vec<IpAddr>, bool)> {
    prop_oneof![
        vec(any::<IpAddr>(), 0..3).prop_map(|addresses| (addresses, false)),
        Just((Vec::new(), true)),
    ]
}

pub(crate) fn service() -> impl Strategy<Value = Service> {
    let types =
        select(vec![ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::ExternalName]);
    let families = vec(select(vec![IpFamily::Ipv4, IpFamily::Ipv6]), 0..3);
    let policies = select(vec![
        FamilyPolicy::SingleStack,
        FamilyPolicy::PreferDualStack,
        FamilyPolicy::RequireDualStack,
    ]);
    (
        (meta(), types, text(), addresses(), families, policies),
        (vec(port(), 0..4), btree_map(text(), text(), 0..3)),
        (any::<bool>(), option::of(1_u32..), extensions()),
    )
        .prop_map(|(head, (ports, selector), (publish_not_ready, affinity_s, extensions))| {
            let (meta, service_type, external_name, addresses, families, family_policy) = head;
            let (cluster_ips, headless) = addresses;
            Service {
                meta,
                service_type,
                external_name,
                cluster_ips,
                headless,
                families,
                family_policy,
                ports,
                selector,
                publish_not_ready,
                affinity_s,
                extensions,
            }
        })
}
