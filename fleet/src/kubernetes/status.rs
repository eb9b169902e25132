//! A pod as the object that an API server would show: what was asked and what its node says.

use mote_protocol::node::NodeAddress;
use mote_protocol::object::Intent;
use mote_protocol::pod::{Amounts, Container, PodSpec};
use mote_protocol::status::{
    ContainerRole, ContainerState, ContainerStatus, Phase, PodCondition, PodStatus, Terminated,
};
use serde_json::{Map, Value, json};

use super::field::Field as _;
use super::meta::put_meta;
use crate::output::age::format_moment;
use crate::view::node::Presence;
use crate::view::pod::PodView;
use crate::view::{Told, problem};

/// The pod as an object, at `now` in Unix seconds.
pub fn pod_value(view: &PodView<'_>, now: i64) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(view),
        "spec": spec(view),
        "status": status(view, now),
    })
}

/// Inserts a text unless it is empty or nobody knows it.
pub(super) fn put_text(map: &mut Map<String, Value>, key: &str, text: Option<String>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        map.insert(key.into(), text.into());
    }
}

fn metadata(view: &PodView<'_>) -> Value {
    let mut map = Map::new();
    map.insert("name".into(), view.key.name.as_str().into());
    map.insert("namespace".into(), view.key.namespace.as_str().into());
    put_text(&mut map, "uid", view.uid().map(|uid| uid.to_string()));
    put_text(&mut map, "creationTimestamp", view.created().and_then(format_moment));
    let revision = view.object.map(|object| object.revision.number.to_string());
    put_text(&mut map, "resourceVersion", revision);
    if let Some(pod) = &view.pod {
        put_meta(&mut map, &pod.meta);
    }
    if let Some(grace) = deletion_grace(view) {
        map.insert("deletionGracePeriodSeconds".into(), grace.into());
        // A tombstone's revision is the moment it was written at, unless clocks disagree.
        let asked = view.object.filter(|_| view.pod.is_none());
        let at = asked.and_then(|object| i64::try_from(object.revision.number / 1000).ok());
        put_text(
            &mut map,
            "deletionTimestamp",
            at.and_then(|at| format_moment(at + i64::from(grace))),
        );
    }
    Value::Object(map)
}

fn deletion_grace(view: &PodView<'_>) -> Option<u32> {
    let asked = view.object.filter(|_| view.is_deleted()).and_then(|object| match object.intent {
        Intent::Delete { grace_s } => Some(grace_s.unwrap_or(30)),
        Intent::Apply { .. } => None,
    });
    view.status().and_then(|status| status.deleting).or(asked)
}

fn spec(view: &PodView<'_>) -> Value {
    let mut value = match (&view.pod, view.status()) {
        (Some(pod), _) => pod.spec.write(),
        // The broker forgot the spec: the status at least knows the containers.
        (None, status) => {
            let names = status.iter().flat_map(|status| &status.containers);
            let apps = names.filter(|container| container.role() == ContainerRole::App);
            let containers: Vec<_> = apps.map(|app| json!({ "name": &*app.name })).collect();
            json!({ "containers": containers })
        }
    };
    if let (Some(node), Value::Object(map)) = (view.node_name(), &mut value) {
        map.insert("nodeName".into(), node.as_str().into());
    }
    value
}

