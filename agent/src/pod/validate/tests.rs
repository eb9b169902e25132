use super::build::moves;
use super::*;
use crate::pod::enforcement::Right;
use crate::pod::qos;
use crate::pod::tests::{container, name, wire_pod};
use crate::runtime::apparmor::NOT_ENABLED;
use mote_protocol::extension::Extension;
use mote_protocol::pod::{EnvVar, SecurityContext};

pub(super) fn checked(asked: &object::Pod) -> Result<Checked, SpecError> {
    let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let unsafe_sysctls = vec!["vm.*".to_owned(), "net.ipv4.conf.all.forwarding".to_owned()];
    validate(name("web"), asked, &NodePolicy { labels, unsafe_sysctls, ..NodePolicy::default() })
}

/// The same on a node without `AppArmor`, whose operator allows that for some rights.
pub(super) fn lacking(asked: &object::Pod, allowed: &[Right]) -> Result<Checked, SpecError> {
    let lacks = [(Right::AppArmorProfile, NOT_ENABLED)];
    let enforcement = Enforcement::new(lacks, allowed);
    validate(name("web"), asked, &NodePolicy { enforcement, ..NodePolicy::default() })
}

fn first_fault(change: impl FnOnce(&mut object::Pod)) -> (&'static str, String) {
    let mut asked = wire_pod(vec![container("app")]);
    change(&mut asked);
    let fault = checked(&asked).expect_err("must be refused").first;
    (fault.reason, fault.field)
}

/// Fields of everything that is wrong with a pod of one container, `app`.
pub(super) fn faults(change: impl FnOnce(&mut object::Pod)) -> Vec<String> {
    let mut asked = wire_pod(vec![container("app")]);
    change(&mut asked);
    match checked(&asked) {
        Ok(_) => Vec::new(),
        Err(error) => {
            std::iter::once(error.first).chain(error.others).map(|fault| fault.field).collect()
        }
    }
}

#[test]
fn defaults_are_kubernetes_defaults() {
    let pod = checked(&wire_pod(vec![container("app")])).unwrap().pod;
    assert_eq!((pod.grace_s, pod.active_deadline), (30, None));
    assert_eq!(pod.hostname, "web");
    assert_eq!(pod.qos, qos::QosClass::BestEffort);
    assert!(!pod.containers[0].rights.no_new_privileges);
}

#[test]
fn every_fault_is_named_by_its_field() {
    let invalid = |field: &str| ("Invalid", field.to_owned());
    assert_eq!(first_fault(|p| p.spec.containers.clear()), invalid("spec.containers"));
    assert_eq!(
        first_fault(|p| p.spec.containers.push(container("app"))),
        invalid("spec.containers[1].name")
    );
    assert_eq!(
        first_fault(|p| p.spec.init_containers.push(container("app"))),
        invalid("spec.containers[0].name")
    );
    assert_eq!(
        first_fault(|p| p.spec.containers[0].name = "../x".into()),
        invalid("spec.containers[0].name")
    );
    assert_eq!(
        first_fault(|p| p.spec.containers[0].image.clear()),
        invalid("spec.containers[0].image")
    );
    assert_eq!(
        first_fault(|p| p.spec.containers[0].working_dir = "srv".into()),
        invalid("spec.containers[0].workingDir")
    );
    assert_eq!(
        first_fault(|p| p.spec.containers[0].args.push("a\0b".into())),
        invalid("spec.containers[0].args")
    );
    assert_eq!(
        first_fault(|p| p.spec.containers[0].restart_always = true),
        invalid("spec.containers[0].restartPolicy")
    );
    assert_eq!(
        first_fault(|p| p.spec.active_deadline_s = Some(0)),
        invalid("spec.activeDeadlineSeconds")
    );
    assert_eq!(
        first_fault(|p| {
            p.spec.containers[0].requests.memory_bytes = Some(2);
            p.spec.containers[0].limits.memory_bytes = Some(1);
        }),
        invalid("spec.containers[0].resources.requests.memory")
    );
    assert_eq!(
        first_fault(|p| {
            p.spec.containers[0].security_context = SecurityContext {
                privileged: Some(true),
                allow_privilege_escalation: Some(false),
                ..SecurityContext::default()
            };
        }),
        invalid("spec.containers[0].securityContext.allowPrivilegeEscalation")
    );
}

