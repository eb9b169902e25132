//! A node as the object that an API server would show.

use mote_protocol::name::{GroupName, NodeName};
use mote_protocol::node::{
    Birth, NodeAddress, NodeCondition, NodeConditionStatus, NodeStatus, Resources, Taint,
};
use serde_json::{Map, Value, json};

use super::quantity::{format_milli, format_units};
use crate::output::age::format_moment;
use crate::view::node::{Node, Presence};

/// The node as an object, at `now` in Unix seconds.
pub fn node_value(name: &NodeName, node: &Node, now: i64) -> Value {
    let mut metadata = Map::from_iter([("name".into(), name.as_str().into())]);
    let mut status = Map::new();
    if let Some(birth) = &node.birth {
        metadata.insert("labels".into(), json!(birth.labels));
        if let Some(at) = node.created().and_then(format_moment) {
            metadata.insert("creationTimestamp".into(), at.into());
        }
        status.insert("nodeInfo".into(), info(birth));
        if let Some(groups) = birth.groups() {
            status.insert("groups".into(), groups.iter().map(GroupName::as_str).collect());
        }
    }
    let mut spec = Map::new();
    let taints: Vec<_> = node.taints().into_iter().map(taint).collect();
    if !taints.is_empty() {
        spec.insert("taints".into(), taints.into());
    }
    if let Some(told) = &node.status {
        if told.unschedulable {
            spec.insert("unschedulable".into(), true.into());
        }
        status.insert("addresses".into(), addresses(told));
        status.insert("capacity".into(), resources(&told.capacity));
        status.insert("allocatable".into(), resources(&told.allocatable));
    }
    status.insert("conditions".into(), conditions(node, now));
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec, "status": status })
}

fn taint(taint: Taint) -> Value {
    let mut value = json!({ "key": taint.key, "effect": taint.effect.as_str() });
    if !taint.value.is_empty() {
        value["value"] = taint.value.into();
    }
    value
}

fn info(birth: &Birth) -> Value {
    let info = &birth.info;
    let hex =
        |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let mut map = Map::new();
    for (key, word) in [
        ("kubeletVersion", &info.agent),
        ("containerRuntimeVersion", &info.runtime),
        ("kernelVersion", &info.kernel),
        ("osImage", &info.os_image),
        ("architecture", &info.architecture),
    ] {
        map.insert(key.into(), (**word).into());
    }
    map.insert("operatingSystem".into(), "linux".into());
    map.insert("machineID".into(), hex(&info.machine_id).into());
    map.insert("bootID".into(), mote_protocol::name::Uid(birth.boot_id).to_string().into());
    for (key, word) in
        [("board", &info.board), ("serial", &info.serial), ("variant", &info.variant)]
    {
        if !word.is_empty() {
            map.insert(key.into(), (**word).into());
        }
    }
    Value::Object(map)
}

fn addresses(status: &NodeStatus) -> Value {
    let one = |address: &NodeAddress| match address {
        NodeAddress::InternalIp(ip) => json!({ "type": "InternalIP", "address": ip.to_string() }),
        NodeAddress::ExternalIp(ip) => json!({ "type": "ExternalIP", "address": ip.to_string() }),
        NodeAddress::Hostname(name) => json!({ "type": "Hostname", "address": &**name }),
    };
    status.addresses.iter().map(one).collect()
}

/// Amounts as the API server writes them.
pub fn resources(resources: &Resources) -> Value {
    let mut map = Map::new();
    map.insert("cpu".into(), format_milli(resources.cpu_milli.into()).into());
    for (key, kib) in
        [("memory", resources.memory_kib), ("ephemeral-storage", resources.ephemeral_kib)]
    {
        map.insert(key.into(), format!("{kib}Ki").into());
    }
    map.insert("pods".into(), resources.pods.to_string().into());
    for (name, count) in &resources.devices {
        map.insert(name.to_string(), format_units((*count).into()).into());
    }
    Value::Object(map)
}

