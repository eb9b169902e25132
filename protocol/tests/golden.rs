//! The bytes of every frame type, frozen.
//!
//! A fleet holds agents and tools of many ages: bytes that one of them wrote are read by all. Each
//! file under `golden/` holds one frame as hexadecimal digits. A change of the layout shows here
//! before it reaches a node: give the type a new schema number and keep reading the old one, or
//! put the field into an extension. Only what was never released may change:
//! `MOTE_BLESS=1 cargo test -p mote-protocol --test golden` writes the files anew.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::PathBuf;

use mote_protocol::command::{
    Answer, Command, ExecRequest, LogRequest, LogSelection, PortForwardRequest, RebootRequest,
    Reply, Request, Since, WindowSize,
};
use mote_protocol::cordon::{CordonRequest, DrainRequest, DrainStep, PodRef};
use mote_protocol::doctor::Finding;
use mote_protocol::event::{Event, EventType, Involved};
use mote_protocol::extension::{Extension, Extensions};
use mote_protocol::frame::{self, Body};
use mote_protocol::image::{ImageInfo, ImageRequest, ImageWork};
use mote_protocol::name::{ContainerName, GroupName, Kind, Namespace, ObjectName, Uid};
use mote_protocol::node::*;
use mote_protocol::object::*;
use mote_protocol::pod::*;
use mote_protocol::status::*;
use mote_protocol::stream::{NOT_COUNTED, StreamFrame, StreamPart};
use mote_protocol::usage::{ContainerMetrics, Metrics, PodMetrics, Traffic, Used};

const NOW_MS: u64 = 1_795_000_000_000;
const UID: Uid = Uid([0x11; 16]);
const SESSION: Session = Session { start: 7, connection: 2 };

fn revision(number: u64) -> Revision {
    Revision { number: NOW_MS + number, hash: ContentHash([1, 2, 3, 4, 5, 6, 7, 8]) }
}

fn extensions() -> Extensions {
    let extension =
        |name: &str, critical| Extension { name: name.into(), critical, value: vec![1, 2] };
    Extensions(vec![extension("spec.later", false), extension("spec.must", true)])
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.hex"))
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").expect("a string takes it");
        }
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits are a byte");
    digits.chunks(2).map(byte).collect()
}

/// A value is written as the file says, and the file reads as the value.
#[track_caller]
fn frozen<B: Body + Debug + PartialEq>(name: &str, body: &B) {
    let path = golden(name);
    let bytes = frame::encode(body).expect("encodes");
    if std::env::var_os("MOTE_BLESS").is_some() {
        fs::write(&path, to_hex(&bytes)).expect("write");
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: a new frame type needs its golden bytes (MOTE_BLESS=1)",
            path.display()
        )
    });
    let frozen = from_hex(&text);
    assert!(
        bytes == frozen,
        "the layout of `{name}` (frame kind {}, schema {}) changed: nodes and tools in the field \
         would not understand each other.\nfrozen:\n{text}now:\n{}\nGive it a new schema number \
         and keep reading the old one, or use an extension; only if no release has written it, \
         run this test with MOTE_BLESS=1.",
        B::KIND as u8,
        B::SCHEMA,
        to_hex(&bytes),
    );
    assert_eq!(frame::decode::<B>(&frozen).as_ref(), Ok(body), "{name} reads as another value");
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn meta() -> Meta {
    let owner = OwnerReference {
        api_version: "apps/v1".into(),
        kind: "ReplicaSet".into(),
        name: "web".into(),
        uid: "u".into(),
        controller: true,
    };
    Meta {
        labels: map(&[("app", "web")]),
        annotations: map(&[("note", "ü")]),
        created: 1_795_000_000,
        owners: vec![owner],
    }
}