#[test]
fn what_does_not_go_with_users_of_its_own_is_named() {
    let own = |change: fn(&mut object::Pod)| {
        first_fault(|pod| {
            pod.spec.host_users = Some(false);
            change(pod);
        })
    };
    let invalid = |field: &str| ("Invalid", field.to_owned());
    assert_eq!(own(|pod| pod.spec.network.host_network = true), invalid("spec.hostNetwork"));
    assert_eq!(own(|pod| pod.spec.host_pid = true), invalid("spec.hostPID"));
    assert_eq!(own(|pod| pod.spec.host_ipc = true), invalid("spec.hostIPC"));
    assert_eq!(
        own(|pod| pod.spec.security_context.fs_group = Some(65_536)),
        invalid("spec.securityContext.fsGroup")
    );
    assert_eq!(
        own(|pod| pod.spec.containers[0].security_context.run_as_user = Some(u32::MAX)),
        invalid("spec.containers[0].securityContext.runAsUser")
    );
    assert_eq!(
        own(|pod| {
            pod.spec.containers[0].security_context.privileged = Some(true);
            pod.spec.volumes = vec![wire::Volume {
                name: "v".into(),
                source: wire::VolumeSource::EmptyDir { memory: false, size_limit: None },
            }];
            pod.spec.containers[0].volume_mounts = vec![wire::VolumeMount {
                name: "v".into(),
                mount_path: "/v".into(),
                propagation: wire::MountPropagation::Bidirectional,
                ..wire::VolumeMount::default()
            }];
        }),
        invalid("spec.containers[0].volumeMounts[0].mountPropagation")
    );
    let unmasked = |pod: &mut object::Pod| {
        pod.spec.containers[0].security_context.proc_unmasked = true;
    };
    assert_eq!(first_fault(unmasked), invalid("spec.containers[0].securityContext.procMount"));
    let mut asked = wire_pod(vec![container("app")]);
    asked.spec.host_users = Some(false);
    unmasked(&mut asked);
    checked(&asked).expect("both together are what Kubernetes wants");
    let enforcement = |allowed: &[Right]| {
        Enforcement::new([(Right::HostUsers, "this kernel has no user namespaces")], allowed)
    };
    let node = NodePolicy { enforcement: enforcement(&[]), ..NodePolicy::default() };
    let fault = validate(name("web"), &asked, &node).unwrap_err().first;
    assert_eq!((fault.reason, &fault.field[..]), ("Unsupported", "spec.hostUsers"));
    let why = "Cannot give the pod users of its own: this kernel has no user namespaces";
    assert_eq!(fault.message, why);
    let enforcement = enforcement(&[Right::HostUsers]);
    let node = NodePolicy { enforcement, ..NodePolicy::default() };
    let pod = validate(name("web"), &asked, &node).unwrap().pod;
    assert!(!pod.own_users && !pod.containers[0].rights.proc_unmasked, "as little as before");
    assert!(checked(&asked).unwrap().pod.own_users);
}

#[test]
fn all_faults_are_told_at_once() {
    let mut asked = wire_pod(vec![container("app"), container("app")]);
    asked.spec.containers[0].image.clear();
    asked.spec.containers[0].tty = true;
    let error = checked(&asked).unwrap_err();
    assert_eq!(error.first.field, "spec.containers[0].image");
    let fields: Vec<_> = error.others.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(fields, ["spec.containers[1].name", "spec.containers[0].tty"]);
    assert!(error.to_string().contains("spec.containers[0].tty: this version"), "{error}");
}

#[test]
fn ports_of_the_node_have_rules() {
    let port = |host_ip: &str, host_port, container_port| wire::ContainerPort {
        host_ip: host_ip.into(),
        host_port,
        container_port,
        ..wire::ContainerPort::default()
    };
    let told = |ports: Vec<wire::ContainerPort>, host_network, addresses| {
        let mut asked = wire_pod(vec![container("app")]);
        asked.spec.containers[0].ports = ports;
        asked.spec.network.host_network = host_network;
        let node = NodePolicy { addresses, ..NodePolicy::default() };
        let fault = |error: SpecError| (error.first.reason, error.first.field);
        validate(name("web"), &asked, &node).map(|checked| checked.pod.ports.len()).map_err(fault)
    };
    let field = |name: &str| format!("spec.containers[0].ports[0].{name}");
    let (v4, none) = (PodAddresses::V4, PodAddresses::None);
    assert_eq!(told(vec![port("", 80, 8080), port("", 81, 8080)], false, v4), Ok(2));
    assert_eq!(told(vec![port("", 80, 80)], true, none), Ok(0));
    assert_eq!(told(vec![port("", 80, 81)], true, v4), Err(("Invalid", field("hostPort"))));
    assert_eq!(told(vec![port("x", 80, 81)], false, v4), Err(("Invalid", field("hostIP"))));
    assert_eq!(told(vec![port("", 80, 0)], false, v4), Err(("Invalid", field("containerPort"))));
    assert_eq!(told(vec![port("", 80, 80)], false, none), Err(("Unsupported", field("hostPort"))));
    assert_eq!(told(vec![port("fd00::1", 8, 8)], false, v4), Err(("Unsupported", field("hostIP"))));
    let twice = told(vec![port("", 80, 1), port("10.0.0.1", 80, 2)], false, v4);
    assert_eq!(twice, Err(("Invalid", "spec.containers[*].ports[*].hostPort".to_owned())));
}