fn status(view: &PodView<'_>, now: i64) -> Value {
    let mut map = Map::new();
    if let Some(pod) = &view.pod {
        map.insert("qosClass".into(), qos_class(&pod.spec).into());
    }
    let Some(status) = view.status() else {
        map.insert("phase".into(), Phase::Pending.as_str().into());
        let (reason, message) = match view.told.and_then(Told::refusal) {
            Some(refusal) => (refusal.reason.to_string(), problem(refusal)),
            None => ("NotSeen".into(), "not seen by node".into()),
        };
        put_text(&mut map, "reason", Some(reason));
        put_text(&mut map, "message", Some(message));
        return Value::Object(map);
    };
    let lost = view.presence(now) != Presence::Online && !status.phase.is_terminal();
    put_phase(&mut map, view, status, lost);
    put_text(&mut map, "startTime", view.unix(0).and_then(format_moment));
    put_addresses(&mut map, view, status);
    map.insert("conditions".into(), conditions(view, status, lost));
    let statuses = |wanted: fn(ContainerRole) -> bool| -> Vec<Value> {
        let chosen = status.containers.iter().filter(|container| wanted(container.role()));
        chosen.map(|container| container_status(view, container)).collect()
    };
    let init = statuses(|role| role != ContainerRole::App);
    if !init.is_empty() {
        map.insert("initContainerStatuses".into(), init.into());
    }
    map.insert("containerStatuses".into(), statuses(|role| role == ContainerRole::App).into());
    Value::Object(map)
}

fn put_phase(map: &mut Map<String, Value>, view: &PodView<'_>, status: &PodStatus, lost: bool) {
    if lost {
        let message = format!(
            "Node {} which was running pod {} is unresponsive",
            view.place(),
            view.key.name
        );
        map.insert("phase".into(), Phase::Unknown.as_str().into());
        map.insert("reason".into(), "NodeLost".into());
        map.insert("message".into(), message.into());
        return;
    }
    map.insert("phase".into(), status.phase.as_str().into());
    if let Some((reason, message)) = &status.cause {
        put_text(map, "reason", Some(reason.to_string()));
        put_text(map, "message", Some(message.to_string()));
    } else if let Some(refusal) = view.never_taken() {
        put_text(map, "reason", Some(refusal.reason.to_string()));
        put_text(map, "message", Some(problem(refusal)));
    }
}

fn put_addresses(map: &mut Map<String, Value>, view: &PodView<'_>, status: &PodStatus) {
    let own: Vec<String> = status.addresses.iter().map(ToString::to_string).collect();
    let of_node = view.node.and_then(|node| node.status.as_ref());
    let host =
        of_node.iter().flat_map(|status| &status.addresses).filter_map(|address| match address {
            NodeAddress::InternalIp(ip) => Some(ip.to_string()),
            NodeAddress::ExternalIp(_) | NodeAddress::Hostname(_) => None,
        });
    let host: Vec<String> = host.collect();
    for (one, many, addresses) in [("podIP", "podIPs", own), ("hostIP", "hostIPs", host)] {
        if let Some(first) = addresses.first() {
            map.insert(one.into(), first.clone().into());
            let list: Vec<_> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
            map.insert(many.into(), list.into());
        }
    }
}

fn conditions(view: &PodView<'_>, status: &PodStatus, lost: bool) -> Value {
    let mut list = Vec::new();
    for (condition, since) in PodCondition::ALL.into_iter().zip(status.conditions.since) {
        let mut map = Map::new();
        map.insert("type".into(), condition.as_str().into());
        let unknown =
            lost && matches!(condition, PodCondition::Ready | PodCondition::ContainersReady);
        let truth = match status.conditions.is_true(condition) {
            _ if unknown => "Unknown",
            true => "True",
            false => "False",
        };
        map.insert("status".into(), truth.into());
        put_text(&mut map, "lastTransitionTime", view.unix(since).and_then(format_moment));
        let cause = status.causes.iter().find(|cause| cause.condition == condition.as_str());
        let reason =
            if unknown { Some("NodeLost".into()) } else { cause.map(|c| c.reason.to_string()) };
        put_text(&mut map, "reason", reason);
        put_text(&mut map, "message", cause.map(|cause| cause.message.to_string()));
        list.push(Value::Object(map));
    }
    let owned = |name: &str| PodCondition::ALL.iter().any(|known| known.as_str() == name);
    for cause in status.causes.iter().filter(|cause| !owned(&cause.condition)) {
        // What else the node says of the pod holds, or it would not say it.
        list.push(json!({
            "type": &*cause.condition, "status": "True",
            "reason": &*cause.reason, "message": &*cause.message,
        }));
    }
    if let Some(refusal) = &status.refusal {
        // What waits was accepted.
        let delay = refusal.is_delay();
        let (name, truth) =
            if delay { ("UpdatePending", "True") } else { ("SpecAccepted", "False") };
        list.push(json!({
            "type": name, "status": truth,
            "reason": &*refusal.reason, "message": problem(refusal),
        }));
    }
    list.into()
}

