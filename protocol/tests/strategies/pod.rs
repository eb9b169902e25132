//! Any specification of a pod.

use mote_protocol::pod::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{extensions, name, text};

/// Greatest amount that Kubernetes' notation has.
const MAX_AMOUNT: u64 = i64::MAX as u64;

fn amount() -> BoxedStrategy<u64> {
    prop_oneof![0..5000_u64, (0..4096_u64).prop_map(|mebi| mebi << 20), 0..=MAX_AMOUNT].boxed()
}

fn amounts() -> impl Strategy<Value = Amounts> {
    let others = btree_map("[a-z]{1,5}/[a-z]{1,5}", amount(), 0..2);
    (option::of(amount()), option::of(amount()), option::of(amount()), others).prop_map(
        |(cpu_milli, memory_bytes, ephemeral_bytes, others)| Amounts {
            cpu_milli,
            memory_bytes,
            ephemeral_bytes,
            others,
        },
    )
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

fn pull_policy() -> impl Strategy<Value = Option<ImagePullPolicy>> {
    use ImagePullPolicy::{Always, IfNotPresent, Never};
    option::of(select(vec![Always, IfNotPresent, Never]))
}

fn resource_ref() -> impl Strategy<Value = ResourceRef> {
    (text(), name(), option::of(1..=MAX_AMOUNT)).prop_map(|(container, resource, divisor_milli)| {
        ResourceRef { container, resource, divisor_milli }
    })
}

fn env() -> impl Strategy<Value = EnvVar> {
    let key = || {
        (text(), text(), any::<bool>()).prop_map(|(name, key, optional)| KeyRef {
            name,
            key,
            optional,
        })
    };
    let value = prop_oneof![
        text().prop_map(EnvValue::Literal),
        text().prop_map(EnvValue::Field),
        resource_ref().prop_map(EnvValue::Resource),
        key().prop_map(EnvValue::ConfigMap),
        key().prop_map(EnvValue::Secret),
    ];
    (text(), value).prop_map(|(name, value)| EnvVar { name, value })
}

fn env_from() -> impl Strategy<Value = EnvFrom> {
    (text(), any::<bool>(), text(), any::<bool>())
        .prop_map(|(prefix, secret, name, optional)| EnvFrom { prefix, secret, name, optional })
}

fn container_port() -> impl Strategy<Value = ContainerPort> {
    let protocol = select(vec![PortProtocol::Tcp, PortProtocol::Udp, PortProtocol::Sctp]);
    (text(), any::<u16>(), any::<u16>(), text(), protocol).prop_map(
        |(name, container_port, host_port, host_ip, protocol)| ContainerPort {
            name,
            container_port,
            host_port,
            host_ip,
            protocol,
        },
    )
}

fn port() -> impl Strategy<Value = Port> {
    prop_oneof![(1..=u16::MAX).prop_map(Port::Number), "[a-z]{1,15}".prop_map(Port::Name)]
}

fn command() -> impl Strategy<Value = Handler> {
    vec(text(), 1..3).prop_map(Handler::Exec)
}

fn http() -> impl Strategy<Value = Handler> {
    let headers = vec((text(), text()), 0..2);
    (text(), port(), text(), any::<bool>(), headers).prop_map(
        |(host, port, path, https, headers)| {
            Handler::HttpGet(HttpGet { host, port, path, https, headers })
        },
    )
}

fn tcp() -> impl Strategy<Value = Handler> {
    (text(), port()).prop_map(|(host, port)| Handler::TcpSocket { host, port })
}

fn probe() -> impl Strategy<Value = Probe> {
    let grpc = (1..=u16::MAX, text()).prop_map(|(port, service)| Handler::Grpc { port, service });
    let seconds = || option::of(any::<u32>());
    let handler = prop_oneof![command(), http(), tcp(), grpc];
    (handler, seconds(), seconds(), seconds(), seconds(), seconds(), seconds()).prop_map(
        |(handler, initial, timeout, period, success, failure, grace)| Probe {
            handler,
            initial_delay_s: initial,
            timeout_s: timeout,
            period_s: period,
            success_threshold: success,
            failure_threshold: failure,
            termination_grace_period_s: grace,
        },
    )
}

fn hook() -> impl Strategy<Value = Handler> {
    prop_oneof![command(), http(), tcp(), any::<u32>().prop_map(Handler::Sleep)]
}

fn profile() -> impl Strategy<Value = Option<SecurityProfile>> {
    let local = text().prop_map(SecurityProfile::Localhost);
    option::of(prop_oneof![
        Just(SecurityProfile::RuntimeDefault),
        Just(SecurityProfile::Unconfined),
        local
    ])
}

fn security() -> impl Strategy<Value = SecurityContext> {
    let id = || option::of(any::<u32>());
    let truth = || option::of(any::<bool>());
    let ids = (id(), id(), truth(), truth(), truth(), truth());
    (ids, texts(), texts(), any::<bool>(), profile(), profile()).prop_map(
        |(
            (user, group, non_root, privileged, escalation, read_only),
            add,
            drop,
            unmasked,
            seccomp,
            app_armor,
        )| {
            SecurityContext {
                run_as_user: user,
                run_as_group: group,
                run_as_non_root: non_root,
                privileged,
                allow_privilege_escalation: escalation,
                read_only_root_filesystem: read_only,
                capabilities_add: add,
                capabilities_drop: drop,
                proc_unmasked: unmasked,
                seccomp_profile: seccomp,
                app_armor_profile: app_armor,
            }
        },
    )
}

fn pod_security() -> impl Strategy<Value = PodSecurityContext> {
    let id = || option::of(any::<u32>());
    let ids = (id(), id(), option::of(any::<bool>()), vec(any::<u32>(), 0..3), id());
    let sysctls = vec((text(), text()), 0..2);
    (ids, any::<bool>(), sysctls, profile(), profile()).prop_map(
        |((user, group, non_root, groups, fs_group), on_mismatch, sysctls, seccomp, app_armor)| {
            PodSecurityContext {
                run_as_user: user,
                run_as_group: group,
                run_as_non_root: non_root,
                supplemental_groups: groups,
                fs_group,
                fs_group_on_root_mismatch: on_mismatch,
                sysctls,
                seccomp_profile: seccomp,
                app_armor_profile: app_armor,
            }
        },
    )
}

fn mount() -> impl Strategy<Value = VolumeMount> {
    use MountPropagation::{Bidirectional, HostToContainer, Private};
    let propagation = select(vec![Private, HostToContainer, Bidirectional]);
    (text(), text(), text(), text(), any::<bool>(), propagation).prop_map(
        |(name, mount_path, sub_path, sub_path_expr, read_only, propagation)| VolumeMount {
            name,
            mount_path,
            sub_path,
            sub_path_expr,
            read_only,
            propagation,
        },
    )
}

fn mode() -> impl Strategy<Value = Option<u16>> {
    option::of(any::<u16>())
}

fn projection() -> impl Strategy<Value = Projection> {
    let item = (text(), text(), mode()).prop_map(|(key, path, mode)| KeyToPath { key, path, mode });
    (text(), vec(item, 0..2), mode(), any::<bool>()).prop_map(
        |(name, items, default_mode, optional)| Projection { name, items, default_mode, optional },
    )
}

fn downward() -> impl Strategy<Value = Vec<DownwardItem>> {
    let value = prop_oneof![
        text().prop_map(DownwardValue::Field),
        resource_ref().prop_map(DownwardValue::Resource)
    ];
    let item =
        (text(), value, mode()).prop_map(|(path, value, mode)| DownwardItem { path, value, mode });
    vec(item, 0..2)
}

fn source() -> impl Strategy<Value = VolumeSource> {
    use HostPathType::{
        BlockDevice, CharDevice, Directory, DirectoryOrCreate, File, FileOrCreate, Socket, Unset,
    };
    let kinds = vec![
        Unset,
        DirectoryOrCreate,
        Directory,
        FileOrCreate,
        File,
        Socket,
        CharDevice,
        BlockDevice,
    ];
    let projected = prop_oneof![
        projection().prop_map(ProjectedSource::ConfigMap),
        projection().prop_map(ProjectedSource::Secret),
        downward().prop_map(ProjectedSource::DownwardApi),
    ];
    prop_oneof![
        (any::<bool>(), option::of(amount()))
            .prop_map(|(memory, size_limit)| VolumeSource::EmptyDir { memory, size_limit }),
        ("/[a-z/.]{0,8}", select(kinds))
            .prop_map(|(path, kind)| VolumeSource::HostPath { path, kind }),
        projection().prop_map(VolumeSource::ConfigMap),
        projection().prop_map(VolumeSource::Secret),
        (downward(), mode())
            .prop_map(|(items, default_mode)| VolumeSource::DownwardApi { items, default_mode }),
        (vec(projected, 0..2), mode())
            .prop_map(|(sources, default_mode)| VolumeSource::Projected { sources, default_mode }),
        (name(), pull_policy())
            .prop_map(|(reference, pull_policy)| VolumeSource::Image { reference, pull_policy }),
    ]
}

fn volume() -> impl Strategy<Value = Volume> {
    (text(), source()).prop_map(|(name, source)| Volume { name, source })
}

fn container() -> BoxedStrategy<Container> {
    use TerminationMessagePolicy::{FallbackToLogsOnError, File};
    let process = (text(), text(), pull_policy(), texts(), texts(), text());
    let lists = (vec(env(), 0..2), vec(env_from(), 0..2), vec(container_port(), 0..2));
    let rest = (amounts(), amounts(), vec(mount(), 0..2), security());
    let probes = (option::of(probe()), option::of(probe()), option::of(probe()));
    let signal = option::of(prop_oneof![1..=31_u8, 34..=64_u8]);
    let hooks = (option::of(hook()), option::of(hook()), signal);
    let policy = select(vec![File, FallbackToLogsOnError]);
    let end = (option::of(text()), policy, any::<bool>(), any::<bool>(), any::<bool>());
    (process, lists, rest, probes, hooks, end, extensions())
        .prop_map(|(process, lists, rest, probes, hooks, end, extensions)| Container {
            name: process.0,
            image: process.1,
            image_pull_policy: process.2,
            command: process.3,
            args: process.4,
            working_dir: process.5,
            env: lists.0,
            env_from: lists.1,
            ports: lists.2,
            requests: rest.0,
            limits: rest.1,
            volume_mounts: rest.2,
            security_context: rest.3,
            liveness_probe: probes.0,
            readiness_probe: probes.1,
            startup_probe: probes.2,
            post_start: hooks.0,
            pre_stop: hooks.1,
            stop_signal: hooks.2,
            termination_message_path: end.0,
            termination_message_policy: end.1,
            restart_always: end.2,
            tty: end.3,
            stdin: end.4,
            extensions,
        })
        .boxed()
}

fn network() -> impl Strategy<Value = PodNetwork> {
    use DnsPolicy::{ClusterFirst, ClusterFirstWithHostNet, Default, None};
    let alias = (text(), texts()).prop_map(|(ip, hostnames)| HostAlias { ip, hostnames });
    let policy = select(vec![ClusterFirst, ClusterFirstWithHostNet, Default, None]);
    let config = (texts(), texts(), vec((text(), option::of(text())), 0..2))
        .prop_map(|(nameservers, searches, options)| DnsConfig { nameservers, searches, options });
    (any::<bool>(), text(), text(), any::<bool>(), vec(alias, 0..2), policy, config).prop_map(
        |(host_network, hostname, subdomain, as_fqdn, host_aliases, dns_policy, dns_config)| {
            PodNetwork {
                host_network,
                hostname,
                subdomain,
                hostname_as_fqdn: as_fqdn,
                host_aliases,
                dns_policy,
                dns_config,
            }
        },
    )
}

fn toleration() -> impl Strategy<Value = Toleration> {
    use TaintEffect::{NoExecute, NoSchedule, PreferNoSchedule};
    let operator = select(vec![TolerationOperator::Equal, TolerationOperator::Exists]);
    let effect = option::of(select(vec![NoSchedule, PreferNoSchedule, NoExecute]));
    (text(), operator, text(), effect, option::of(any::<i64>())).prop_map(
        |(key, operator, value, effect, seconds)| Toleration {
            key,
            operator,
            value,
            effect,
            seconds,
        },
    )
}

/// Any specification of a pod.
pub(crate) fn pod_spec() -> BoxedStrategy<PodSpec> {
    use RestartPolicy::{Always, Never, OnFailure};
    let lists = (vec(container(), 0..2), vec(container(), 0..3), vec(volume(), 0..3));
    let policy = select(vec![Always, OnFailure, Never]);
    let times = (policy, option::of(any::<u32>()), option::of(any::<u32>()));
    let host = (any::<bool>(), any::<bool>(), option::of(any::<bool>()), any::<bool>());
    let texts =
        (texts(), btree_map(text(), text(), 0..2), vec(toleration(), 0..2), text(), texts());
    let rest = (option::of(any::<i32>()), text(), option::of(any::<bool>()), text(), amounts());
    (lists, times, network(), host, pod_security(), texts, rest, extensions())
        .prop_map(|(lists, times, network, host, security, texts, rest, extensions)| PodSpec {
            init_containers: lists.0,
            containers: lists.1,
            volumes: lists.2,
            restart_policy: times.0,
            termination_grace_period_s: times.1,
            active_deadline_s: times.2,
            network,
            host_pid: host.0,
            host_ipc: host.1,
            host_users: host.2,
            share_process_namespace: host.3,
            security_context: security,
            image_pull_secrets: texts.0,
            node_selector: texts.1,
            tolerations: texts.2,
            priority_class_name: texts.3,
            readiness_gates: texts.4,
            priority: rest.0,
            service_account_name: rest.1,
            enable_service_links: rest.2,
            os: rest.3,
            overhead: rest.4,
            extensions,
        })
        .boxed()
}