/// A container with something in every field.
fn container() -> Container {
    let get = HttpGet {
        host: String::new(),
        port: Port::Name("http".into()),
        path: "/healthz".into(),
        https: true,
        headers: vec![("X-A".into(), "b".into())],
    };
    let probe = |handler| Probe {
        handler,
        initial_delay_s: Some(1),
        timeout_s: None,
        period_s: Some(300),
        success_threshold: None,
        failure_threshold: Some(3),
        termination_grace_period_s: Some(9),
    };
    let tcp = Handler::TcpSocket { host: "h".into(), port: Port::Number(8080) };
    let grpc = Handler::Grpc { port: 9090, service: "s".into() };
    let key = KeyRef { name: "config".into(), key: "k".into(), optional: true };
    let divided = ResourceRef {
        container: "c".into(),
        resource: "limits.cpu".into(),
        divisor_milli: Some(1),
    };
    let values = [
        EnvValue::Literal("v".into()),
        EnvValue::Field("metadata.name".into()),
        EnvValue::Resource(divided),
        EnvValue::ConfigMap(key.clone()),
        EnvValue::Secret(key),
    ];
    Container {
        name: "web".into(),
        image: "registry.example/web:1".into(),
        image_pull_policy: Some(ImagePullPolicy::IfNotPresent),
        command: vec!["/web".into()],
        args: vec!["--port".into(), "8080".into()],
        working_dir: "/srv".into(),
        env: values.into_iter().map(|value| EnvVar { name: "N".into(), value }).collect(),
        env_from: vec![EnvFrom {
            prefix: "P_".into(),
            secret: true,
            name: "s".into(),
            optional: false,
        }],
        ports: vec![ContainerPort {
            name: "http".into(),
            container_port: 8080,
            host_port: 80,
            host_ip: "10.0.0.1".into(),
            protocol: PortProtocol::Udp,
        }],
        requests: Amounts { cpu_milli: Some(100), ..Amounts::default() },
        limits: Amounts {
            cpu_milli: Some(2000),
            memory_bytes: Some(128 << 20),
            ephemeral_bytes: Some(1 << 30),
            others: [("example.com/gpio".into(), 2)].into(),
        },
        volume_mounts: vec![VolumeMount {
            name: "data".into(),
            mount_path: "/data".into(),
            sub_path: "a".into(),
            sub_path_expr: "$(N)".into(),
            read_only: true,
            propagation: MountPropagation::HostToContainer,
        }],
        liveness_probe: Some(probe(Handler::HttpGet(get))),
        readiness_probe: Some(probe(tcp)),
        startup_probe: Some(probe(grpc)),
        post_start: Some(Handler::Exec(vec!["true".into()])),
        pre_stop: Some(Handler::Sleep(5)),
        stop_signal: Some(15),
        termination_message_path: Some("/t".into()),
        termination_message_policy: TerminationMessagePolicy::FallbackToLogsOnError,
        security_context: SecurityContext {
            run_as_user: Some(1000),
            run_as_group: Some(1000),
            run_as_non_root: Some(true),
            privileged: Some(false),
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities_add: vec!["NET_BIND_SERVICE".into()],
            capabilities_drop: vec!["ALL".into()],
            proc_unmasked: true,
            seccomp_profile: Some(SecurityProfile::RuntimeDefault),
            app_armor_profile: Some(SecurityProfile::Localhost("p".into())),
        },
        restart_always: true,
        tty: true,
        stdin: true,
        extensions: Extensions::default(),
    }
}