fn container_status(view: &PodView<'_>, container: &ContainerStatus) -> Value {
    let mut map = Map::new();
    map.insert("name".into(), (*container.name).into());
    map.insert("ready".into(), container.ready().into());
    map.insert("started".into(), container.started().into());
    map.insert("restartCount".into(), container.restarts.into());
    let asked = view.pod.as_ref().and_then(|pod| {
        let mut all = pod.spec.containers.iter().chain(&pod.spec.init_containers);
        all.find(|asked| asked.name == *container.name)
    });
    map.insert("image".into(), asked.map_or("", |asked| asked.image.as_str()).into());
    let digest = container.image.as_ref().map(|digest| {
        digest.iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
    });
    map.insert("imageID".into(), digest.unwrap_or_default().into());
    if let Some(uid) = view.uid().filter(|_| container.image.is_some()) {
        let id = format!("mote://{uid}/{}/{}", container.name, container.restarts);
        map.insert("containerID".into(), id.into());
    }
    put_unhealthy_devices(&mut map, view, container);
    map.insert("state".into(), state(view, &container.state));
    let last = container.last.as_ref().map(|end| json!({ "terminated": terminated(view, end) }));
    map.insert("lastState".into(), last.unwrap_or_else(|| json!({})));
    Value::Object(map)
}

/// `allocatedResourcesStatus`, as far as a node tells it: of devices that are not well.
fn put_unhealthy_devices(
    map: &mut Map<String, Value>,
    view: &PodView<'_>,
    container: &ContainerStatus,
) {
    let devices = view.status().map(PodStatus::unhealthy_devices).unwrap_or_default();
    let own = devices.iter().filter(|device| device.container == container.name);
    let list: Vec<Value> = own
        .map(|device| {
            let message = if device.replaced {
                "there under another number: the container must be restarted to use it"
            } else {
                "not there any more"
            };
            let id = device.resource.strip_prefix("mote.io/").unwrap_or(&device.resource);
            json!({
                "name": &*device.resource,
                "resources": [{ "resourceID": id, "health": "Unhealthy", "message": message }],
            })
        })
        .collect();
    if !list.is_empty() {
        map.insert("allocatedResourcesStatus".into(), list.into());
    }
}

fn state(view: &PodView<'_>, state: &ContainerState) -> Value {
    let mut map = Map::new();
    let key = match state {
        ContainerState::Waiting { reason, message } => {
            put_text(&mut map, "reason", Some(reason.to_string()));
            put_text(&mut map, "message", Some(message.to_string()));
            "waiting"
        }
        ContainerState::Running { since } => {
            put_text(&mut map, "startedAt", view.unix(*since).and_then(format_moment));
            "running"
        }
        ContainerState::Terminated(end) => return json!({ "terminated": terminated(view, end) }),
    };
    Value::Object(Map::from_iter([(key.into(), Value::Object(map))]))
}

fn terminated(view: &PodView<'_>, end: &Terminated) -> Value {
    let mut map = Map::new();
    map.insert("exitCode".into(), end.exit_code.into());
    put_text(&mut map, "reason", Some(end.reason.to_string()));
    put_text(&mut map, "message", Some(end.message.to_string()));
    put_text(&mut map, "startedAt", view.unix(end.started).and_then(format_moment));
    put_text(&mut map, "finishedAt", view.unix(end.finished).and_then(format_moment));
    Value::Object(map)
}

