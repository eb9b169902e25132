//! Prometheus' text format 0.0.4. PURE.

use std::fmt::Write as _;

use mote_protocol::status::Phase;

use super::Scrape;
use crate::ctl::VERSION;
use crate::usage::PodSample;

/// Labels of one value: names and values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// Metrics, each once with its explanation before its values.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    /// What follows are values of this.
    fn of(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    /// A metric that has one value, or none that is known.
    fn only(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        labels: Labels<'_>,
        value: Option<impl std::fmt::Display>,
    ) {
        if let Some(value) = value {
            self.of(name, kind, help);
            self.value(name, labels, value);
        }
    }

    /// A metric of pods.
    fn pods<V: std::fmt::Display>(
        &mut self,
        scrape: &Scrape,
        (name, kind, help): (&str, &str, &str),
        value: impl Fn(&PodSample) -> Option<V>,
    ) {
        self.of(name, kind, help);
        for pod in scrape.sample.pods.values() {
            if let Some(value) = value(pod) {
                self.value(name, &of_pod(pod), value);
            }
        }
    }

    /// A metric of containers.
    fn containers<V: std::fmt::Display>(
        &mut self,
        scrape: &Scrape,
        (name, kind, help): (&str, &str, &str),
        value: impl Fn(&crate::runtime::Usage) -> Option<V>,
    ) {
        self.of(name, kind, help);
        for pod in scrape.sample.pods.values() {
            for container in &pod.containers {
                if let Some(value) = value(&container.used) {
                    let [namespace, name_of_pod] = of_pod(pod);
                    let labels = [("container", &*container.id.name), namespace, name_of_pod];
                    self.value(name, &labels, value);
                }
            }
        }
    }
}

