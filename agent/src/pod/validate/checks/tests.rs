use super::*;
use crate::pod::fault::SpecError;
use crate::pod::tests::{container, name, pod_from, wire_pod};
use crate::pod::validate::{NodePolicy, validate};
use mote_protocol::object;
use mote_protocol::pod::{ContainerPort, EnvVar, KeyRef};

fn tcp(port: wire::Port) -> wire::Handler {
    wire::Handler::TcpSocket { host: String::new(), port }
}

fn get(port: wire::Port) -> wire::HttpGet {
    let (host, path) = (String::new(), String::new());
    wire::HttpGet { host, port, path, https: false, headers: vec![] }
}

fn probe(handler: wire::Handler) -> wire::Probe {
    wire::Probe {
        handler,
        initial_delay_s: None,
        timeout_s: None,
        period_s: None,
        success_threshold: None,
        failure_threshold: None,
        termination_grace_period_s: None,
    }
}

fn asked(change: impl FnOnce(&mut wire::Container)) -> object::Pod {
    let mut app = container("app");
    change(&mut app);
    wire_pod(vec![app])
}

fn checks(change: impl FnOnce(&mut wire::Container)) -> Checks {
    *pod_from(&asked(change)).containers.remove(0).checks.expect("checks")
}

fn faults_of(asked: &object::Pod) -> Vec<String> {
    let Err(SpecError { first, others }) = validate(name("web"), asked, &NodePolicy::default())
    else {
        return Vec::new();
    };
    std::iter::once(&first).chain(&others).map(ToString::to_string).collect()
}

fn faults(change: impl FnOnce(&mut wire::Container)) -> Vec<String> {
    faults_of(&asked(change))
}

#[test]
fn a_container_without_checks_costs_one_pointer() {
    assert_eq!(pod_from(&asked(|_| {})).containers[0].checks, None);
    assert_eq!(size_of::<Option<Box<Checks>>>(), size_of::<usize>());
}

#[test]
fn unset_and_zero_are_kubernetes_defaults() {
    let expected = Probe {
        handler: Handler::Tcp { host: String::new(), port: Port::Number(80) },
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace_s: None,
    };
    let unset = probe(tcp(wire::Port::Number(80)));
    let zero = wire::Probe {
        initial_delay_s: Some(0),
        timeout_s: Some(0),
        period_s: Some(0),
        success_threshold: Some(0),
        failure_threshold: Some(0),
        ..unset.clone()
    };
    for asked in [unset, zero] {
        let found = checks(|c| c.liveness_probe = Some(asked.clone()));
        assert_eq!(found.probe(ProbeKind::Liveness), Some(&expected));
    }
}

#[test]
fn what_was_written_is_kept() {
    let found = checks(|c| {
        c.startup_probe = Some(wire::Probe {
            handler: wire::Handler::Grpc { port: 9, service: "a.B".into() },
            initial_delay_s: Some(2),
            timeout_s: Some(3),
            period_s: Some(4),
            success_threshold: Some(1),
            failure_threshold: Some(6),
            termination_grace_period_s: Some(7),
        });
        let headers = vec![("A".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())];
        let get = wire::HttpGet { headers, https: true, ..get(wire::Port::Number(443)) };
        c.pre_stop = Some(wire::Handler::HttpGet(get));
        c.post_start = Some(wire::Handler::Sleep(30));
    });
    let startup = found.probe(ProbeKind::Startup).unwrap();
    assert_eq!(startup.handler, Handler::Grpc { port: 9, service: "a.B".into() });
    assert_eq!((startup.initial_delay.as_secs(), startup.timeout.as_secs()), (2, 3));
    assert_eq!((startup.period.as_secs(), startup.failure_threshold), (4, 6));
    assert_eq!(startup.grace_s, Some(7));
    assert_eq!(found.post_start, Some(Handler::Sleep(Duration::from_secs(30))));
    let Some(Handler::Http(get)) = found.pre_stop else { panic!("no request") };
    assert_eq!((get.path.as_str(), get.https, get.headers.len()), ("/", true, 2));
    assert_eq!((found.liveness, found.readiness), (None, None));
}

