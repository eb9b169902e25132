use std::collections::BTreeMap;

use mote_protocol::name::Uid;
use mote_protocol::object::{self, ServicePort};
use mote_protocol::pod::{Container, ContainerPort, Port, PortProtocol};
use proptest::prelude::*;

use super::*;
use crate::pod::validate::{NodePolicy, validate};
use crate::pod::{Pod, PodName};

fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn key(name: &str) -> ObjectKey {
    let name = ObjectName::new(name).unwrap();
    ObjectKey { kind: Kind::Service, namespace: namespace("default"), name }
}

/// A pod with the label `app` and a port that is called `web`.
fn pod(of: &str, name: &str, app: &str, change: impl FnOnce(&mut object::Pod)) -> Pod {
    let web = ContainerPort { name: "web".into(), container_port: 8080, ..Default::default() };
    let container = Container {
        name: "main".into(),
        image: "a:1".into(),
        ports: vec![web],
        ..Container::default()
    };
    let mut asked = object::Pod::default();
    asked.meta.labels.insert("app".into(), app.into());
    asked.spec.containers.push(container);
    change(&mut asked);
    let (namespace, name) = (namespace(of), ObjectName::new(name).unwrap());
    let name = PodName { namespace, name, uid: Uid([1; 16]) };
    validate(name, &asked, &NodePolicy::default()).unwrap().pod
}

fn seen(pod: &Pod, last: u8, ready: bool) -> Seen<'_> {
    Seen { pod, addresses: vec![[10, 188, 0, last].into()], ready }
}

fn port(name: &str, port: u16, target: Option<Port>) -> ServicePort {
    ServicePort { name: name.into(), port, target, ..ServicePort::default() }
}

fn accepted(ports: Vec<ServicePort>) -> Accepted {
    let selector = [("app".to_owned(), "a".to_owned())].into();
    let assigned = Assigned { addresses: vec![[10, 189, 0, 9].into()], ..Assigned::default() };
    Accepted { service: Service { ports, selector, ..Service::default() }, assigned }
}

fn of(accepted: Accepted, pods: &[Seen<'_>]) -> Entry {
    table(&BTreeMap::from([(key("web"), accepted)]), pods).services.remove(0)
}

#[test]
fn only_ready_pods_of_the_namespace_and_labels_serve() {
    let (one, unready) = (pod("default", "b", "a", |_| ()), pod("default", "a", "a", |_| ()));
    let (other, elsewhere) = (pod("default", "c", "x", |_| ()), pod("prod", "d", "a", |_| ()));
    let pods = [
        seen(&one, 1, true),
        seen(&unready, 2, false),
        seen(&other, 3, true),
        seen(&elsewhere, 4, true),
    ];
    let entry = of(accepted(vec![port("", 80, None)]), &pods);
    let names: Vec<_> = entry.endpoints.iter().map(|one| (one.pod.as_str(), one.serves)).collect();
    assert_eq!(names, [("a", false), ("b", true)]);
    assert_eq!(entry.behind(0).collect::<Vec<_>>(), [([10, 188, 0, 1].into(), 80)]);
    let mut all = accepted(vec![port("", 80, None)]);
    all.service.publish_not_ready = true;
    assert_eq!(of(all, &pods).behind(0).count(), 2);
}

#[test]
fn a_selector_that_asks_nothing_finds_nobody() {
    let one = pod("default", "one", "a", |_| ());
    let mut nothing = accepted(vec![port("", 80, None)]);
    nothing.service.selector.clear();
    assert_eq!(of(nothing, &[seen(&one, 1, true)]).endpoints, []);
}

#[test]
fn ports_lead_where_each_pod_has_them() {
    let one = pod("default", "one", "a", |_| ());
    let other = pod("default", "other", "a", |pod| {
        pod.spec.containers[0].ports[0].container_port = 9090;
    });
    let none = pod("default", "none", "a", |pod| pod.spec.containers[0].ports.clear());
    let ports = vec![
        port("same", 80, None),
        port("number", 81, Some(Port::Number(7))),
        port("named", 82, Some(Port::Name("web".into()))),
    ];
    let pods = [seen(&one, 1, true), seen(&other, 2, true), seen(&none, 3, true)];
    let entry = of(accepted(ports), &pods);
    let led = |place| entry.behind(place).map(|(_, port)| port).collect::<Vec<_>>();
    assert_eq!((led(0), led(1), led(2)), (vec![80; 3], vec![7; 3], vec![8080, 9090]));
    assert_eq!(entry.served().map(|one| one.endpoints.len()).collect::<Vec<_>>(), [3, 3, 2]);
}

#[test]
fn a_pod_that_names_the_service_is_called_below_it() {
    let name = |subdomain: &'static str| {
        move |pod: &mut object::Pod| {
            pod.spec.network.hostname = "host".into();
            pod.spec.network.subdomain = subdomain.into();
        }
    };
    let below = pod("default", "a", "a", name("web"));
    let beside = pod("default", "b", "a", name("other"));
    let mut headless = accepted(vec![]);
    (headless.service.headless, headless.assigned) = (true, Assigned::default());
    let entry = of(headless, &[seen(&below, 1, true), seen(&beside, 2, true)]);
    let names: Vec<_> = entry.endpoints.iter().map(|one| one.hostname.as_str()).collect();
    assert_eq!(names, ["host", ""]);
    assert_eq!(entry.served().count(), 0, "no address, no rules");
}

