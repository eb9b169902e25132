//! Anything that a node says, and what it is asked at once.

use mote_protocol::command::{
    Answer, Command, ExecRequest, LogRequest, LogSelection, PortForwardRequest, RebootRequest,
    Reply, Request, Since, WindowSize,
};
use mote_protocol::cordon::{CordonRequest, DrainRequest, DrainStep, PodRef};
use mote_protocol::doctor::{Finding, Severity};
use mote_protocol::event::{Event, EventType, Involved};
use mote_protocol::image::{ImageInfo, ImageName, ImageRequest, ImageWork};
use mote_protocol::name::{ContainerName, Namespace, ObjectName};
use mote_protocol::node::*;
use mote_protocol::status::*;
use mote_protocol::stream::{StreamFrame, StreamPart};
use mote_protocol::text::Short;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{extensions, kind, name, revision, text, uid};

fn reason() -> impl Strategy<Value = Reason> {
    text().prop_map(|text| Reason::new(&text))
}

fn message() -> impl Strategy<Value = Message> {
    text().prop_map(|text| Message::new(&text))
}

fn word() -> impl Strategy<Value = Word> {
    text().prop_map(|text| Word::new(&text))
}

/// A list in room that is bounded: none here is longer than the shortest bound.
fn bounded<T, C: FromIterator<T>>(items: Vec<T>) -> C {
    items.into_iter().collect()
}

fn refusal() -> impl Strategy<Value = Refusal> {
    (revision(), reason(), text(), message()).prop_map(|(seen, reason, field, message)| Refusal {
        seen,
        reason,
        field: Short::new(&field),
        message,
    })
}

fn terminated() -> impl Strategy<Value = Terminated> {
    (any::<i32>(), reason(), text(), any::<i32>(), any::<i32>()).prop_map(
        |(exit_code, reason, message, started, finished)| Terminated {
            exit_code,
            reason,
            message: message.as_str().into(),
            started,
            finished,
        },
    )
}

fn container_status() -> impl Strategy<Value = ContainerStatus> {
    let state = prop_oneof![
        (reason(), message())
            .prop_map(|(reason, message)| ContainerState::Waiting { reason, message }),
        any::<i32>().prop_map(|since| ContainerState::Running { since }),
        terminated().prop_map(ContainerState::Terminated),
    ];
    let restarts = prop_oneof![Just(0), any::<u32>()];
    let image = option::of(any::<[u8; 32]>());
    (text(), 0..16_u8, restarts, image, state, option::of(terminated())).prop_map(
        |(name, flags, restarts, image, state, last)| ContainerStatus {
            name: Short::new(&name),
            flags,
            restarts,
            image,
            state,
            last,
        },
    )
}

fn conditions() -> impl Strategy<Value = Conditions> {
    // Few values, so that they are often the same.
    let since = prop_oneof![Just(0), Just(1), any::<i32>()];
    (0..32_u8, proptest::array::uniform5(since))
        .prop_map(|(truth, since)| Conditions { truth, since })
}

fn addresses() -> impl Strategy<Value = Vec<IpAddress>> {
    vec(any::<IpAddress>(), 0..4)
}

pub(crate) fn pod_status() -> impl Strategy<Value = PodStatus> {
    use Phase::{Failed, Pending, Running, Succeeded, Unknown};
    let phase = select(vec![Pending, Running, Succeeded, Failed, Unknown]);
    let cause = (reason(), reason(), message())
        .prop_map(|(condition, reason, message)| ConditionCause { condition, reason, message });
    let head = (revision(), option::of(refusal()), option::of(uid()), phase);
    let end = (option::of(any::<u32>()), option::of((reason(), message())), any::<i64>());
    let lists = (addresses(), conditions(), vec(cause, 0..3), vec(container_status(), 0..3));
    (head, end, lists, extensions()).prop_map(|(head, end, lists, extensions)| PodStatus {
        accepted: head.0,
        refusal: head.1,
        uid: head.2,
        phase: head.3,
        deleting: end.0,
        cause: end.1,
        started: end.2,
        addresses: bounded(lists.0),
        conditions: lists.1,
        causes: bounded(lists.2),
        containers: bounded(lists.3),
        extensions,
    })
}