fn volumes() -> Vec<Volume> {
    let projection = Projection {
        name: "config".into(),
        items: vec![KeyToPath { key: "k".into(), path: "p".into(), mode: Some(0o400) }],
        default_mode: Some(0o644),
        optional: true,
    };
    let item = DownwardItem {
        path: "labels".into(),
        value: DownwardValue::Field("metadata.labels".into()),
        mode: None,
    };
    let sources = vec![
        ProjectedSource::ConfigMap(projection.clone()),
        ProjectedSource::Secret(projection.clone()),
        ProjectedSource::DownwardApi(vec![item.clone()]),
    ];
    let all = [
        VolumeSource::EmptyDir { memory: true, size_limit: Some(1 << 20) },
        VolumeSource::HostPath { path: "/dev/gpiomem".into(), kind: HostPathType::CharDevice },
        VolumeSource::ConfigMap(projection.clone()),
        VolumeSource::Secret(projection),
        VolumeSource::DownwardApi { items: vec![item], default_mode: None },
        VolumeSource::Projected { sources, default_mode: Some(0o600) },
        VolumeSource::Image {
            reference: "data:1".into(),
            pull_policy: Some(ImagePullPolicy::Never),
        },
    ];
    all.into_iter().map(|source| Volume { name: "data".into(), source }).collect()
}

fn pod() -> Pod {
    let plain = Container { name: "init".into(), image: "a".into(), ..Container::default() };
    let spec = PodSpec {
        init_containers: vec![plain],
        containers: vec![container()],
        volumes: volumes(),
        restart_policy: RestartPolicy::OnFailure,
        termination_grace_period_s: Some(10),
        active_deadline_s: Some(3600),
        network: PodNetwork {
            host_network: true,
            hostname: "h".into(),
            subdomain: "s".into(),
            hostname_as_fqdn: true,
            host_aliases: vec![HostAlias { ip: "10.0.0.2".into(), hostnames: vec!["x".into()] }],
            dns_policy: DnsPolicy::None,
            dns_config: DnsConfig {
                nameservers: vec!["10.0.0.3".into()],
                searches: vec!["lan".into()],
                options: vec![("ndots".into(), Some("2".into())), ("edns0".into(), None)],
            },
        },
        host_pid: true,
        host_ipc: true,
        host_users: Some(false),
        share_process_namespace: true,
        security_context: PodSecurityContext {
            run_as_user: Some(1),
            run_as_group: Some(2),
            run_as_non_root: Some(true),
            supplemental_groups: vec![3, 4],
            fs_group: Some(5),
            fs_group_on_root_mismatch: true,
            sysctls: vec![("net.core.somaxconn".into(), "1024".into())],
            seccomp_profile: Some(SecurityProfile::Unconfined),
            app_armor_profile: None,
        },
        image_pull_secrets: vec!["pull".into()],
        node_selector: map(&[("disk", "ssd")]),
        tolerations: vec![Toleration {
            key: "k".into(),
            operator: TolerationOperator::Exists,
            value: String::new(),
            effect: Some(TaintEffect::NoExecute),
            seconds: Some(300),
        }],
        priority_class_name: "high".into(),
        priority: Some(1000),
        service_account_name: "sa".into(),
        enable_service_links: Some(false),
        readiness_gates: vec!["example.com/up".into()],
        os: "linux".into(),
        overhead: Amounts::default(),
        extensions: extensions(),
    };
    Pod { meta: meta(), spec, extensions: Extensions::default() }
}

fn object(uid: Option<Uid>, intent: Intent) -> Object {
    Object { revision: revision(0), uid, intent, extensions: Extensions::default() }
}

#[test]
fn object_that_applies_a_pod() {
    frozen("object-apply", &object(Some(UID), pod().to_intent().expect("encodes")));
}

#[test]
fn objects_that_apply_data() {
    let meta = Meta { created: 1, ..Meta::default() };
    let map = ConfigMap {
        meta: meta.clone(),
        data: [("a.conf".into(), "x=1".into())].into(),
        binary_data: [("logo".into(), vec![0, 255])].into(),
        immutable: true,
        extensions: Extensions::default(),
    };
    frozen("object-apply-configmap", &object(None, map.to_intent().expect("encodes")));
    let secret = Secret {
        meta,
        secret_type: "Opaque".into(),
        data: [("password".into(), b"x".to_vec())].into(),
        immutable: false,
        extensions: Extensions::default(),
    };
    frozen("object-apply-secret", &object(None, secret.to_intent().expect("encodes")));
}