#[test]
fn what_goes_into_files_about_names_cannot_make_other_lines_of_them() {
    let fault = |change: &dyn Fn(&mut wire::PodNetwork)| {
        let mut asked = wire_pod(vec![container("app")]);
        change(&mut asked.spec.network);
        checked(&asked).map(drop).map_err(|error| error.first.field)
    };
    let dns =
        |change: &dyn Fn(&mut wire::DnsConfig)| fault(&|network| change(&mut network.dns_config));
    let alias =
        |ip: &str, host: &str| wire::HostAlias { ip: ip.into(), hostnames: vec![host.into()] };
    let refused = |field: &str| Err(format!("spec.{field}"));
    assert_eq!(fault(&|network| network.host_aliases = vec![alias("::1", "a.b")]), Ok(()));
    let lines = fault(&|network| network.host_aliases = vec![alias("::1", "a\n1.1.1.1\tb")]);
    assert_eq!(lines, refused("hostAliases[0].hostnames[0]"));
    let ip = fault(&|network| network.host_aliases = vec![alias("::1\n", "a")]);
    assert_eq!(ip, refused("hostAliases[0].ip"));
    assert_eq!(fault(&|network| network.subdomain = "a.b".into()), refused("subdomain"));
    let none = fault(&|network| network.dns_policy = wire::DnsPolicy::None);
    assert_eq!(none, refused("dnsConfig.nameservers"));
    let server = dns(&|dns| dns.nameservers = vec!["1.1.1.1 ".into()]);
    assert_eq!(server, refused("dnsConfig.nameservers[0]"));
    assert_eq!(dns(&|dns| dns.searches = vec![".".into(), "_tcp.a.".into()]), Ok(()));
    let search = dns(&|dns| dns.searches = vec!["a b".into()]);
    assert_eq!(search, refused("dnsConfig.searches[0]"));
    let option = dns(&|dns| dns.options = vec![("ndots".into(), Some("1\nx".into()))]);
    assert_eq!(option, refused("dnsConfig.options[0].value"));
    let long = fault(&|network| {
        network.hostname_as_fqdn = true;
        network.subdomain = "s".repeat(50);
    });
    assert_eq!(long, refused("setHostnameAsFQDN"));
    assert_eq!(fault(&|network| network.subdomain = "s".repeat(50)), Ok(()), "short in the kernel");
}

#[test]
fn a_critical_unknown_extension_is_refused_by_name_and_another_reported() {
    let extension = |critical| Extension { name: "gpu".into(), critical, value: vec![] };
    let fault = first_fault(|p| p.spec.extensions.0.push(extension(true)));
    assert_eq!(fault, ("UnknownExtension", "spec.gpu".to_owned()));
    let mut asked = wire_pod(vec![container("app")]);
    asked.spec.containers[0].extensions.0.push(extension(false));
    assert_eq!(checked(&asked).unwrap().ignored, ["spec.containers[0].gpu"]);
}

#[test]
fn a_selector_must_match_this_node() {
    let fault = first_fault(|p| drop(p.spec.node_selector.insert("zone".into(), "b".into())));
    assert_eq!(fault, ("NodeAffinity", "spec.nodeSelector[zone]".to_owned()));
    let mut asked = wire_pod(vec![container("app")]);
    asked.spec.node_selector.insert("zone".into(), "a".into());
    assert!(checked(&asked).is_ok());
}

#[test]
fn only_moving_tags_are_always_pulled() {
    for (reference, always) in [
        ("busybox", true),
        ("busybox:latest", true),
        ("busybox:1.36", false),
        ("registry:5000/team/app", true),
        ("registry:5000/team/app:v1", false),
        ("busybox@sha256:aa", false),
        ("busybox:latest@sha256:aa", false),
    ] {
        assert_eq!(moves(reference), always, "{reference}");
    }
}

#[test]
fn rights_of_the_container_come_before_those_of_the_pod() {
    let mut asked = wire_pod(vec![container("app")]);
    asked.spec.security_context.run_as_user = Some(1000);
    asked.spec.security_context.fs_group = Some(7);
    asked.spec.security_context.run_as_non_root = Some(true);
    asked.spec.containers[0].security_context.run_as_user = Some(2000);
    asked.spec.containers[0].security_context.capabilities_drop = vec!["CAP_NET_RAW".into()];
    asked.spec.containers[0].env =
        vec![EnvVar { name: "A".into(), value: EnvValue::Literal("1".into()) }];
    let pod = checked(&asked).unwrap().pod;
    let container = &pod.containers[0];
    assert_eq!(container.rights.user, Some(2000));
    assert_eq!(container.rights.supplemental_groups, [7]);
    assert_eq!(container.rights.drop_capabilities, ["NET_RAW"]);
    assert!(container.run_as_non_root);
    assert_eq!(container.env, asked.spec.containers[0].env);
}