/// `status.qosClass`, by Kubernetes' rule.
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let containers = || spec.containers.iter().chain(&spec.init_containers);
    let named = |amounts: &Amounts| [amounts.cpu_milli, amounts.memory_bytes];
    let asks = |c: &Container| {
        named(&c.requests).into_iter().chain(named(&c.limits)).any(|amount| amount.unwrap_or(0) > 0)
    };
    let guaranteed = |c: &Container| {
        let pairs = named(&c.requests).into_iter().zip(named(&c.limits));
        pairs.into_iter().all(|(request, limit)| {
            limit.is_some_and(|limit| limit > 0 && request.unwrap_or(limit) == limit)
        })
    };
    if !containers().any(asks) {
        "BestEffort"
    } else if containers().all(guaranteed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mote_protocol::name::{Kind, Namespace, NodeName, ObjectKey, ObjectName, Uid};
    use mote_protocol::node::Birth;
    use mote_protocol::object::{ContentHash, Object, Revision};
    use mote_protocol::status::Refusal;
    use mote_protocol::topic::Scope;

    use crate::view::node::Node;

    /// A pod of which its node said that it refused something; what was asked is a deletion.
    fn refused(uid: Option<Uid>) -> Value {
        let (namespace, name) = (Namespace::new("default"), ObjectName::new("web"));
        let (namespace, name) = (namespace.expect("label"), name.expect("name"));
        let key = ObjectKey { kind: Kind::Pod, namespace, name };
        let seen = Revision { number: 7000, hash: ContentHash([7; 8]) };
        let refusal = Refusal {
            seen,
            reason: "Forbidden".into(),
            field: "spec.hostPID".into(),
            message: "not here".into(),
        };
        let intent = Intent::Delete { grace_s: None };
        let object = Object { revision: seen, uid: None, intent, extensions: <_>::default() };
        let status = PodStatus { uid, refusal: Some(refusal), ..PodStatus::default() };
        let told = Told::Pod(Box::new(status));
        let node = Node { birth: Some(Birth::default()), ..Node::default() };
        let view = PodView {
            key: &key,
            scope: Scope::Node(NodeName::new("pi-7").expect("label")),
            node: Some(&node),
            asked_in: None,
            object: Some(&object),
            pod: None,
            told: Some(&told),
        };
        pod_value(&view, 0)
    }

    #[test]
    fn why_a_node_did_not_take_a_pod_is_its_reason() {
        let value = refused(None);
        assert_eq!(value["status"]["phase"], "Pending");
        assert_eq!(value["status"]["reason"], "Forbidden");
        assert_eq!(value["status"]["message"], "spec.hostPID: not here");
        let earlier = refused(Some(Uid([7; 16])));
        assert_eq!(earlier["status"].get("reason"), None, "it has an earlier form of it");
    }

    #[test]
    fn what_a_node_refused_to_end_does_not_end() {
        let metadata = refused(Some(Uid([7; 16])))["metadata"].clone();
        assert_eq!(metadata.get("deletionTimestamp"), None, "{metadata}");
        assert_eq!(metadata.get("deletionGracePeriodSeconds"), None, "{metadata}");
    }

    #[test]
    fn the_qos_class_is_kubernetes() {
        let spec = |containers: Value| {
            let mut findings = crate::kubernetes::findings::Findings::default();
            let value = json!({ "containers": containers });
            PodSpec::read(&value, crate::kubernetes::path::Path::root(""), &mut findings)
                .expect("spec")
        };
        let both = json!({ "cpu": "1", "memory": "1Mi" });
        for (containers, class) in [
            (json!([{}]), "BestEffort"),
            (json!([{ "resources": { "limits": both } }]), "Guaranteed"),
            (json!([{ "resources": { "limits": both, "requests": both } }]), "Guaranteed"),
            (
                json!([{ "resources": { "limits": both, "requests": { "cpu": "500m" } } }]),
                "Burstable",
            ),
            (json!([{ "resources": { "limits": both } }, {}]), "Burstable"),
            (json!([{ "resources": { "requests": { "cpu": "0" } } }]), "BestEffort"),
        ] {
            assert_eq!(qos_class(&spec(containers.clone())), class, "{containers}");
        }
    }
}