#[test]
fn object_that_applies_a_service() {
    let port = ServicePort {
        name: "web".into(),
        protocol: PortProtocol::Tcp,
        port: 80,
        target: Some(Port::Name("http".into())),
        node_port: 30080,
        app_protocol: "http".into(),
    };
    let service = Service {
        meta: meta(),
        service_type: ServiceType::NodePort,
        external_name: "example.org".into(),
        cluster_ips: vec!["10.96.0.9".parse().expect("an address")],
        headless: true,
        families: vec![IpFamily::Ipv4, IpFamily::Ipv6],
        family_policy: FamilyPolicy::PreferDualStack,
        ports: vec![port],
        selector: map(&[("app", "web")]),
        publish_not_ready: true,
        affinity_s: Some(10_800),
        extensions: extensions(),
    };
    frozen("object-apply-service", &object(None, service.to_intent().expect("encodes")));
}

#[test]
fn status_of_a_service() {
    let endpoint = EndpointStatus {
        pod: "web-1".into(),
        addresses: vec!["10.188.0.1".parse().expect("an address")],
        serves: true,
        ports: vec![8080, 0],
    };
    let service = ServiceStatus {
        addresses: vec!["10.189.0.9".parse().expect("an address")],
        node_ports: vec![(80, 30080)],
        serving: 1,
        found: 2,
        endpoints: vec![endpoint],
    };
    let mut status = ObjectStatus { accepted: revision(0), ..ObjectStatus::default() };
    status.set_service(&service);
    frozen("object-status-service", &status);
    assert_eq!(status.service(), Some(service));
    assert_eq!(ObjectStatus::default().service(), None);
}

#[test]
fn object_that_deletes() {
    frozen("object-delete", &object(None, Intent::Delete { grace_s: Some(30) }));
}

fn refusal() -> Refusal {
    Refusal {
        seen: revision(1),
        reason: "Invalid".into(),
        field: "spec.containers[0].image".into(),
        message: "must be set".into(),
    }
}

fn ended() -> Terminated {
    Terminated {
        exit_code: 137,
        reason: "OOMKilled".into(),
        message: "too much".into(),
        started: 3,
        finished: 70,
    }
}

#[test]
fn status_of_a_pod_that_runs() {
    let mut status = PodStatus {
        accepted: revision(0),
        uid: Some(UID),
        phase: Phase::Running,
        started: 1000,
        conditions: Conditions { truth: 0x1f, since: [0, 1, 1, 5, 5] },
        ..PodStatus::default()
    };
    status.addresses.push("10.88.0.2".parse().expect("ip")).expect("room");
    let container = ContainerStatus {
        name: "web".into(),
        flags: ContainerStatus::pack(ContainerRole::App, true, true),
        restarts: 0,
        image: Some([0x22; 32]),
        state: ContainerState::Running { since: 2 },
        last: None,
    };
    status.containers.push(container).expect("room");
    frozen("pod-status", &status);
}

#[test]
fn status_of_a_pod_that_lost_devices() {
    let mut status = PodStatus { phase: Phase::Running, started: 1000, ..PodStatus::default() };
    let device = |resource: &str, replaced| UnhealthyDevice {
        container: "web".into(),
        resource: resource.into(),
        replaced,
    };
    status.set_unhealthy_devices([
        device("mote.io/ttyUSB0", false),
        device("mote.io/usb-FTDI_1", true),
    ]);
    frozen("pod-status-devices", &status);
}