pub(crate) fn object_status() -> impl Strategy<Value = ObjectStatus> {
    (revision(), option::of(refusal()), extensions())
        .prop_map(|(accepted, refusal, extensions)| ObjectStatus { accepted, refusal, extensions })
}

fn session() -> impl Strategy<Value = Session> {
    (any::<u32>(), any::<u32>()).prop_map(|(start, connection)| Session { start, connection })
}

fn digest() -> impl Strategy<Value = ObjectDigest> {
    (any::<u32>(), any::<u32>()).prop_map(|(count, digest)| ObjectDigest { count, digest })
}

fn info() -> impl Strategy<Value = NodeInfo> {
    let words = (word(), word(), word(), word(), word(), word(), word(), word());
    (words, any::<[u8; 16]>()).prop_map(|(words, machine_id)| NodeInfo {
        agent: words.0,
        runtime: words.1,
        kernel: words.2,
        os_image: words.3,
        architecture: words.4,
        variant: words.5,
        board: words.6,
        serial: words.7,
        machine_id,
    })
}

pub(crate) fn birth() -> impl Strategy<Value = Birth> {
    let ids = (session(), any::<[u8; 8]>(), any::<[u8; 16]>());
    let clock = (any::<i64>(), any::<bool>(), any::<u32>(), any::<(u8, u8)>());
    let labels = btree_map(text(), text(), 0..3);
    (ids, clock, info(), labels, extensions()).prop_map(|(ids, clock, info, labels, extensions)| {
        Birth {
            session: ids.0,
            identity: ids.1,
            boot_id: ids.2,
            boot_epoch: clock.0,
            clock_trusted: clock.1,
            heartbeat_s: clock.2,
            pod_schemas: clock.3,
            info,
            labels,
            extensions,
        }
    })
}

pub(crate) fn will() -> impl Strategy<Value = Will> {
    (session(), any::<[u8; 8]>()).prop_map(|(session, identity)| Will { session, identity })
}

pub(crate) fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    (session(), any::<u32>(), any::<i64>(), any::<u32>(), digest()).prop_map(
        |(session, sequence, at, conditions, objects)| Heartbeat {
            session,
            sequence,
            at,
            conditions,
            objects,
        },
    )
}

fn resources() -> impl Strategy<Value = Resources> {
    let devices = vec((text().prop_map(|name| Short::new(&name)), any::<u32>()), 0..3);
    (any::<u32>(), any::<u64>(), any::<u64>(), any::<u32>(), devices).prop_map(
        |(cpu_milli, memory_kib, ephemeral_kib, pods, devices)| Resources {
            cpu_milli,
            memory_kib,
            ephemeral_kib,
            pods,
            devices: bounded(devices),
        },
    )
}

pub(crate) fn node_status() -> impl Strategy<Value = NodeStatus> {
    let address = prop_oneof![
        any::<IpAddress>().prop_map(NodeAddress::InternalIp),
        any::<IpAddress>().prop_map(NodeAddress::ExternalIp),
        word().prop_map(NodeAddress::Hostname),
    ];
    let which = select(NodeCondition::ALL.to_vec());
    let condition = (which, any::<bool>(), any::<i64>(), reason(), message()).prop_map(
        |(condition, truth, since, reason, message)| NodeConditionStatus {
            condition,
            truth,
            since,
            reason,
            message,
        },
    );
    let lists = (vec(address, 0..4), vec(condition, 0..4));
    let rest = (resources(), resources(), digest(), any::<bool>());
    (session(), lists, rest, extensions()).prop_map(|(session, lists, rest, extensions)| {
        NodeStatus {
            session,
            addresses: bounded(lists.0),
            conditions: bounded(lists.1),
            capacity: rest.0,
            allocatable: rest.1,
            objects: rest.2,
            unschedulable: rest.3,
            extensions,
        }
    })
}

