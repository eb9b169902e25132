//! Values that are right, for the encoders of the code.

use std::collections::BTreeMap;

use mote_protocol::command::{
    Answer, Command, ExecRequest, LogRequest, LogSelection, PortForwardRequest, Reply, Request,
    Since, WindowSize,
};
use mote_protocol::cordon::{CordonRequest, DrainRequest, DrainStep, PodRef};
use mote_protocol::event::Event;
use mote_protocol::extension::{Extension, Extensions};
use mote_protocol::image::{ImageInfo, ImageRequest, ImageWork};
use mote_protocol::name::{ContainerName, GroupName, Namespace, ObjectName};
use mote_protocol::node::{Birth, Session, Usage};
use mote_protocol::object::{ConfigMap, Meta, Pod, Secret};
use mote_protocol::pod::{Container, EnvValue, EnvVar, PodSpec};
use mote_protocol::status::{ConditionCause, ContainerStatus, PodStatus, UnhealthyDevice};
use mote_protocol::stream::{StreamFrame, StreamPart};
use mote_protocol::usage::{ContainerMetrics, Metrics, PodMetrics, Traffic, Used};

pub(crate) fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app".into(), "web".into()), ("zone".into(), "north".into())])
}

pub(crate) fn extensions() -> Extensions {
    Extensions(vec![Extension { name: "future".into(), critical: false, value: vec![1, 2, 3] }])
}

pub(crate) fn pod() -> Pod {
    let container = Container {
        name: "web".into(),
        image: "busybox".into(),
        command: vec!["sleep".into(), "1000".into()],
        env: vec![EnvVar { name: "A".into(), value: EnvValue::Literal("b".into()) }],
        ..Container::default()
    };
    let spec = PodSpec {
        init_containers: vec![Container { name: "first".into(), ..container.clone() }],
        containers: vec![container.clone(), Container { name: "other".into(), ..container }],
        node_selector: labels(),
        ..PodSpec::default()
    };
    Pod { meta: Meta { labels: labels(), ..Meta::default() }, spec, extensions: extensions() }
}

pub(crate) fn config_map() -> ConfigMap {
    ConfigMap {
        meta: Meta { labels: labels(), ..Meta::default() },
        data: [("a.conf".to_owned(), "x=1\n".to_owned())].into(),
        binary_data: [("logo".to_owned(), vec![0, 0xff, 7])].into(),
        immutable: true,
        extensions: extensions(),
    }
}

pub(crate) fn secret() -> Secret {
    Secret {
        meta: Meta::default(),
        secret_type: "kubernetes.io/tls".into(),
        data: [("tls.crt".to_owned(), vec![1; 40]), ("tls.key".to_owned(), vec![2; 40])].into(),
        immutable: false,
        extensions: extensions(),
    }
}

pub(crate) fn status() -> PodStatus {
    let mut status = PodStatus::default();
    let container = ContainerStatus { name: "web".into(), ..ContainerStatus::default() };
    status.containers.push(container).expect("room");
    let cause = ConditionCause {
        condition: "Ready".into(),
        reason: "ContainersNotReady".into(),
        message: "web".into(),
    };
    status.causes.push(cause).expect("room");
    status.addresses.push(std::net::Ipv4Addr::LOCALHOST.into()).expect("room");
    let resource = mote_protocol::text::Short::new("mote.io/ttyUSB0");
    status.set_unhealthy_devices([UnhealthyDevice {
        container: mote_protocol::text::Short::new("web"),
        resource,
        replaced: true,
    }]);
    status
}

pub(crate) fn birth() -> Birth {
    let mut birth = Birth { labels: labels(), ..Birth::default() };
    birth.set_groups(&[GroupName::new("blue").expect("a group")]);
    birth
}