#[test]
fn status_of_a_pod_with_everything_in_it() {
    let mut status = PodStatus {
        accepted: revision(0),
        refusal: Some(refusal()),
        uid: Some(UID),
        phase: Phase::Failed,
        deleting: Some(30),
        cause: Some(("Evicted".into(), "memory".into())),
        started: -5,
        conditions: Conditions { truth: 0x03, since: [1, 2, 3, 4, 5] },
        extensions: extensions(),
        ..PodStatus::default()
    };
    status.addresses.push("fd00::2".parse().expect("ip")).expect("room");
    let cause = ConditionCause {
        condition: "Ready".into(),
        reason: "ContainersNotReady".into(),
        message: "containers with unready status: [web]".into(),
    };
    status.causes.push(cause).expect("room");
    let states = [
        ContainerState::Waiting {
            reason: "CrashLoopBackOff".into(),
            message: "back-off 10s".into(),
        },
        ContainerState::Running { since: 80 },
        ContainerState::Terminated(ended()),
    ];
    for (place, state) in (0..).zip(states) {
        let role = [ContainerRole::Init, ContainerRole::Sidecar, ContainerRole::App][place];
        let container = ContainerStatus {
            name: "web".into(),
            flags: ContainerStatus::pack(role, false, place == 1),
            restarts: 4,
            image: None,
            state,
            last: Some(ended()),
        };
        status.containers.push(container).expect("room");
    }
    frozen("pod-status-full", &status);
}

#[test]
fn status_of_an_object() {
    let status = ObjectStatus {
        accepted: revision(0),
        refusal: Some(refusal()),
        extensions: Extensions::default(),
    };
    frozen("object-status", &status);
}

#[test]
fn birth_of_a_node_with_taints() {
    let mut birth = Birth { session: SESSION, ..Birth::default() };
    let texts = ["dedicated=kiosk:NoExecute", "slow:PreferNoSchedule"];
    let taints: Vec<Taint> = texts.iter().map(|text| text.parse().expect("a taint")).collect();
    birth.set_taints(&taints);
    assert_eq!(birth.taints(), taints);
    assert_eq!(birth.taints().iter().map(Taint::to_string).collect::<Vec<_>>(), texts);
    for wrong in ["dedicated", "dedicated:Never", ":", ""] {
        assert!(wrong.parse::<Taint>().is_err(), "{wrong}");
    }
    frozen("birth-taints", &birth);
    birth.set_taints(&[]);
    assert_eq!(birth, Birth { session: SESSION, ..Birth::default() });
}

#[test]
fn status_of_a_node() {
    let mut resources = Resources {
        cpu_milli: 4000,
        memory_kib: 3_900_000,
        ephemeral_kib: 30_000_000,
        pods: 110,
        ..Resources::default()
    };
    resources.devices.push(("example.com/gpio".into(), 2)).expect("room");
    let mut status = NodeStatus {
        session: SESSION,
        capacity: resources.clone(),
        allocatable: resources,
        objects: ObjectDigest { count: 3, digest: 0xdead_beef },
        unschedulable: true,
        ..NodeStatus::default()
    };
    for address in [
        NodeAddress::InternalIp("10.0.0.7".parse().expect("ip")),
        NodeAddress::ExternalIp("2001:db8::7".parse().expect("ip")),
        NodeAddress::Hostname("pi-7".into()),
    ] {
        status.addresses.push(address).expect("room");
    }
    for condition in NodeCondition::ALL {
        let told = NodeConditionStatus {
            condition,
            truth: condition == NodeCondition::Ready,
            since: 12,
            reason: "".into(),
            message: "".into(),
        };
        status.conditions.push(told).expect("room");
    }
    frozen("node-status", &status);
}

#[test]
fn birth() {
    let info = NodeInfo {
        agent: "v0.1.0".into(),
        runtime: "libcontainer 0.7.0".into(),
        kernel: "6.6.31".into(),
        os_image: "Debian GNU/Linux 12 (bookworm)".into(),
        architecture: "arm".into(),
        variant: "v7".into(),
        machine_id: [0x33; 16],
        board: "Raspberry Pi 2 Model B".into(),
        serial: "0000".into(),
    };
    let birth = Birth {
        session: SESSION,
        identity: [0x44; 8],
        boot_id: [0x55; 16],
        boot_epoch: 1_795_000_000,
        clock_trusted: true,
        heartbeat_s: 300,
        pod_schemas: (1, 1),
        info,
        labels: map(&[("kubernetes.io/arch", "arm")]),
        extensions: Extensions::default(),
    };
    frozen("birth", &birth);
    let mut birth = birth;
    birth.set_groups(&["blue", "kiosk"].map(|name| GroupName::new(name).expect("a name")));
    frozen("birth-groups", &birth);
}