#[test]
fn a_port_by_name_is_one_of_the_containers_own() {
    let resolved = |name: &str| {
        let found = checks(|c| {
            let port = |name: &str, container_port| ContainerPort {
                name: name.into(),
                container_port,
                ..ContainerPort::default()
            };
            c.ports = vec![port("http", 8080), port("unset", 0)];
            let get = get(wire::Port::Name(name.into()));
            c.readiness_probe = Some(probe(wire::Handler::HttpGet(get)));
        });
        match found.readiness.unwrap().handler {
            Handler::Http(get) => get.port,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(resolved("http"), Port::Number(8080));
    assert_eq!(resolved("81"), Port::Number(81));
    assert_eq!(resolved("metrics"), Port::Unknown("metrics".into()));
    assert_eq!(resolved("unset"), Port::Unknown("unset".into()));
}

#[test]
fn probes_see_literal_variables_and_hooks_do_not() {
    let command: Vec<String> = ["ask", "$(A)", "$(B)", "$$(A)", "$(C)"].map(String::from).into();
    let found = checks(|c| {
        let env = |name: &str, value: &str| EnvVar {
            name: name.into(),
            value: EnvValue::Literal(value.into()),
        };
        c.env = vec![env("A", "old"), env("B", "$(A)"), env("A", "new")];
        c.liveness_probe = Some(probe(wire::Handler::Exec(command.clone())));
        c.pre_stop = Some(wire::Handler::Exec(command.clone()));
    });
    let expanded = ["ask", "new", "$(A)", "$(A)", "$(C)"].map(String::from);
    assert_eq!(found.liveness.unwrap().handler, Handler::Exec(expanded.into()));
    assert_eq!(found.pre_stop, Some(Handler::Exec(command)));
}

#[test]
fn values_from_elsewhere_are_not_expanded() {
    let mut app = container("app");
    app.env = vec![EnvVar { name: "A".into(), value: EnvValue::Secret(KeyRef::default()) }];
    let command = vec!["$(A)".to_owned()];
    assert_eq!(expanded(&command, &app), Ok(command));
}

#[test]
fn a_command_that_names_a_long_value_often_is_refused() {
    let told = |times: usize| {
        faults(|c| {
            let value = EnvValue::Literal("x".repeat(6000));
            c.env = vec![EnvVar { name: "A".into(), value }];
            let command = vec!["ask".to_owned(), "$(A)".repeat(times)];
            c.readiness_probe = Some(probe(wire::Handler::Exec(command)));
        })
    };
    assert_eq!(told(10), [""; 0]);
    let field = "spec.containers[0].readinessProbe.exec.command";
    assert_eq!(told(20), [format!("{field}: has more than 65536 bytes with its variables")]);
}

#[test]
fn every_rule_of_probes_is_told_by_its_field() {
    let liveness = "spec.containers[0].livenessProbe";
    let told = |probe: wire::Probe| faults(|c| c.liveness_probe = Some(probe));
    let good = || probe(tcp(wire::Port::Number(80)));
    assert_eq!(told(good()), [""; 0]);
    let thrice = wire::Probe { success_threshold: Some(3), ..good() };
    assert_eq!(told(thrice.clone()), [format!("{liveness}.successThreshold: must be 1")]);
    let none = wire::Probe { termination_grace_period_s: Some(0), ..good() };
    let field = "terminationGracePeriodSeconds";
    assert_eq!(told(none), [format!("{liveness}.{field}: must be greater than 0")]);
    assert_eq!(faults(|c| c.readiness_probe = Some(thrice.clone())), [""; 0]);
    let graceful = wire::Probe { termination_grace_period_s: Some(5), ..thrice };
    let readiness = "spec.containers[0].readinessProbe";
    let rule = format!("{readiness}.{field}: must not be set for readinessProbes");
    assert_eq!(faults(|c| c.readiness_probe = Some(graceful)), [rule]);
    let nothing = told(probe(wire::Handler::Exec(vec![])));
    assert_eq!(nothing, [format!("{liveness}.exec.command: at least one is required")]);
    let nul = told(probe(wire::Handler::Exec(vec!["a\0".into()])));
    assert_eq!(nul, [format!("{liveness}.exec.command: must not contain NUL")]);
    let sleeps = told(probe(wire::Handler::Sleep(1)));
    assert_eq!(sleeps, [format!("{liveness}: must specify a handler type: no probe sleeps")]);
    let grpc = told(probe(wire::Handler::Grpc { port: 0, service: String::new() }));
    assert_eq!(grpc, [format!("{liveness}.grpc.port: {PORT_RANGE}")]);
    let mut named = get(wire::Port::Name("Web".into()));
    named.headers = vec![("X-A".into(), String::new()), ("X A".into(), String::new())];
    assert_eq!(
        told(probe(wire::Handler::HttpGet(named))),
        [
            format!("{liveness}.httpGet.port: {PORT_NAME}"),
            format!("{liveness}.httpGet.httpHeaders[1].name: {HEADER_NAME}"),
        ]
    );
}

#[test]
fn names_of_ports_are_service_names() {
    for (text, valid) in [
        ("http", true),
        ("a-1", true),
        ("80", true),
        ("0", false),
        ("65536", false),
        ("", false),
        ("a--b", false),
        ("-a", false),
        ("a-", false),
        ("a_b", false),
        ("sixteen-letters-", false),
        ("sixteen-letters1", false),
    ] {
        let port = wire::Port::Name(text.into());
        let told = faults(|c| c.startup_probe = Some(probe(tcp(port))));
        assert_eq!(told.is_empty(), valid, "{text}: {told:?}");
    }
}

#[test]
fn hooks_have_rules_of_their_own() {
    let path = "spec.containers[0].lifecycle.preStop";
    let told = |hook: wire::Handler| faults(|c| c.pre_stop = Some(hook));
    // Nothing runs it, but old manifests have it.
    assert_eq!(told(tcp(wire::Port::Number(80))), [""; 0]);
    let grpc = told(wire::Handler::Grpc { port: 80, service: String::new() });
    assert_eq!(grpc, [format!("{path}: must specify a handler type: no hook speaks gRPC")]);
    let bound = "must be greater than 0 and at most terminationGracePeriodSeconds (30)";
    for seconds in [0, 31] {
        let found = told(wire::Handler::Sleep(seconds));
        assert_eq!(found, [format!("{path}.sleep.seconds: {bound}")]);
    }
    assert_eq!(told(wire::Handler::Sleep(30)), [""; 0]);
    let mut longer = asked(|c| c.pre_stop = Some(wire::Handler::Sleep(31)));
    longer.spec.termination_grace_period_s = Some(31);
    assert_eq!(faults_of(&longer), [""; 0]);
}

#[test]
fn only_sidecars_among_init_containers_have_checks() {
    let mut init = container("init");
    init.liveness_probe = Some(probe(tcp(wire::Port::Number(80))));
    init.post_start = Some(wire::Handler::Sleep(1));
    let mut asked = wire_pod(vec![container("app")]);
    asked.spec.init_containers = vec![init];
    let path = "spec.initContainers[0]";
    assert_eq!(
        faults_of(&asked),
        [
            format!("{path}.livenessProbe: {NOT_REGULAR}"),
            format!("{path}.lifecycle.postStart: {NOT_REGULAR}"),
        ]
    );
    asked.spec.init_containers[0].restart_always = true;
    assert_eq!(faults_of(&asked), [""; 0]);
}