pub(crate) fn usage() -> impl Strategy<Value = Usage> {
    let amounts = (any::<i64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>());
    (amounts, extensions()).prop_map(|((at, cpu_ms, memory_kib, disk_kib, pids), extensions)| {
        Usage { at, cpu_ms, memory_kib, disk_kib, pids, extensions }
    })
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let object = (kind(), text(), text(), option::of(uid()), text()).prop_map(
        |(kind, namespace, name, uid, field)| Involved::Object {
            kind,
            namespace,
            name,
            uid,
            field: Short::new(&field),
        },
    );
    let counts = (any::<u32>(), any::<u32>(), any::<i64>(), any::<i64>(), any::<u32>());
    let event_type = select(vec![EventType::Normal, EventType::Warning]);
    let involved = prop_oneof![Just(Involved::Node), object];
    (counts, event_type, involved, reason(), message(), extensions()).prop_map(
        |(
            (start, sequence, first, last, count),
            event_type,
            involved,
            reason,
            message,
            extensions,
        )| {
            Event {
                start,
                sequence,
                first,
                last,
                count,
                event_type,
                involved,
                reason,
                message,
                extensions,
            }
        },
    )
}

fn log_request() -> impl Strategy<Value = LogRequest> {
    let since = prop_oneof![
        any::<u64>().prop_map(Since::Seconds),
        (any::<i64>(), any::<u32>()).prop_map(|(seconds, nanos)| Since::Time { seconds, nanos }),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let amounts = (option::of(any::<u32>()), option::of(since), option::of(any::<u64>()));
    ((name(), name(), name()), flags, amounts, any::<u64>()).prop_map(
        |(
            (namespace, pod, container),
            (follow, previous, timestamps),
            (tail, since, limit),
            credit,
        )| LogRequest {
            namespace: Namespace::new(&namespace).expect("a label"),
            pod: ObjectName::new(&pod).expect("a name"),
            container: ContainerName::new(&container).expect("a label"),
            selection: LogSelection {
                follow,
                previous,
                timestamps,
                tail,
                since,
                limit_bytes: limit,
            },
            credit,
        },
    )
}

fn window() -> impl Strategy<Value = WindowSize> {
    (any::<u16>(), any::<u16>()).prop_map(|(columns, rows)| WindowSize { columns, rows })
}

fn exec_request() -> impl Strategy<Value = ExecRequest> {
    let how = (any::<bool>(), option::of(window()), any::<u64>());
    ((name(), name(), name()), vec(".{0,8}", 0..4), how, "[a-z@]{0,40}").prop_map(
        |((namespace, pod, container), command, (stdin, terminal, credit), by)| ExecRequest {
            namespace: Namespace::new(&namespace).expect("a label"),
            pod: ObjectName::new(&pod).expect("a name"),
            container: ContainerName::new(&container).expect("a label"),
            command,
            stdin,
            terminal,
            by: Short::new(&by),
            credit,
        },
    )
}

fn port_forward_request() -> impl Strategy<Value = PortForwardRequest> {
    (name(), name(), any::<u16>(), any::<bool>(), "[a-z@]{0,40}", any::<u64>()).prop_map(
        |(namespace, pod, port, only_ask, by, credit)| PortForwardRequest {
            namespace: Namespace::new(&namespace).expect("a label"),
            pod: ObjectName::new(&pod).expect("a name"),
            port,
            only_ask,
            by: Short::new(&by),
            credit,
        },
    )
}

fn cordon_request() -> impl Strategy<Value = CordonRequest> {
    (any::<bool>(), "[a-z@]{0,40}")
        .prop_map(|(cordoned, by)| CordonRequest { cordoned, by: Short::new(&by) })
}

fn drain_request() -> impl Strategy<Value = DrainRequest> {
    (option::of(any::<u32>()), any::<[bool; 3]>(), "[a-z@]{0,40}").prop_map(
        |(grace_s, [force, ignore_daemon_sets, dry_run], by)| DrainRequest {
            grace_s,
            force,
            ignore_daemon_sets,
            dry_run,
            by: Short::new(&by),
        },
    )
}

fn pod_ref() -> impl Strategy<Value = PodRef> {
    (name(), name()).prop_map(|(namespace, name)| PodRef {
        namespace: Namespace::new(&namespace).expect("a label"),
        name: ObjectName::new(&name).expect("a name"),
    })
}

fn drain_step() -> impl Strategy<Value = DrainStep> {
    let pods = || (any::<bool>(), vec(pod_ref(), 0..3), vec(pod_ref(), 0..3));
    prop_oneof![
        pods().prop_map(|(already, daemons, once)| DrainStep::Blocked { already, daemons, once }),
        pods().prop_map(|(already, stay, end)| DrainStep::Begun { already, stay, end }),
        pod_ref().prop_map(DrainStep::Ended),
        Just(DrainStep::Drained),
    ]
}

pub(crate) fn stream_frame() -> impl Strategy<Value = StreamFrame> {
    let part = prop_oneof![
        vec(any::<u8>(), 0..64).prop_map(StreamPart::Data),
        any::<u64>().prop_map(StreamPart::Credit),
        (reason(), message()).prop_map(|(reason, message)| StreamPart::End { reason, message }),
        vec(any::<u8>(), 0..64).prop_map(StreamPart::Error),
        Just(StreamPart::Eof),
        window().prop_map(StreamPart::Resize),
        any::<i32>().prop_map(StreamPart::Exited),
    ];
    (any::<u64>(), part, extensions()).prop_map(|(sequence, part, extensions)| StreamFrame {
        sequence,
        part,
        extensions,
    })
}

fn image_name() -> impl Strategy<Value = ImageName> {
    "[a-z./:@]{0,40}".prop_map(|text| ImageName::new(&text))
}

fn image() -> impl Strategy<Value = ImageInfo> {
    (any::<[u8; 32]>(), vec(image_name(), 0..3), any::<u64>())
        .prop_map(|(id, names, bytes)| ImageInfo { id, names, bytes })
}

fn image_request() -> impl Strategy<Value = ImageRequest> {
    prop_oneof![
        Just(ImageRequest::List),
        image_name().prop_map(ImageRequest::Pull),
        vec(image_name(), 0..3).prop_map(ImageRequest::Remove),
        Just(ImageRequest::Prune),
        Just(ImageRequest::Verify),
    ]
}

fn image_work() -> impl Strategy<Value = ImageWork> {
    let pulled = (any::<[u8; 32]>(), option::of(any::<u64>()));
    let removed = (vec(image(), 0..3), vec(image_name(), 0..3), any::<u64>());
    let verified = (any::<u64>(), any::<u64>(), vec(message(), 0..3));
    prop_oneof![
        pulled.prop_map(|(id, bytes)| ImageWork::Pulled { id, bytes }),
        removed.prop_map(|(images, names, freed)| ImageWork::Removed { images, names, freed }),
        verified.prop_map(|(layers, unknown, damaged)| ImageWork::Verified {
            layers,
            unknown,
            damaged
        }),
    ]
}

fn finding() -> impl Strategy<Value = Finding> {
    let severity = prop_oneof![Just(Severity::Problem), Just(Severity::Hint)];
    (severity, reason(), message(), message()).prop_map(|(severity, reason, message, remedy)| {
        Finding { severity, reason, message, remedy }
    })
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let request = prop_oneof![
        option::of(uid()).prop_map(|about| Request::Events { about }),
        log_request().prop_map(Request::Logs),
        image_request().prop_map(Request::Images),
        Just(Request::Doctor),
        exec_request().prop_map(Request::Exec),
        port_forward_request().prop_map(Request::PortForward),
        cordon_request().prop_map(Request::Cordon),
        drain_request().prop_map(Request::Drain),
        "[a-z@]{0,40}".prop_map(|by| Request::Reboot(RebootRequest { by: Short::new(&by) })),
        Just(Request::Usage),
    ];
    let head = (any::<[u8; 16]>(), session(), any::<u64>(), any::<i64>());
    (head, request, extensions()).prop_map(
        |((boot_id, session, counter, expires), request, extensions)| Command {
            boot_id,
            session,
            counter,
            expires,
            request,
            extensions,
        },
    )
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    let answer = prop_oneof![
        (reason(), message()).prop_map(|(reason, message)| Answer::Refused { reason, message }),
        vec(event(), 0..3).prop_map(Answer::Events),
        Just(Answer::Streaming),
        vec(image(), 0..3).prop_map(Answer::Images),
        image_work().prop_map(Answer::ImageWork),
        vec(finding(), 0..3).prop_map(Answer::Findings),
        any::<bool>().prop_map(|already| Answer::Cordoned { already }),
        drain_step().prop_map(Answer::Drain),
        Just(Answer::Rebooting),
        usage().prop_map(Answer::Usage),
    ];
    (any::<u32>(), any::<bool>(), answer, extensions())
        .prop_map(|(part, last, answer, extensions)| Reply { part, last, answer, extensions })
}