#[test]
fn will_and_heartbeat() {
    frozen("will", &Will { session: SESSION, identity: [0x44; 8] });
    let objects = ObjectDigest { count: 3, digest: 0xdead_beef };
    frozen(
        "heartbeat",
        &Heartbeat { session: SESSION, sequence: 9, at: 1500, conditions: 1, objects },
    );
}

fn event() -> Event {
    Event {
        start: 7,
        sequence: 41,
        first: 100,
        last: 160,
        count: 4,
        event_type: EventType::Warning,
        involved: Involved::Object {
            kind: Kind::Pod,
            namespace: "default".into(),
            name: "web".into(),
            uid: Some(UID),
            field: "spec.containers{web}".into(),
        },
        reason: "BackOff".into(),
        message: "Back-off restarting failed container".into(),
        extensions: Extensions::default(),
    }
}

#[test]
fn event_and_usage() {
    frozen("event", &event());
    let usage = Usage {
        at: 1500,
        cpu_ms: 90_000,
        memory_kib: 70_000,
        disk_kib: 5,
        pids: 99,
        ..Usage::default()
    };
    frozen("usage", &usage);
}

#[test]
fn usage_of_pods() {
    let used = Used { cpu_milli: Some(1000), memory_kib: Some(50_000), pids: Some(12) };
    let container = ContainerMetrics { name: ContainerName::new("main").expect("a name"), used };
    let pod = |name: &str| PodMetrics {
        namespace: Namespace::new("default").expect("a namespace"),
        name: ObjectName::new(name).expect("a name"),
        used,
        storage_kib: Some(2048),
        network: Some(Traffic { received: 1_000_000, sent: 20 }),
        containers: vec![container.clone()],
    };
    let bare = PodMetrics {
        used: Used::default(),
        storage_kib: None,
        network: None,
        containers: Vec::new(),
        ..pod("bare")
    };
    let pods = vec![bare, pod("web")];
    let mut usage = Usage { at: 1500, cpu_ms: 90_000, memory_kib: 70_000, ..Usage::default() };
    let metrics = Metrics { window_ms: 300_000, cpu_milli: Some(1200), pods, omitted: 3 };
    usage.set_metrics(&metrics);
    frozen("usage-pods", &usage);
    let read: Usage = frame::decode(&frame::encode(&usage).expect("encodes")).expect("decodes");
    assert_eq!(read.metrics(), Some(metrics));
    let asked = Command {
        boot_id: [0x55; 16],
        session: SESSION,
        counter: NOW_MS,
        expires: 1800,
        request: Request::Usage,
        extensions: Extensions::default(),
    };
    frozen("command-usage", &asked);
    let answer = Answer::Usage(usage);
    frozen(
        "reply-usage",
        &Reply { part: 0, last: true, answer, extensions: Extensions::default() },
    );
}

#[test]
fn command_and_replies() {
    let command = Command {
        boot_id: [0x55; 16],
        session: SESSION,
        counter: NOW_MS,
        expires: 1800,
        request: Request::Events { about: Some(UID) },
        extensions: Extensions::default(),
    };
    frozen("command", &command);
    let reply = |answer| Reply { part: 0, last: true, answer, extensions: Extensions::default() };
    frozen("reply-events", &reply(Answer::Events(vec![event(), Event::default()])));
    let refused = Answer::Refused { reason: "Expired".into(), message: "too late".into() };
    frozen("reply-refused", &reply(refused));
}