#[test]
fn containers_are_told_of_services_as_in_kubernetes() {
    let mut ports = vec![port("http", 80, None), port("dns-udp", 53, None)];
    ports[1].protocol = PortProtocol::Udp;
    let mut services = BTreeMap::from([(key("my-db"), accepted(ports))]);
    let mut headless = accepted(vec![port("", 1, None)]);
    headless.assigned = Assigned::default();
    services.insert(key("none"), headless);
    let table = table(&services, &[]);
    let told = variables(&table, &namespace("default"));
    let told: Vec<String> = told.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        told,
        [
            "MY_DB_SERVICE_HOST=10.189.0.9",
            "MY_DB_SERVICE_PORT=80",
            "MY_DB_SERVICE_PORT_HTTP=80",
            "MY_DB_SERVICE_PORT_DNS_UDP=53",
            "MY_DB_PORT=tcp://10.189.0.9:80",
            "MY_DB_PORT_80_TCP_PROTO=tcp",
            "MY_DB_PORT_80_TCP_PORT=80",
            "MY_DB_PORT_80_TCP_ADDR=10.189.0.9",
            "MY_DB_PORT_80_TCP=tcp://10.189.0.9:80",
            "MY_DB_PORT_53_UDP_PROTO=udp",
            "MY_DB_PORT_53_UDP_PORT=53",
            "MY_DB_PORT_53_UDP_ADDR=10.189.0.9",
            "MY_DB_PORT_53_UDP=udp://10.189.0.9:53",
        ]
    );
    assert_eq!(variables(&table, &namespace("prod")), []);
}

proptest! {
    /// Whoever serves is of the namespace, has the labels and an address, and is ready; whoever is all that
    /// serves.
    #[test]
    fn exactly_those_serve_who_should(
        pods in proptest::collection::vec((any::<bool>(), 0..3_u8, any::<bool>(), any::<bool>()), 0..12),
        asked in 0..3_u8,
        publish in any::<bool>(),
    ) {
        let app = |app: u8| format!("app{app}");
        let of_namespace = |own: bool| if own { "default" } else { "prod" };
        let made: Vec<Pod> = pods
            .iter()
            .enumerate()
            .map(|(n, (own, label, ..))| pod(of_namespace(*own), &format!("p{n:02}"), &app(*label), |_| ()))
            .collect();
        let all: Vec<Seen<'_>> = made
            .iter()
            .zip(&pods)
            .enumerate()
            .map(|(n, (pod, (_, _, ready, has)))| {
                let address = [10, 188, 0, u8::try_from(n).unwrap()].into();
                Seen { pod, addresses: if *has { vec![address] } else { vec![] }, ready: *ready }
            })
            .collect();
        let mut service = accepted(vec![port("", 80, None)]);
        service.service.selector = [("app".to_owned(), app(asked))].into();
        service.service.publish_not_ready = publish;
        let expected: Vec<(IpAddr, u16)> = pods
            .iter()
            .enumerate()
            .filter(|(_, (own, label, ready, has))| *own && *label == asked && (*ready || publish) && *has)
            .map(|(n, _)| ([10, 188, 0, u8::try_from(n).unwrap()].into(), 80))
            .collect();
        prop_assert_eq!(of(service, &all).behind(0).collect::<Vec<_>>(), expected);
    }
}