fn conditions(node: &Node, now: i64) -> Value {
    let heard = node.heartbeat.as_ref().and_then(|beat| node.unix(beat.at)).and_then(format_moment);
    let lost = node.presence(now) != Presence::Online;
    let told = node.status.iter().flat_map(|status| &status.conditions);
    let mut list = Vec::new();
    for told in told {
        let shown = condition(node, told, heard.as_deref(), lost);
        let alias = (told.condition == NodeCondition::DiskPressure).then(|| renamed(&shown));
        list.push(shown);
        list.extend(alias);
    }
    list.into()
}

/// What `DiskPressure` was called before Kubernetes 1.13, for who still asks for that.
pub const OUT_OF_DISK: &str = "OutOfDisk";

fn renamed(disk_pressure: &Value) -> Value {
    let mut alias = disk_pressure.clone();
    alias["type"] = OUT_OF_DISK.into();
    alias
}

fn condition(node: &Node, told: &NodeConditionStatus, heard: Option<&str>, lost: bool) -> Value {
    let (usual_reason, usual_message) = words(told.condition, told.truth);
    let or =
        |text: &str, usual: &str| if text.is_empty() { usual.to_owned() } else { text.to_owned() };
    let (truth, reason, message) = if lost {
        (
            "Unknown",
            "NodeStatusUnknown".into(),
            "the node's agent stopped posting node status".into(),
        )
    } else {
        let truth = if told.truth { "True" } else { "False" };
        (truth, or(&told.reason, usual_reason), or(&told.message, usual_message))
    };
    let mut map = Map::new();
    map.insert("type".into(), told.condition.as_str().into());
    map.insert("status".into(), truth.into());
    map.insert("reason".into(), reason.into());
    map.insert("message".into(), message.into());
    if let Some(heard) = heard {
        map.insert("lastHeartbeatTime".into(), heard.into());
    }
    if let Some(since) = node.unix(told.since).and_then(format_moment) {
        map.insert("lastTransitionTime".into(), since.into());
    }
    Value::Object(map)
}

/// The words that a node leaves out because everybody knows them.
const fn words(condition: NodeCondition, truth: bool) -> (&'static str, &'static str) {
    use NodeCondition::{DiskPressure, MemoryPressure, NetworkUnavailable, PIDPressure, Ready};
    match (condition, truth) {
        (Ready, true) => ("KubeletReady", "kubelet is posting ready status"),
        (Ready, false) => ("KubeletNotReady", "kubelet is not ready"),
        (MemoryPressure, false) => {
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available")
        }
        (MemoryPressure, true) => {
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
        }
        (DiskPressure, false) => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        (DiskPressure, true) => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        (PIDPressure, false) => ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        (PIDPressure, true) => {
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available")
        }
        (NetworkUnavailable, false) => ("NetworkReady", "pods can get a network"),
        (NetworkUnavailable, true) => ("NetworkNotReady", "pods cannot get a network"),
        (_, true) => ("Detected", ""),
        (_, false) => ("NotDetected", ""),
    }
}

#[cfg(test)]
mod tests {
    use mote_protocol::text::Short;

    use super::*;

    #[test]
    fn disk_pressure_is_also_told_by_its_old_name() {
        let told = |condition, truth| NodeConditionStatus {
            condition,
            truth,
            since: 5,
            reason: Short::new("Low"),
            message: mote_protocol::text::Text::new("little is left"),
        };
        let conditions_told = vec![
            told(NodeCondition::MemoryPressure, false),
            told(NodeCondition::DiskPressure, true),
        ];
        let status = NodeStatus {
            conditions: conditions_told.into_iter().collect(),
            ..NodeStatus::default()
        };
        let node = Node { status: Some(status), ..Node::default() };
        let list = conditions(&node, 0);
        let types: Vec<_> = list.as_array().into_iter().flatten().map(|one| &one["type"]).collect();
        assert_eq!(types, ["MemoryPressure", "DiskPressure", "OutOfDisk"]);
        for key in ["status", "reason", "message"] {
            assert_eq!(list[1][key], list[2][key], "{key}");
        }
    }
}