/// A command about the log of the container `main` of the pod `web`.
fn log_command(selection: LogSelection) -> Command {
    let request = LogRequest {
        namespace: Namespace::new("default").expect("a label"),
        pod: ObjectName::new("web").expect("a name"),
        container: ContainerName::new("main").expect("a label"),
        selection,
        credit: 65_536,
    };
    Command {
        boot_id: [0x55; 16],
        session: SESSION,
        counter: NOW_MS,
        expires: 1800,
        request: Request::Logs(request),
        extensions: Extensions::default(),
    }
}

#[test]
fn a_log_is_asked_for() {
    frozen("command-logs", &log_command(LogSelection::default()));
    let everything = LogSelection {
        follow: true,
        previous: true,
        timestamps: true,
        tail: Some(20),
        since: Some(Since::Time { seconds: 1_795_000_000, nanos: 5 }),
        limit_bytes: Some(4096),
    };
    frozen("command-logs-full", &log_command(everything));
    let ago = LogSelection { since: Some(Since::Seconds(300)), ..LogSelection::default() };
    frozen("command-logs-ago", &log_command(ago));
    let answer = Answer::Streaming;
    let reply = Reply { part: 0, last: true, answer, extensions: Extensions::default() };
    frozen("reply-streaming", &reply);
}

#[test]
fn commands_and_connections_are_asked_for() {
    let (namespace, pod) = (Namespace::new("default").expect("a label"), "web");
    let pod = ObjectName::new(pod).expect("a name");
    let exec = |command: &[&str], stdin, terminal| {
        let request = Request::Exec(ExecRequest {
            namespace: namespace.clone(),
            pod: pod.clone(),
            container: ContainerName::new("main").expect("a label"),
            command: command.iter().map(ToString::to_string).collect(),
            stdin,
            terminal,
            by: "alice@desk".into(),
            credit: 65_536,
        });
        Command { request, ..log_command(LogSelection::default()) }
    };
    frozen("command-exec", &exec(&["date"], false, None));
    let size = WindowSize { columns: 80, rows: 24 };
    frozen("command-exec-terminal", &exec(&["sh", "-c", ""], true, Some(size)));
    let forward = |only_ask| {
        let (namespace, pod) = (namespace.clone(), pod.clone());
        let by = "alice@desk".into();
        let credit = 65_536;
        let request = PortForwardRequest { namespace, pod, port: 8080, only_ask, by, credit };
        let request = Request::PortForward(request);
        Command { request, ..log_command(LogSelection::default()) }
    };
    frozen("command-port-forward", &forward(false));
    frozen("command-port-forward-ask", &forward(true));
    let answer = Answer::Allowed;
    let reply = Reply { part: 0, last: true, answer, extensions: Extensions::default() };
    frozen("reply-allowed", &reply);
}

#[test]
fn images_are_asked_for_and_told() {
    let asked = |request| Command {
        boot_id: [0x55; 16],
        session: SESSION,
        counter: NOW_MS,
        expires: 1800,
        request: Request::Images(request),
        extensions: Extensions::default(),
    };
    frozen("command-images", &asked(ImageRequest::List));
    frozen("command-images-pull", &asked(ImageRequest::Pull("r.example/a:1".into())));
    frozen("command-images-remove", &asked(ImageRequest::Remove(vec!["a".into(), "b".into()])));
    frozen("command-images-prune", &asked(ImageRequest::Prune));
    frozen("command-images-verify", &asked(ImageRequest::Verify));
    let reply = |answer| Reply { part: 0, last: true, answer, extensions: Extensions::default() };
    let image = ImageInfo { id: [0x11; 32], names: vec!["r.example/a:1".into()], bytes: 70_000 };
    frozen("reply-images", &reply(Answer::Images(vec![image.clone()])));
    let pulled = ImageWork::Pulled { id: [0x22; 32], bytes: Some(4_200_000) };
    frozen("reply-image-pulled", &reply(Answer::ImageWork(pulled)));
    let removed =
        ImageWork::Removed { images: vec![image], names: vec!["r.example/b:1".into()], freed: 9 };
    frozen("reply-image-removed", &reply(Answer::ImageWork(removed)));
    let verified = ImageWork::Verified { layers: 3, unknown: 1, damaged: vec!["layer".into()] };
    frozen("reply-image-verified", &reply(Answer::ImageWork(verified)));
}

