use super::*;
use crate::object::{BodyError, Intent};
use alloc::vec;

fn web() -> Service {
    let port =
        ServicePort { port: 80, target: Some(Port::Name("http".into())), ..ServicePort::default() };
    let selector = [("app".to_string(), "web".to_string())].into();
    Service { ports: vec![port], selector, ..Service::default() }
}

fn faults(change: impl FnOnce(&mut Service)) -> Vec<String> {
    let mut service = web();
    change(&mut service);
    service.faults().iter().map(|fault| format!("{}: {}", fault.path, fault.problem)).collect()
}

#[test]
fn what_kubernetes_takes_is_taken() {
    let none: Vec<String> = Vec::new();
    assert_eq!(faults(|_| {}), none);
    assert_eq!(faults(|service| service.selector.clear()), none);
    assert_eq!(faults(|service| service.affinity_s = Some(86_400)), none);
    let headless = |service: &mut Service| {
        service.headless = true;
        service.ports.clear();
    };
    assert_eq!(faults(headless), none);
    let by_node = |service: &mut Service| {
        service.service_type = ServiceType::NodePort;
        service.ports[0].node_port = 32_767;
        service.ports.push(ServicePort {
            name: "dns".into(),
            protocol: PortProtocol::Udp,
            port: 80,
            node_port: 32_767,
            ..ServicePort::default()
        });
        service.ports[0].name = "web".into();
    };
    assert_eq!(faults(by_node), none);
    let external = |service: &mut Service| {
        *service = Service {
            service_type: ServiceType::ExternalName,
            external_name: "db.example.org.".into(),
            ..Service::default()
        };
    };
    assert_eq!(faults(external), none);
    let addresses = |service: &mut Service| {
        service.cluster_ips = vec!["10.96.0.9".parse().unwrap(), "fd00::9".parse().unwrap()];
        service.families = vec![IpFamily::Ipv4, IpFamily::Ipv6];
    };
    assert_eq!(faults(addresses), none);
}

#[test]
fn everything_else_is_refused_by_path() {
    type Change = fn(&mut Service);
    let cases: [(&str, Change); 18] = [
        ("spec.ports: ", |s| s.ports.clear()),
        ("spec.ports[0].port: ", |s| s.ports[0].port = 0),
        ("spec.ports[0].name: ", |s| s.ports[0].name = "A".into()),
        ("spec.ports[0].name: ", |s| {
            s.ports.push(ServicePort { name: "b".into(), port: 1, ..s.ports[0].clone() });
        }),
        ("spec.ports[1]: ", |s| {
            s.ports[0].name = "a".into();
            s.ports.push(ServicePort { name: "b".into(), ..s.ports[0].clone() });
        }),
        ("spec.ports[0].protocol: ", |s| s.ports[0].protocol = PortProtocol::Sctp),
        ("spec.ports[0].nodePort: ", |s| s.ports[0].node_port = 30_000),
        ("spec.ports[0].nodePort: ", |s| {
            s.service_type = ServiceType::NodePort;
            s.ports[0].node_port = 8080;
        }),
        ("spec.ports[0].targetPort: ", |s| s.ports[0].target = Some(Port::Number(0))),
        ("spec.ports[0].targetPort: ", |s| s.ports[0].target = Some(Port::Name("a/b".into()))),
        ("spec.clusterIPs[0]: ", |s| {
            s.service_type = ServiceType::NodePort;
            s.headless = true;
        }),
        ("spec.clusterIPs: ", |s| {
            s.headless = true;
            s.cluster_ips = vec!["10.0.0.1".parse().unwrap()];
        }),
        ("spec.clusterIPs[0]: ", |s| s.cluster_ips = vec!["127.0.0.1".parse().unwrap()]),
        ("spec.clusterIPs[1]: ", |s| {
            s.cluster_ips = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        }),
        ("spec.ipFamilies[1]: ", |s| s.families = vec![IpFamily::Ipv4; 2]),
        ("spec.externalName: ", |s| s.external_name = "x".into()),
        ("spec.externalName: ", |s| {
            *s = Service { service_type: ServiceType::ExternalName, ..Service::default() };
        }),
        ("spec.sessionAffinityConfig.clientIP.timeoutSeconds: ", |s| s.affinity_s = Some(0)),
    ];
    for (path, change) in cases {
        let found = faults(change);
        assert!(found.len() == 1 && found[0].starts_with(path), "{path}: {found:?}");
    }
}

#[test]
fn a_hostile_service_is_refused_in_few_words() {
    let many = faults(|service| {
        let port = ServicePort { name: "\u{1b}[2J".repeat(100), ..ServicePort::default() };
        service.ports = vec![port; MAX_SERVICE_PORTS];
    });
    assert_eq!(many.len(), MAX_FAULTS);
    assert!(many.iter().all(|fault| fault.len() < 400 && !fault.contains('\u{1b}')), "{many:?}");
    let long = faults(|service| service.ports = vec![ServicePort::default(); 65]);
    assert_eq!(long, ["spec.ports: 65 items, more than 64"]);
    let Ok(Intent::Apply { schema, body }) = web().to_intent() else { unreachable!("it encodes") };
    assert_eq!(Service::decode(schema, &body), Ok(web()));
    let big = vec![0; 64 * 1024 + 1];
    assert!(matches!(Service::decode(1, &big), Err(BodyError::TooLong { .. })));
}