/// One for each request.
pub(crate) fn commands() -> Vec<(&'static str, Command)> {
    let log = LogRequest {
        namespace: Namespace::new("default").expect("a namespace"),
        pod: ObjectName::new("web").expect("a name"),
        container: ContainerName::new("web").expect("a name"),
        selection: LogSelection {
            follow: true,
            tail: Some(10),
            since: Some(Since::Time { seconds: -7, nanos: 5 }),
            limit_bytes: Some(1000),
            ..LogSelection::default()
        },
        credit: 65_536,
    };
    let exec = ExecRequest {
        namespace: log.namespace.clone(),
        pod: log.pod.clone(),
        container: log.container.clone(),
        command: vec!["sh".into(), "-c".into(), "date".into()],
        stdin: true,
        terminal: Some(WindowSize { columns: 80, rows: 24 }),
        by: "alice@desk".into(),
        credit: 65_536,
    };
    let forward = PortForwardRequest {
        namespace: log.namespace.clone(),
        pod: log.pod.clone(),
        port: 8080,
        only_ask: false,
        by: "alice@desk".into(),
        credit: 65_536,
    };
    let cordon = CordonRequest { cordoned: true, by: "alice@desk".into() };
    let drain = DrainRequest {
        grace_s: Some(10),
        force: true,
        ignore_daemon_sets: false,
        dry_run: true,
        by: "alice@desk".into(),
    };
    let remove = ImageRequest::Remove(vec!["busybox".into(), "r.example/a:1".into()]);
    let requests = [
        ("command-events", Request::Events { about: None }),
        ("command-logs", Request::Logs(log)),
        ("command-pull", Request::Images(ImageRequest::Pull("busybox".into()))),
        ("command-remove", Request::Images(remove)),
        ("command-exec", Request::Exec(exec)),
        ("command-port-forward", Request::PortForward(forward)),
        ("command-cordon", Request::Cordon(cordon)),
        ("command-drain", Request::Drain(drain)),
        ("command-usage", Request::Usage),
    ];
    let command = |request| Command {
        boot_id: [7; 16],
        session: Session::default(),
        counter: 9,
        expires: 300,
        request,
        extensions: extensions(),
    };
    requests.map(|(name, request)| (name, command(request))).into()
}

/// A node with a pod, of which everything is known.
pub(crate) fn usage() -> Usage {
    let used = Used { cpu_milli: Some(7), memory_kib: Some(512), pids: Some(3) };
    let container = ContainerMetrics { name: ContainerName::new("web").expect("a name"), used };
    let pod = PodMetrics {
        namespace: Namespace::new("default").expect("a namespace"),
        name: ObjectName::new("web").expect("a name"),
        used,
        storage_kib: Some(9),
        network: Some(Traffic { received: 1, sent: 2 }),
        containers: vec![container],
    };
    let mut usage = Usage { at: 5, cpu_ms: 7, ..Usage::default() };
    usage.set_metrics(&Metrics {
        window_ms: 1000,
        cpu_milli: Some(9),
        pods: vec![pod],
        omitted: 0,
    });
    usage
}

/// One for each kind of answer that holds something.
pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    let image = || ImageInfo { id: [7; 32], names: vec!["r.example/a:1".into()], bytes: 9 };
    let removed =
        ImageWork::Removed { images: vec![image()], names: vec!["b".into()], freed: 1_500_000 };
    let verified = ImageWork::Verified { layers: 3, unknown: 1, damaged: vec!["x".into()] };
    let pod = |name: &str| PodRef {
        namespace: Namespace::new("default").expect("a label"),
        name: ObjectName::new(name).expect("a name"),
    };
    let begun = DrainStep::Begun { already: true, stay: vec![pod("log")], end: vec![pod("web")] };
    let answers = [
        ("reply-refused", Answer::Refused { reason: "Expired".into(), message: "late".into() }),
        ("reply-events", Answer::Events(vec![Event::default(), Event::default()])),
        ("reply-images", Answer::Images(vec![image(), image()])),
        ("reply-removed", Answer::ImageWork(removed)),
        ("reply-verified", Answer::ImageWork(verified)),
        ("reply-drain", Answer::Drain(begun)),
        ("reply-usage", Answer::Usage(usage())),
    ];
    let reply = |answer| Reply { part: 0, last: true, answer, extensions: extensions() };
    answers.map(|(name, answer)| (name, reply(answer))).into()
}

/// One for each part of a stream.
pub(crate) fn streams() -> Vec<(&'static str, StreamFrame)> {
    let parts = [
        ("stream-data", StreamPart::Data(b"a line\n".to_vec())),
        ("stream-credit", StreamPart::Credit(65_536)),
        ("stream-end", StreamPart::End { reason: "Completed".into(), message: "".into() }),
        ("stream-error", StreamPart::Error(b"no\n".to_vec())),
        ("stream-eof", StreamPart::Eof),
        ("stream-resize", StreamPart::Resize(WindowSize { columns: 80, rows: 24 })),
        ("stream-exited", StreamPart::Exited(137)),
    ];
    let frame = |part| StreamFrame { sequence: 3, part, extensions: extensions() };
    parts.map(|(name, part)| (name, frame(part))).into()
}

/// postcard's notation of a number.
pub(crate) fn varint(number: usize) -> Vec<u8> {
    postcard::to_allocvec(&number).expect("a number")
}