#[test]
fn a_node_is_examined() {
    let asked = Command {
        boot_id: [0x55; 16],
        session: SESSION,
        counter: NOW_MS,
        expires: 1800,
        request: Request::Doctor,
        extensions: Extensions::default(),
    };
    frozen("command-doctor", &asked);
    let findings = vec![
        Finding::problem("DiskFull", "no room", "remove something"),
        Finding::hint("ClockNotSynchronized", "nobody keeps it", ""),
    ];
    let answer = Answer::Findings(findings);
    let reply = Reply { part: 0, last: true, answer, extensions: Extensions::default() };
    frozen("reply-findings", &reply);
}

#[test]
fn pods_are_kept_off_a_node() {
    let asked = |request| Command { request, ..log_command(LogSelection::default()) };
    let cordon = CordonRequest { cordoned: true, by: "alice@desk".into() };
    frozen("command-cordon", &asked(Request::Cordon(cordon)));
    let drain = DrainRequest {
        grace_s: Some(10),
        force: true,
        ignore_daemon_sets: false,
        dry_run: true,
        by: "alice@desk".into(),
    };
    frozen("command-drain", &asked(Request::Drain(drain)));
    let reboot = RebootRequest { by: "alice@desk".into() };
    frozen("command-reboot", &asked(Request::Reboot(reboot)));
    let reply = |answer| Reply { part: 0, last: true, answer, extensions: Extensions::default() };
    frozen("reply-cordoned", &reply(Answer::Cordoned { already: true }));
    let pod = |name: &str| PodRef {
        namespace: Namespace::new("default").expect("a label"),
        name: ObjectName::new(name).expect("a name"),
    };
    let (daemons, once) = (vec![pod("log")], vec![pod("job"), pod("late")]);
    let blocked = DrainStep::Blocked { already: false, daemons, once };
    frozen("reply-drain-blocked", &reply(Answer::Drain(blocked)));
    let begun = DrainStep::Begun { already: true, stay: vec![pod("log")], end: vec![pod("web")] };
    frozen("reply-drain-begun", &reply(Answer::Drain(begun)));
    frozen("reply-drain-ended", &reply(Answer::Drain(DrainStep::Ended(pod("web")))));
    frozen("reply-rebooting", &reply(Answer::Rebooting));
    frozen("reply-drained", &reply(Answer::Drain(DrainStep::Drained)));
}

#[test]
fn frames_of_a_stream() {
    let frame = |sequence, part| StreamFrame { sequence, part, extensions: Extensions::default() };
    frozen("stream-data", &frame(0, StreamPart::Data(b"a line\n".to_vec())));
    frozen("stream-credit", &frame(1, StreamPart::Credit(131_072)));
    let end = StreamPart::End { reason: "IdleTimeout".into(), message: "nobody reads".into() };
    frozen("stream-end", &frame(300, end));
    frozen("stream-error", &frame(2, StreamPart::Error(b"no\n".to_vec())));
    frozen("stream-eof", &frame(3, StreamPart::Eof));
    let size = WindowSize { columns: 200, rows: 50 };
    frozen("stream-resize", &frame(4, StreamPart::Resize(size)));
    frozen("stream-exited", &frame(5, StreamPart::Exited(137)));
    let gone = StreamPart::End { reason: "Closed".into(), message: "".into() };
    frozen("stream-not-counted", &frame(NOT_COUNTED, gone));
}