fn of_pod(pod: &PodSample) -> [(&'static str, &str); 2] {
    [("namespace", pod.namespace.as_str()), ("pod", pod.name.as_str())]
}

fn seconds(microseconds: Option<u64>) -> Option<String> {
    microseconds.map(|us| format!("{}.{:06}", us / 1_000_000, us % 1_000_000))
}

/// All of a scrape as text.
pub(super) fn render(scrape: &Scrape) -> String {
    let mut text = Exposition::default();
    node(&mut text, scrape);
    used_by_pods(&mut text, scrape);
    states_of_pods(&mut text, scrape);
    agent(&mut text, scrape);
    text.0
}

fn node(text: &mut Exposition, scrape: &Scrape) {
    let used = &scrape.sample.node;
    text.only(
        ("node_cpu_usage_seconds_total", "counter", "Time that the CPUs of the node worked."),
        &[],
        seconds(used.cpu_us),
    );
    text.only(
        ("node_memory_working_set_bytes", "gauge", "Working set of the node."),
        &[],
        used.memory,
    );
    let total = Some(scrape.memory_bytes).filter(|bytes| *bytes > 0);
    text.only(("node_memory_MemTotal_bytes", "gauge", "Memory of the node."), &[], total);
    let disk = [("mountpoint", &*scrape.state_dir)];
    text.only(
        ("node_filesystem_size_bytes", "gauge", "Size of the file system of the state directory."),
        &disk,
        used.disk_size,
    );
    let free = used.disk_size.zip(used.disk).map(|(size, used)| size.saturating_sub(used));
    text.only(
        ("node_filesystem_avail_bytes", "gauge", "What of it is available to programs."),
        &disk,
        free,
    );
    text.only(
        ("node_processes_threads", "gauge", "Processes and threads of the node."),
        &[],
        used.pids,
    );
    let name = "kube_node_status_condition";
    text.of(name, "gauge", "Conditions of the node.");
    for (condition, holds) in &scrape.conditions {
        for (status, truth) in [("true", true), ("false", false)] {
            let labels = [
                ("node", scrape.node.as_str()),
                ("condition", condition.as_str()),
                ("status", status),
            ];
            text.value(name, &labels, u8::from(*holds == truth));
        }
    }
}

fn used_by_pods(text: &mut Exposition, scrape: &Scrape) {
    text.pods(
        scrape,
        ("pod_cpu_usage_seconds_total", "counter", "Time that a pod was on CPUs."),
        |pod| seconds(pod.used.cpu_us),
    );
    text.pods(scrape, ("pod_memory_working_set_bytes", "gauge", "Working set of a pod."), |pod| {
        pod.used.memory
    });
    text.pods(
        scrape,
        ("container_network_receive_bytes_total", "counter", "Bytes that came to a pod."),
        |pod| pod.network.map(|network| network.received),
    );
    text.pods(
        scrape,
        ("container_network_transmit_bytes_total", "counter", "Bytes that a pod sent."),
        |pod| pod.network.map(|network| network.sent),
    );
    text.containers(
        scrape,
        ("container_cpu_usage_seconds_total", "counter", "Time that a container was on CPUs."),
        |used| seconds(used.cpu_us),
    );
    text.containers(
        scrape,
        ("container_memory_working_set_bytes", "gauge", "Working set of a container."),
        |used| used.memory,
    );
    text.containers(
        scrape,
        ("container_threads", "gauge", "Processes and threads of a container."),
        |used| used.pids,
    );
}

fn states_of_pods(text: &mut Exposition, scrape: &Scrape) {
    let name = "kube_pod_status_phase";
    text.of(name, "gauge", "Phases of the pods.");
    for ((namespace, pod), state) in &scrape.pods {
        for phase in [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed] {
            let labels = [
                ("namespace", namespace.as_str()),
                ("pod", pod.as_str()),
                ("phase", phase.as_str()),
            ];
            text.value(name, &labels, u8::from(state.phase == phase));
        }
    }
    let name = "kube_pod_container_status_restarts_total";
    text.of(name, "counter", "How often containers were started again.");
    for ((namespace, pod), state) in &scrape.pods {
        for (container, restarts) in &state.restarts {
            let labels = [
                ("namespace", namespace.as_str()),
                ("pod", pod.as_str()),
                ("container", container),
            ];
            text.value(name, &labels, restarts);
        }
    }
}

fn agent(text: &mut Exposition, scrape: &Scrape) {
    text.only(
        ("mote_agent_info", "gauge", "The agent."),
        &[("version", VERSION), ("node", scrape.node.as_str())],
        Some(1),
    );
    text.only(
        ("mote_broker_connected", "gauge", "Whether the agent has a connection to its broker."),
        &[],
        Some(u8::from(scrape.connected)),
    );
    text.only(
        ("mote_published_messages_total", "counter", "Messages that were handed to connections."),
        &[],
        Some(scrape.published.messages),
    );
    text.only(
        ("mote_published_bytes_total", "counter", "Bytes of their topics and payloads."),
        &[],
        Some(scrape.published.bytes),
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mote_protocol::name::{Namespace, NodeName, ObjectName, Uid};
    use mote_protocol::node::NodeCondition;
    use mote_protocol::usage::Traffic;

    use super::super::{PodState, Published};
    use super::*;
    use crate::runtime::{ContainerId, Usage};
    use crate::usage::{ContainerSample, NodeSample, Sample};

    fn scrape() -> Scrape {
        let uid = Uid([1; 16]);
        let used = Usage { memory: Some(4096), pids: Some(2), cpu_us: Some(1_500_007) };
        let id = ContainerId { pod: uid, name: "main".into(), attempt: 0 };
        let (namespace, name) =
            (Namespace::new("default").unwrap(), ObjectName::new("web").unwrap());
        let pod = PodSample {
            namespace: namespace.clone(),
            name: name.clone(),
            used: Usage { pids: None, ..used },
            storage: None,
            network: Some(Traffic { received: 7, sent: 8 }),
            containers: vec![ContainerSample { id, used }],
        };
        let node = NodeSample {
            cpu_us: Some(90_000_000),
            disk: Some(60),
            disk_size: Some(100),
            ..NodeSample::default()
        };
        let state = PodState { phase: Phase::Running, restarts: vec![("main".into(), 3)] };
        Scrape {
            node: NodeName::new("pi-7").unwrap(),
            sample: Sample { node, pods: BTreeMap::from([(uid, pod)]), ..Sample::default() },
            memory_bytes: 1 << 30,
            state_dir: "/var/\"lib\\mo\nte".into(),
            conditions: vec![(NodeCondition::Ready, true)],
            pods: BTreeMap::from([((namespace, name), state)]),
            connected: true,
            published: Published { messages: 5, bytes: 600 },
        }
    }

    #[test]
    fn what_is_known_is_told_under_the_names_that_others_have() {
        let text = render(&scrape());
        for line in [
            "# TYPE node_cpu_usage_seconds_total counter",
            "node_cpu_usage_seconds_total 90.000000",
            "node_memory_MemTotal_bytes 1073741824",
            "node_filesystem_avail_bytes{mountpoint=\"/var/\\\"lib\\\\mo\\nte\"} 40",
            "kube_node_status_condition{node=\"pi-7\",condition=\"Ready\",status=\"true\"} 1",
            "kube_node_status_condition{node=\"pi-7\",condition=\"Ready\",status=\"false\"} 0",
            "pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\"} 1.500007",
            "container_memory_working_set_bytes{container=\"main\",namespace=\"default\",pod=\"web\"} 4096",
            "container_network_receive_bytes_total{namespace=\"default\",pod=\"web\"} 7",
            "kube_pod_status_phase{namespace=\"default\",pod=\"web\",phase=\"Running\"} 1",
            "kube_pod_container_status_restarts_total{namespace=\"default\",pod=\"web\",container=\"main\"} 3",
            "mote_broker_connected 1",
            "mote_published_bytes_total 600",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("node_memory_working_set_bytes"), "nobody knows it: {text}");
    }

    /// A parser refuses a metric that is explained twice, or whose values lie apart.
    #[test]
    fn each_metric_is_explained_once_before_its_values() {
        let text = render(&scrape());
        let mut explained = Vec::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let name = help.split(' ').next().unwrap();
                assert!(!explained.contains(&name), "{name} is explained twice");
                explained.push(name);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                assert_eq!(kind.split(' ').next(), explained.last().copied());
            } else {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(Some(name), explained.last().copied(), "{line}");
                assert_eq!(
                    name.ends_with("_total"),
                    text.contains(&format!("# TYPE {name} counter"))
                );
            }
        }
    }
}
